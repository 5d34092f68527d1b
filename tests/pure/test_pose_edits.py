"""Edits of poses made by hand: what each does to a clip, and what becomes of those that do not fit."""

import json
import re

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.edit_apply import APPLY, apply_edits, notes_text
from steadydancer_pack.dwpose.edit.edit_list import JOINTS, MAX_EDITS, OPERATIONS, read_edits
from steadydancer_pack.dwpose.poses import KEYPOINTS, LEFT_ELBOW, LEFT_HAND, NECK, PoseClip, Track

FRAMES = 20


@pytest.fixture
def clip():
    generator = np.random.default_rng(7)
    tracks = [Track(i, generator.random((FRAMES, KEYPOINTS, 2)), np.ones((FRAMES, KEYPOINTS))) for i in range(2)]
    return PoseClip(64, 96, FRAMES, tuple(tracks))


def edited(clip, *rows):
    edits, notes = read_edits(json.dumps({"version": 1, "edits": rows}))
    result, more = apply_edits(clip, edits)
    return result, [*notes, *more]


def changed(before, after, person=0):
    """Return the frames and the keypoints in which a person differs."""
    old, new = before.tracks[person], after.tracks[person]
    differs = (old.points != new.points).any(axis=2) | (old.scores != new.scores)
    return np.flatnonzero(differs.any(axis=1)).tolist(), np.flatnonzero(differs.any(axis=0)).tolist()


def test_no_edit_gives_the_very_same_clip(clip):
    assert read_edits("") == ([], []) and apply_edits(clip, [])[0] is clip
    assert edited(clip)[0] is clip


def test_a_moved_elbow_eases_in_and_out(clip):
    row = {"op": "move", "person": 1, "from": 12, "to": 12, "ease_in": 4, "ease_out": 4}
    result, notes = edited(clip, row | {"joints": {"left_elbow": [0.1, -0.2]}})
    assert notes == [] and changed(clip, result) == (list(range(8, 17)), [LEFT_ELBOW])
    assert changed(clip, result, 1) == ([], [])
    shift = result.tracks[0].points[:, LEFT_ELBOW] - clip.tracks[0].points[:, LEFT_ELBOW]
    weight = [0, 0.104, 0.352, 0.648, 0.896, 1, 0.896, 0.648, 0.352, 0.104, 0]  # smoothstep of fifths
    np.testing.assert_allclose(shift[7:18], np.outer(weight, [0.1, -0.2]), atol=1e-12)


def test_a_move_of_a_range_holds_and_ends_with_the_clip(clip):
    row = {"op": "move", "person": 2, "from": 5, "to": None, "ease_out": 9, "joints": {"left_hand": [1, 0]}}
    result, _ = edited(clip, row)
    assert changed(clip, result, 1) == (list(range(5, FRAMES)), list(range(LEFT_HAND.start, LEFT_HAND.stop)))


def test_a_joint_is_placed_and_shown_and_a_new_person_added(clip):
    clip.tracks[0].scores[:, LEFT_ELBOW] = 0
    row = {"op": "place", "person": 1, "from": 3, "to": 4, "ease_in": 2, "joints": {"left_elbow": [0.5, 0.25]}}
    result, _ = edited(clip, row, row | {"person": 5})
    track, added = result.tracks[0], result.tracks[2]
    assert changed(clip, result) == ([3, 4], [LEFT_ELBOW])  # unseen before: nothing to ease from
    assert track.points[3, LEFT_ELBOW].tolist() == [0.5, 0.25] and track.scores[3:5, LEFT_ELBOW].tolist() == [1, 1]
    assert added.number == 5 and np.flatnonzero(added.visible.any(axis=1)).tolist() == [3, 4]


def test_a_seen_joint_eases_to_its_place(clip):
    row = {"op": "place", "person": 1, "from": 10, "to": 10, "ease_in": 1, "joints": {"left_elbow": [0.5, 0.5]}}
    before, after = (c.tracks[0].points[9, LEFT_ELBOW] for c in (clip, edited(clip, row)[0]))
    np.testing.assert_allclose(after, (before + 0.5) / 2, atol=1e-12)


def test_a_pose_is_pasted(clip):
    clip.tracks[0].scores[2, 3] = 0
    result, _ = edited(clip, {"op": "paste", "person": 1, "source": 2, "from": 8, "to": 9, "ease_out": 1})
    assert changed(clip, result)[0] == [8, 9, 10]
    assert (result.tracks[0].points[8:10] == clip.tracks[0].points[2]).all()
    assert result.tracks[0].scores[8:11, 3].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("op", "score"), [("show", 1), ("hide", 0)])
def test_joints_are_shown_and_hidden(clip, op, score):
    clip.tracks[0].scores[:] = 0.5
    result, _ = edited(clip, {"op": op, "person": 1, "from": 3, "to": 4, "joints": ["left_elbow"]})
    assert changed(clip, result) == ([3, 4], [LEFT_ELBOW])
    assert (result.tracks[0].scores[3:5, LEFT_ELBOW] == score).all()


def test_a_ghost_is_hidden_and_a_range_marked_as_nobody(clip):
    result, _ = edited(clip, {"op": "hide", "person": 2, "from": 0}, {"op": "nobody", "from": 4, "to": 6})
    assert [track.number for track in result.people] == [1]
    assert np.flatnonzero(~result.tracks[0].present).tolist() == [4, 5, 6]


