"""The nearest pose is found by how limbs point and which way the person faces, whatever the proportions."""

from dataclasses import replace

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.best_start import best_start
from steadydancer_pack.dwpose.poses import BODY, KEYPOINTS, LEFT_HAND, LEFT_WRIST, PoseClip, Track

# A standing person who faces the camera: x to the right of the picture, y down, in torso lengths from the neck.
X = 0, 0, -0.4, -0.45, -0.5, 0.4, 0.45, 0.5, -0.2, -0.2, -0.2, 0.2, 0.2, 0.2, -0.065, 0.065, -0.12, 0.12
Y = -0.4, 0, 0, 0.5, 0.9, 0, 0.5, 0.9, 1, 1.8, 2.6, 1, 1.8, 2.6, -0.45, -0.45, -0.42, -0.42


def posed(left_arm=0.0, turn=0.0, tall=1.0):
    """Return body points [18, 2]; the left arm is raised sideways by an angle, the body turned about the spine."""
    points = np.stack([X, Y], axis=1)
    spin = np.array([[np.cos(left_arm), np.sin(left_arm)], [-np.sin(left_arm), np.cos(left_arm)]])
    points[6:8] = points[5] + (points[6:8] - points[5]) @ spin.T
    points[:, 0] *= np.cos(turn)
    return points * (1, tall)


def clip_of(*people, size=0.15, place=(0.5, 0.3), width=600, height=1200):
    """Return a clip of one frame for each pose of each person."""
    tracks = []
    for i, poses in enumerate(people):
        points, scores = np.zeros((len(poses), KEYPOINTS, 2)), np.zeros((len(poses), KEYPOINTS))
        points[:, BODY], scores[:, BODY] = np.array(place) + (i / 5, 0), 0.9
        points[:, BODY] += np.array(poses) * size / (width / height, 1)
        tracks.append(Track(i, points, scores))
    return PoseClip(width, height, len(people[0]), tuple(tracks))


def test_distances_whatever_place_size_and_frame():
    dance = clip_of([posed(angle) for angle in (2.0, 1.0, 0.5, 0.0, 0.2)])
    index, distances = best_start(dance, clip_of([posed()]))
    assert index == 3
    assert distances[3] == pytest.approx(0, abs=1e-12)
    assert (np.diff(distances[:4]) < 0).all()
    dance = clip_of([posed(angle) for angle in (1.0, 0.3)], size=0.1, place=(0.2, 0.6), width=1600, height=900)
    index, distances = best_start(dance, clip_of([posed(0.3)]))
    assert index == 1
    assert distances[1] == pytest.approx(0, abs=1e-12)
    # two of 14 parts point 60 degrees off: each is half of a chord of length 1
    _, distances = best_start(clip_of([posed(np.pi / 3)]), clip_of([posed()]))
    assert distances.tolist() == pytest.approx([2 * 0.5 / 14])


def test_facing_counts():
    """Seen from behind, everything points the same way, only left and right are exchanged."""
    poses = [posed(turn=turn) for turn in (np.pi, np.pi / 2, 0.5)]
    index, distances = best_start(clip_of(poses), clip_of([posed()]))
    assert index == 2
    assert distances[0] > distances[1] > distances[2]


def test_hands_do_not_count_and_of_a_close_up_what_it_shows():
    dance, photo = clip_of([posed(), posed(0.1)]), clip_of([posed()])
    dance.tracks[0].scores[:, LEFT_HAND] = 1
    photo.tracks[0].scores[:, LEFT_HAND] = 1
    dance.tracks[0].points[0, LEFT_HAND] = 5
    assert best_start(dance, photo)[0] == 0
    photo = clip_of([posed(0.8)])
    photo.tracks[0].scores[:, 8:14] = 0
    dance = clip_of([posed(0.1), posed(0.8, turn=0.01), posed(2.0)])
    dance.tracks[0].points[1, 8:14] += 0.3
    assert best_start(dance, photo)[0] == 1


def test_a_hidden_limb_is_worse_than_a_seen_one_that_fits_and_a_hidden_person_is_never_chosen():
    dance = clip_of([posed(), posed()])
    dance.tracks[0].scores[0, LEFT_WRIST] = 0
    index, distances = best_start(dance, clip_of([posed()]))
    assert index == 1
    assert distances[0] == pytest.approx(0.5 / 14)
    dance = clip_of([posed(), posed(0.5)])
    dance.tracks[0].scores[0] = 0
    index, distances = best_start(dance, clip_of([posed()]))
    assert index == 1
    assert np.isinf(distances[0])


@pytest.mark.parametrize(("search", "index", "count"), [(0, 3, 4), (1, 0, 1), (3, 2, 3), (99, 3, 4)])
def test_only_the_first_frames_are_searched(search, index, count):
    dance = clip_of([posed(angle) for angle in (0.9, 0.6, 0.3, 0.0)])
    found, distances = best_start(dance, clip_of([posed()]), search)
    assert (found, len(distances)) == (index, count)


def test_several_people_are_judged_together_and_one_in_the_photo_by_the_main_dancer():
    dance = clip_of([posed(), posed(0.2), posed(1.0)], [posed(1.0), posed(0.2), posed()])
    photo = clip_of([posed()], [posed()])
    assert best_start(dance, photo)[0] == 1
    dance.tracks[1].scores[1] = 0
    assert best_start(dance, photo)[0] in (0, 2)
    # as Align Poses pairs them: not with a bystander who happens to stand where the person stands in the photo
    dance, photo = clip_of([posed(), posed()], [posed(1.0), posed()]), clip_of([posed()])
    bystander, dancer = dance.tracks
    dance = dance.with_tracks([replace(bystander, points=0.3 + 0.4 * bystander.points), dancer])
    assert best_start(dance, photo)[0] == 1


def test_what_cannot_be_compared():
    dance, photo, nobody = clip_of([posed()]), clip_of([posed()]), PoseClip(600, 1200, 1)
    for given, message in (
        ((dance, nobody), "Nobody is seen in the photo"),
        ((nobody, photo), "Nobody is seen in any frame"),
        ((dance, photo, -1), "search_frames is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            best_start(*given)
    dance.tracks[0].scores[:, 2:] = 0
    with pytest.raises(ValueError, match="shows enough of what the photo shows"):
        best_start(dance, photo)
