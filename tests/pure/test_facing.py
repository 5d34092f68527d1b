"""Which way people face, against the training world's known angles, and what each treatment of turns draws."""

from dataclasses import replace

import numpy as np
import pytest

from steadydancer_pack.benchmarks.turns import errors, turned_clip
from steadydancer_pack.dwpose.edit.facing import AWAY, FAR, describe_facing, estimate_facing, runs_beyond
from steadydancer_pack.dwpose.edit.facing_strip import GRADES, LANE, LEFT, draw_facing, yaw_color
from steadydancer_pack.dwpose.edit.turns import FACE_POINTS, HIDE, KEEP, LIMIT, MIRROR, TREATMENTS, treat_turns
from steadydancer_pack.dwpose.poses import EYES, HIPS, LEFT_WRIST, NOSE, RIGHT_WRIST, SHOULDERS
from steadydancer_pack.media.canvas import GRID


def find_clip(test):
    """Return the exact clip of the first seed whose true yaw passes the test."""
    return next(clip for seed in range(100) if test((clip := turned_clip(seed, noise=0.0)).yaw))


@pytest.fixture(scope="module")
def turning():
    """A dancer who turns away and comes back."""
    return find_clip(lambda yaw: yaw[0] < 40 and yaw[-1] < 60 and 5 < (yaw > 130).sum() < 40)


@pytest.fixture(scope="module")
def still():
    return find_clip(lambda yaw: yaw.max() < 40)


def test_the_estimate_on_dancers_of_the_training_world():
    found = errors([turned_clip(seed) for seed in range(20)])
    assert found["mean error"] < 8
    assert found["fronts taken for backs, %"] < 1 and found["backs taken for fronts, %"] < 1
    assert errors([turned_clip(seed, noise=0.0) for seed in range(20)])["mean error"] < 6.5


def test_sides_that_are_exchanged_in_single_frames_are_no_turn(still):
    (track,) = still.poses.tracks
    points = track.points.copy()
    for pair in (SHOULDERS, HIPS):
        points[30:32, pair] = points[30:32, pair[::-1]]
    assert estimate_facing(replace(track, points=points), 1.0).yaw.max() < FAR


def test_the_estimate_does_not_depend_on_size_and_place_in_the_picture(turning):
    (track,) = turning.poses.tracks
    growing = np.linspace(0.5, 1, len(turning.yaw))[:, None, None]
    moved = replace(track, points=0.4 + growing * (track.points - 0.5))
    apart = np.abs(estimate_facing(moved, 1.0).yaw - estimate_facing(track, 1.0).yaw)
    assert apart.mean() < 3


def test_somebody_who_is_never_seen_in_front_is_in_profile():
    side = find_clip(lambda yaw: yaw.min() > 70 and yaw.max() < 110)
    assert np.abs(estimate_facing(side.poses.tracks[0], 1.0).yaw - 90).max() < 35


def test_where_no_pair_is_seen_nothing_is_said(still):
    (track,) = still.poses.tracks
    scores = track.scores.copy()
    scores[10:20, SHOULDERS + HIPS] = 0
    yaw = estimate_facing(replace(track, scores=scores), 1.0).yaw
    assert np.isnan(yaw[10:20]).all() and np.isfinite(yaw[:10]).all()
    nobody = replace(track, scores=np.zeros_like(scores))
    assert np.isnan(estimate_facing(nobody, 1.0).yaw).all()


def test_runs_bridge_short_gaps_and_leave_out_single_frames():
    yaw = np.full(30, 10.0)
    yaw[[3, 8, 9, 12, 20, 21, 22]] = 100
    yaw[25] = np.nan
    assert runs_beyond(yaw, AWAY) == [(8, 12), (20, 22)]


def test_the_sentence_names_the_frames(turning, still):
    found, want = (runs_beyond(yaw, AWAY) for yaw in (estimate_facing(turning.poses.tracks[0], 1.0).yaw, turning.yaw))
    assert np.abs(np.subtract(found, want)).max() <= 3
    listed = ", ".join(f"{first} to {last}" for first, last in found)
    assert describe_facing(turning.poses) == f"Person 1: frames {listed} turn away: expect a wrong face."
    assert describe_facing(still.poses) == "Person 1: faces the camera in every frame."
    assert describe_facing(still.poses.with_tracks(())) == "Nobody is seen."


# Treatments


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_dance_that_stays_in_front_comes_back_itself(still, turning, treatment):
    assert treat_turns(still.poses, treatment) is still.poses
    assert (treat_turns(turning.poses, treatment) is turning.poses) == (treatment == KEEP)


def changed_frames(before, after):
    same = (before.points == after.points).all(axis=(1, 2)) & (before.scores == after.scores).all(axis=1)
    return np.flatnonzero(~same)