def test_a_part_is_scaled_about_its_joint_and_the_body_about_the_neck(clip):
    row = {"op": "scale", "person": 1, "from": 2, "to": 2, "part": "arms", "factor": 2.0}
    result, _ = edited(clip, row)
    before, after = clip.tracks[0].points[2], result.tracks[0].points[2]
    np.testing.assert_allclose(after[3] - after[2], 2 * (before[3] - before[2]))
    np.testing.assert_allclose(after[4] - after[3], 2 * (before[4] - before[3]))
    np.testing.assert_allclose(after[[2, 5]], before[[2, 5]])
    assert np.allclose(after[8:24], before[8:24], atol=1e-12)
    body = edited(clip, row | {"part": "body"})[0].tracks[0].points[2]
    np.testing.assert_allclose(body - body[NECK], 2 * (before - before[NECK]))


def test_sides_are_swapped_and_swapping_again_restores(clip):
    row = {"op": "swap_sides", "person": 1, "from": 3, "to": 5}
    result, _ = edited(clip, row)
    before, after = clip.tracks[0].points, result.tracks[0].points
    assert (after[4, 2:5] == before[4, 5:8]).all() and (after[4, 92:113] == before[4, 113:134]).all()
    assert (edited(clip, row, row)[0].tracks[0].points == before).all()


def test_two_people_are_exchanged_from_a_frame_on(clip):
    result, _ = edited(clip, {"op": "exchange", "person": 1, "other": 2, "from": 7})
    for mine, theirs in ((0, 1), (1, 0)):
        assert (result.tracks[mine].points[7:] == clip.tracks[theirs].points[7:]).all()
        assert (result.tracks[mine].points[:7] == clip.tracks[mine].points[:7]).all()


def test_a_person_is_split(clip):
    result, _ = edited(clip, {"op": "split", "person": 1, "other": 3, "from": 7})
    first, second = result.tracks[0], result.tracks[2]
    assert np.flatnonzero(first.present).tolist() == list(range(7)) and second.identity == 2
    assert np.flatnonzero(second.present).tolist() == list(range(7, FRAMES))
    assert (second.points[7:] == clip.tracks[0].points[7:]).all()


MOVE = {"op": "move", "person": 1, "from": 1, "to": 1, "joints": {"nose": [0, 0.1]}}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (MOVE | {"person": 4}, r"Edit 1 \(move\) was skipped: there is no person 4 in these poses \(1, 2\)"),
        (MOVE | {"from": 99, "to": 99}, "begins at frame 99, and these poses have 20 frames"),
        (MOVE | {"op": "grow"}, "none of move, place"),
        (MOVE | {"joints": {"tail": [0, 0]}}, "no joint 'tail'"),
        (MOVE | {"joints": {"nose": [0, 1e9]}}, "no two numbers from -10 to 10"),
        (MOVE | {"joints": {"nose": [True, 0]}}, "no two numbers"),
        (MOVE | {"joints": {}}, "names no joints"),
        (MOVE | {"to": 0}, '"to" is 0'),
        (MOVE | {"ease_in": -1}, '"ease_in" is -1'),
        ({"op": "scale", "person": 1, "from": 0, "part": "tail", "factor": 1}, '"part" is none of body'),
        ({"op": "scale", "person": 1, "from": 0, "part": "arms", "factor": 0}, '"factor" is 0'),
        ({"op": "exchange", "person": 1, "other": 9, "from": 0}, "no person 9"),
        ({"op": "split", "person": 1, "other": 2, "from": 0}, "a person 2 already"),
        ({"op": "paste", "person": 1, "source": 99, "from": 0}, "copies frame 99"),
        ({"op": "hide", "person": 1, "from": 0, "joints": {"nose": 1}}, "no list of names"),
        ("move", "none of move, place"),
    ],
)
def test_an_edit_that_does_not_fit_is_skipped_named_and_stops_no_other(clip, row, text):
    result, notes = edited(clip, row, MOVE)
    assert len(notes) == 1 and changed(clip, result) == ([1], [0])
    assert re.search(text, notes[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ('{"version": 1, "edits": [{"dx": NaN}]}', "NaN is no number"),
        ("[" * 100_000, "no JSON"),
        ("[]", '"edits": '),
        ('{"version": 2, "edits": []}', "of version 2, and this pack reads version 1. Update"),
        (json.dumps({"version": 1, "edits": [{}] * (MAX_EDITS + 1)}), "20,001 edits"),
        (" " * 10 + "x" * (16 << 20), "characters long"),
    ],
)
def test_a_text_that_is_no_list_of_edits_is_refused_in_words(text, message):
    with pytest.raises(ValueError, match=message):
        read_edits(text)


def test_ten_thousand_edits_are_applied_in_seconds(clip):
    result, notes = edited(clip, *[MOVE] * 10_000)
    assert notes == [] and np.isclose((result.tracks[0].points - clip.tracks[0].points)[1, 0, 1], 1000)


def test_only_the_first_notes_are_shown():
    assert notes_text([str(i) for i in range(10)]).splitlines()[-2:] == ["7", "2 more edits were skipped."]


def test_every_keypoint_has_a_name_and_every_operation_is_applied():
    assert sorted({index for indices in JOINTS.values() for index in indices}) == list(range(KEYPOINTS))
    assert tuple(APPLY) == OPERATIONS
