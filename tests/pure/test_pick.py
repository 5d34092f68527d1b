"""Who is picked by each rule, in a clip of 200 x 100 pixels whose people are boxes that can be checked by hand."""

import numpy as np
import pytest

from steadydancer_pack.dwpose.poses import PoseClip, Track
from steadydancer_pack.dwpose.track.pick import RULES, main_person, pick

FRAMES = 10


def person(identity, left, top, width, height, frames=range(FRAMES)):
    """Return a track whose 18 body joints fill a box given in pixels."""
    points, scores = np.zeros((FRAMES, 134, 2)), np.zeros((FRAMES, 134))
    corners = np.array([(left, top), (left + width, top + height)])
    points[:, :18] = np.tile(corners, (9, 1)) / (200, 100)
    scores[list(frames), :18] = 1
    return Track(identity, points, scores)


LEFT = person(7, 10, 20, 20, 60)  # 1200 pixels, always there
MIDDLE = person(3, 80, 30, 30, 30, range(2, 8))  # 900, six frames
RIGHT = person(5, 150, 10, 40, 80, range(4, 7))  # 3200, three frames
CLIP = PoseClip(200, 100, FRAMES, (MIDDLE, RIGHT, LEFT))


@pytest.mark.parametrize(
    ("rule", "options", "expected"),
    [
        ("largest", {}, LEFT),  # 10 x 1200 against 3 x 3200 and 6 x 900
        ("number", {"index": RIGHT.number}, RIGHT),
        ("centre", {}, MIDDLE),
        *(("index", {"index": index, "frame": 5}, person) for index, person in enumerate((LEFT, MIDDLE, RIGHT))),
        ("index", {"index": 0, "frame": 0}, LEFT),
        ("nearest", {"x": 0.7, "y": 0.5, "frame": 5}, RIGHT),  # 140, 50: 30 pixels from 170, 50 and 45 from 95, 45
        ("nearest", {"x": 0.64, "y": 0.5, "frame": 5}, MIDDLE),  # 128, 50: 42 and 33
        ("nearest", {"x": 1.0, "y": 0.5, "frame": 2}, MIDDLE),  # RIGHT is not there yet
    ],
)
def test_the_rules(rule, options, expected):
    picked = pick(CLIP, rule, **options)
    assert picked.tracks == (expected,)
    assert (picked.width, picked.height, picked.frames) == (200, 100, FRAMES)


def test_all_hands_everybody_on_and_the_main_person_is_seen_most_and_largest():
    assert pick(CLIP, "all") is CLIP
    assert main_person(CLIP) is LEFT
    assert main_person(CLIP.with_tracks([MIDDLE, RIGHT])) is RIGHT


def test_someone_who_is_never_seen_is_never_picked():
    hidden = person(0, 90, 40, 20, 20, [])
    for rule in ("largest", "centre"):
        assert pick(CLIP.with_tracks([hidden, LEFT]), rule).tracks == (LEFT,)


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        ("index", {"index": 3, "frame": 5}, "No person has index 3 in frame 5, where 3 .* Choose 0 to 2, or"),
        ("index", {"index": -1, "frame": 5}, "No person has index -1"),
        ("index", {"index": 1, "frame": 0}, "where 1 can be seen.* Choose 0, or another"),
        ("index", {"frame": 10}, "Frame 10 is outside the clip, which has the frames 0 to 9"),
        ("nearest", {"frame": -1}, "Frame -1 is outside"),
        ("number", {"index": 1}, "no person 1: the people here have the numbers 4, 6, 8"),
        ("smallest", {}, "Unknown rule 'smallest'.*largest, centre, number, index, nearest, all"),
    ],
)
def test_a_wrong_choice_is_refused_in_words(rule, options, message):
    with pytest.raises(ValueError, match=message):
        pick(CLIP, rule, **options)


def test_an_empty_anchor_frame_names_the_frames_with_people():
    clip = CLIP.with_tracks([person(0, 0, 0, 9, 9, [2, 3, 4, 8])])
    with pytest.raises(ValueError, match="Nobody is seen in frame 6.*in the frames 2-4, 8: choose"):
        pick(clip, "index", frame=6)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "all"])
def test_a_clip_without_anybody_is_refused(rule):
    for empty in (PoseClip(200, 100, 4), CLIP.with_tracks([person(0, 0, 0, 9, 9, [])])):
        with pytest.raises(ValueError, match="There is nobody in these poses"):
            pick(empty, rule)
        with pytest.raises(ValueError, match="There is nobody in these poses"):
            main_person(empty)
