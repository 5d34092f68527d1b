"""Who dances for whom: by order from the left, by size where somebody is left over, by place once aligned."""

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.pairing import check_people, nearest_people, pair_people, place
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track


def person(identity, x, size=0.1, frames=3, absent=()):
    """Return somebody whose joints stand in a square about x, 0.5."""
    corners = np.resize([(-1, -1), (1, -1), (1, 1), (-1, 1)], (KEYPOINTS, 2)) * size / 2
    scores = np.ones((frames, KEYPOINTS))
    scores[list(absent)] = 0
    points = np.tile((x, 0.5) + corners, (frames, 1, 1))
    points[list(absent)] = 0  # as poses of other packs say it
    return Track(identity, points, scores)


def clip_of(*tracks):
    return PoseClip(100, 100, len(tracks[0].points), tracks)


def numbers(pairs):
    return sorted((person.identity, dancer.identity) for person, dancer in pairs)


def test_equal_numbers_go_from_left_to_right_else_the_main_people_in_that_frame_take_part():
    photo = clip_of(person(0, 0.8, frames=1), person(1, 0.2, frames=1))
    assert numbers(pair_people(photo, clip_of(person(5, 0.3), person(6, 0.6)))[0]) == [(0, 6), (1, 5)]
    photo = clip_of(person(0, 0.5, frames=1))
    pairs, notes = pair_people(photo, clip_of(person(5, 0.5, 0.1), person(6, 0.9, 0.3)))
    assert numbers(pairs) == [(0, 6)]
    assert notes == ["1 ignored: more people in the driving video than in the photo."]
    photo = clip_of(person(0, 0.5, frames=1))
    clip = clip_of(person(5, 0.5, 0.3, absent=[1, 2]), person(6, 0.9, 0.1))
    assert numbers(pair_people(photo, clip, 1)[0]) == [(0, 6)]


def test_an_absent_persons_zeros_are_no_place():
    late = person(5, 0.7, absent=[0, 1])
    assert place(late) == place(late, 1) == pytest.approx(0.7)
    assert place(person(5, 0.7, absent=[1, 2]), 1) == pytest.approx(0.7)


def test_aligned_people_go_with_whom_they_stand_on():
    photo = clip_of(person(0, 0.1, 0.3, frames=1), person(1, 0.5, frames=1), person(2, 0.9, frames=1))
    assert numbers(nearest_people(photo, clip_of(person(7, 0.88), person(8, 0.52)))) == [(1, 8), (2, 7)]
    dancers = clip_of(person(7, 0.6), person(8, 0.2), person(9, 0.15))
    assert numbers(nearest_people(photo, dancers)) == [(0, 9), (1, 8), (2, 7)]


def test_nobody_is_reported():
    somebody, nobody = clip_of(person(0, 0.5)), PoseClip(100, 100, 3)
    check_people(somebody, somebody)
    for photo in (nobody, clip_of(person(0, 0.5, absent=[0]))):
        with pytest.raises(ValueError, match="Nobody is seen in the photo's pose"):
            check_people(photo, somebody)
    with pytest.raises(ValueError, match="Nobody is seen in any frame"):
        check_people(somebody, nobody)