@pytest.mark.parametrize(("treatment", "limit"), [(HIDE, FAR), (LIMIT, FAR), (MIRROR, AWAY)])
def test_only_frames_beyond_the_limit_change(turning, treatment, limit):
    (before,), (after,) = turning.poses.tracks, treat_turns(turning.poses, treatment).tracks
    beyond = set(np.flatnonzero(estimate_facing(before, 1.0).yaw > limit).tolist())
    changed = set(changed_frames(before, after).tolist())
    assert changed == beyond if treatment != HIDE else changed and changed <= beyond  # of a back no face may be seen


def test_hidden_faces_have_neither_nose_nor_eyes(turning):
    (before,), (after,) = turning.poses.tracks, treat_turns(turning.poses, HIDE, 120.0).tracks
    frames = np.flatnonzero(estimate_facing(before, 1.0).yaw > 120)
    assert after.visible[np.ix_(frames, FACE_POINTS)].sum() == 0 and (after.points == before.points).all()
    others = np.setdiff1d(np.arange(134), FACE_POINTS)
    assert (after.scores[:, others] == before.scores[:, others]).all()


@pytest.mark.parametrize(("treatment", "most"), [(LIMIT, FAR + 8), (MIRROR, AWAY + 8)])
def test_no_frame_turns_further_than_the_limit_afterwards(turning, treatment, most):
    assert estimate_facing(turning.poses.tracks[0], 1.0).yaw.max() > 120
    assert estimate_facing(treat_turns(turning.poses, treatment).tracks[0], 1.0).yaw.max() < most


def test_a_mirrored_back_has_the_same_outline_with_its_sides_exchanged_and_a_face(turning):
    (before,), (after,) = turning.poses.tracks, treat_turns(turning.poses, MIRROR).tracks
    back = int(turning.yaw.argmax())
    assert (after.points[back, LEFT_WRIST] == before.points[back, RIGHT_WRIST]).all()
    assert after.visible[back, [NOSE, *EYES]].all()
    assert after.points[back, SHOULDERS[0], 0] < after.points[back, SHOULDERS[1], 0]


def test_a_limited_turn_holds_the_shoulders_and_only_moves_points_sideways(turning):
    (before,), (after,) = turning.poses.tracks, treat_turns(turning.poses, LIMIT, 60.0).tracks
    facing = estimate_facing(before, 1.0)
    frames = changed_frames(before, after)
    wide = np.diff(after.points[np.ix_(frames, SHOULDERS)][..., 0])[:, 0]
    assert np.allclose(wide, facing.widths[0] * facing.size[frames] * np.cos(np.radians(60.0)))
    face = [NOSE, *EYES]  # made where a back shows none
    others = np.setdiff1d(np.arange(134), face)
    assert (after.points[:, others, 1] == before.points[:, others, 1]).all()
    assert after.visible[np.ix_(frames, face)].all()
    steps = np.abs(np.diff(after.points[:, [LEFT_WRIST, RIGHT_WRIST], 0], axis=0)).max()
    assert steps < 0.15  # nothing jumps where the treatment begins and ends


@pytest.mark.parametrize(
    ("treatment", "max_yaw", "message"),
    [
        ("face away", 60.0, "no treatment 'face away' of turns. Choose one of: keep, hide face points"),
        (HIDE, 181.0, "max_yaw is 181.0; for 'hide face points' it must be between 0 and 180"),
        (LIMIT, 90.0, "for 'limit yaw' it must be between 0 and 89 degrees"),
        (HIDE, float("nan"), "max_yaw is nan"),
    ],
)
def test_another_treatment_or_angle_is_refused(still, treatment, max_yaw, message):
    with pytest.raises(ValueError, match=message):
        treat_turns(still.poses, treatment, max_yaw)


# The strip


def test_the_strip_has_the_color_of_each_frame(turning):
    clip = turning.poses
    picture = draw_facing(clip, 640)
    yaw = estimate_facing(clip.tracks[0], 1.0).yaw
    place = np.linspace(LEFT, 640 - 12, clip.frames + 1)
    for frame in (0, int(yaw.argmax()), clip.frames - 1):
        column = int((place[frame] + place[frame + 1]) / 2)
        assert tuple(picture[4 + LANE // 2, column]) == yaw_color(float(yaw[frame])), frame
    assert picture.shape[1:] == (640, 3)
    two = clip.with_tracks([clip.tracks[0], replace(clip.tracks[0], identity=1)])
    assert draw_facing(two).shape[0] == picture.shape[0] + LANE + 4
    assert draw_facing(clip.with_tracks(())).shape == picture.shape


def test_a_grade_begins_at_its_angle_and_unknown_is_gray():
    assert [yaw_color(least) for least, *_ in GRADES] == [color for _, color, _ in GRADES]
    assert yaw_color(FAR - 1) == GRADES[1][1] and yaw_color(float("nan")) == GRID
