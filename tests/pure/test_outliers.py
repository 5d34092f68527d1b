"""Single-frame errors are put back on the joint's path; fast moves that were sampled often enough pass."""

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.outliers import without_outliers
from steadydancer_pack.dwpose.edit.refine import refine, refine_with_report, report_text
from steadydancer_pack.dwpose.poses import KEYPOINTS, LEFT_WRIST, RIGHT_ELBOW, PoseClip, Track

FRAMES, WIDTH, HEIGHT = 40, 400, 800
ASPECT = WIDTH / HEIGHT
BODY_SIZE = 0.25  # in frame heights, neck to hip
T = np.arange(FRAMES)
PATHS = {
    "rest": 0 * T,
    "linear": 0.4 * T / FRAMES,
    "accelerating": 0.4 * (T / FRAMES) ** 2,
    "sine": 0.1 * np.sin(2 * np.pi * T / 32 + 0.4),
}
EVERYWHERE = np.arange(KEYPOINTS)
SPIKED = 10 + EVERYWHERE % 16  # a frame for each keypoint, so that frames differ


def moving(path, frames=FRAMES):
    """Return a track whose keypoints all follow a path [F] in both axes, in frame heights."""
    points = np.full((frames, KEYPOINTS, 2), 0.4)
    points[:, [8, 11], 1] += BODY_SIZE
    points += (np.asarray(path)[:, None] * (0.6, 0.8) / (ASPECT, 1))[:, None]
    return Track(0, points, np.full((frames, KEYPOINTS), 0.9))


def moving_in_every_way():
    """Return a track each of whose keypoints follows one of the paths."""
    tracks = [moving(path) for path in PATHS.values()]
    points = np.stack([tracks[k % len(tracks)].points[:, k] for k in EVERYWHERE], axis=1)
    return Track(0, points, tracks[0].scores)


def clip_of(track):
    return PoseClip(WIDTH, HEIGHT, len(track.points), (track,))


def spiked(track, size, frames=SPIKED, score=0.9):
    """Return the track with every keypoint off by `size` frame heights at its frame, each in another direction."""
    points, scores = track.points.copy(), track.scores.copy()
    turn = 2 * np.pi * EVERYWHERE / 7
    points[frames, EVERYWHERE] += size * np.stack([np.cos(turn), np.sin(turn)], axis=1) / (ASPECT, 1)
    scores[frames, EVERYWHERE] = score
    return Track(0, points, scores)


def hidden(track, start, length):
    """Return the track with every keypoint unseen for `length` frames from `start` [134] on; anything is there then."""
    points, scores = track.points.copy(), track.scores.copy()
    for i in range(length):
        points[start + i, EVERYWHERE], scores[start + i, EVERYWHERE] = 7, 0.1
    return Track(0, points, scores)


def refined(track, smoothing=0.5):
    return refine(clip_of(track), 5, smoothing, False).tracks[0]


def farthest(one, other):
    assert np.array_equal(one.visible, other.visible)
    return np.linalg.norm((one.points - other.points) * (ASPECT, 1), axis=-1)[one.visible].max()


def found(track):
    return without_outliers(track, track.visible, ASPECT)[1]


@pytest.mark.parametrize(("size", "score", "smoothing"), [(0.02, 0.9, 0.5), (0.06, 0.36, 1), (0.25, 1.0, 0)])
def test_every_keypoint_returns_to_its_path(size, score, smoothing):
    track = moving_in_every_way()
    wrong = spiked(track, size, score=score)
    assert farthest(refined(wrong, smoothing), refined(track, smoothing)) < 0.01


@pytest.mark.parametrize("size", [0.02, 0.25])
@pytest.mark.parametrize("gap", [1, 2, 5])
def test_an_outlier_beside_a_gap_does_not_bend_it(size, gap):
    track = moving_in_every_way()
    before = hidden(spiked(track, size), SPIKED + 1, gap)
    after = hidden(spiked(track, size), SPIKED - gap, gap)
    both = hidden(spiked(spiked(track, size), size, SPIKED + gap + 1), SPIKED + 1, gap)
    clean = [refined(hidden(track, start, gap)) for start in (SPIKED + 1, SPIKED - gap)]
    for one, expected in zip((before, after, both), (*clean, clean[0]), strict=True):
        assert farthest(refined(one), expected) < 0.01


@pytest.mark.parametrize("size", [0.02, 0.25])
@pytest.mark.parametrize("frame", [0, 1, FRAMES - 2, FRAMES - 1])
def test_an_outlier_at_an_end_of_the_clip(size, frame):
    track = moving_in_every_way()
    assert farthest(refined(spiked(track, size, np.full(KEYPOINTS, frame))), refined(track)) < 0.01


@pytest.mark.parametrize("apart", [2, 3, 4])
def test_two_outliers_of_one_keypoint_do_not_hide_each_other(apart):
    track = moving(PATHS["sine"])
    assert farthest(refined(spiked(spiked(track, 0.1), 0.05, SPIKED + apart)), refined(track)) < 0.01


@pytest.mark.parametrize(("size", "gap"), [(0.05, 0), (0.05, 5), (0.02, 1)])
def test_jitter_does_not_hide_an_outlier(size, gap):
    """Beside a gap of 5 frames, jitter of 0.001 hides half the errors of 0.02; refinement leaves them as they are."""
    track = moving_in_every_way()
    track.points[:] += np.random.default_rng(2).normal(0, 0.0007, track.points.shape) / (ASPECT, 1)
    wrong, right = (hidden(one, SPIKED + 1, gap) for one in (spiked(track, size), track))
    assert np.array_equal(np.argwhere(found(wrong).T)[:, 1], SPIKED)
    assert farthest(refined(wrong), refined(right)) < 0.01


def test_only_the_outlier_changes_and_takes_its_neighbors_score():
    track = moving(PATHS["linear"])
    wrong = Track(0, track.points.copy(), track.scores.copy())
    wrong.points[20, RIGHT_ELBOW, 0] += 0.1
    wrong.scores[20, RIGHT_ELBOW], wrong.scores[:, LEFT_WRIST] = 0.5, 0.6
    clean, outliers = without_outliers(wrong, wrong.visible, ASPECT)
    assert np.argwhere(outliers).tolist() == [[20, RIGHT_ELBOW]]
    assert np.array_equal(clean.points[~outliers], wrong.points[~outliers])
    assert np.array_equal(clean.scores[~outliers], wrong.scores[~outliers])
    assert clean.points[20, RIGHT_ELBOW] == pytest.approx(track.points[20, RIGHT_ELBOW], abs=1e-12)
    assert clean.scores[20, RIGHT_ELBOW] == pytest.approx(0.9)


def test_off_keeps_outliers_and_on_finds_the_same_backward_and_in_parts(monkeypatch):
    clip = clip_of(spiked(moving(PATHS["rest"]), 0.1))
    assert refine(clip, 0, 0, False) is clip
    track = spiked(moving(PATHS["sine"]), 0.05)
    backward = Track(0, track.points[::-1], track.scores[::-1])
    whole = found(track)
    assert np.array_equal(whole, found(backward)[::-1])
    monkeypatch.setattr("steadydancer_pack.dwpose.edit.outliers.AT_ONCE", 30 * FRAMES)
    assert np.array_equal(found(track), whole)
    assert whole.sum() == KEYPOINTS


def test_a_pose_held_after_an_outlier_is_a_gap():
    """The person was lost right after the error, and the rule "hold" repeated it."""
    track = moving(PATHS["linear"])
    wrong = spiked(track, 0.1, np.full(KEYPOINTS, 12))
    wrong.points[13:16] = wrong.points[12]
    assert farthest(refined(wrong), refined(track)) < 0.01


@pytest.mark.parametrize("amplitude", [0.02, 0.25])
@pytest.mark.parametrize("period", [5, 6, 8])
def test_fast_shaking_passes(period, amplitude):
    phases = np.linspace(0, 2 * np.pi, KEYPOINTS)
    track = moving(PATHS["rest"])
    track.points[..., 1] += amplitude * np.sin(2 * np.pi * T[:, None] / period + phases)
    assert not found(track).any()
    assert not found(hidden(track, SPIKED, 2)).any()


@pytest.mark.parametrize("middle", [20, 20.5, 0])
@pytest.mark.parametrize("duration", [1.0, 1.5, 3.0])
def test_a_fast_swing_passes(duration, middle):
    assert not found(moving(-BODY_SIZE * np.exp(-(((T - middle) / duration) ** 2) / 2))).any()


SHARP = {
    "bounce": [0.5, 1, 0.5],
    "step": [0.5, *[1] * 20],
    "sudden step": [1] * 21,
    "sudden start": 0.6 ** np.arange(20),
    "two frames": [1, 1],
    "four frames": np.cos(np.pi * np.arange(-1, 2) / 4) ** 2,
}


@pytest.mark.parametrize("move", SHARP.values(), ids=SHARP)
@pytest.mark.parametrize("backward", [False, True])
def test_an_abrupt_move_passes(move, backward):
    path = np.zeros(FRAMES)
    path[15 : 15 + len(move)] = 0.1 * np.asarray(move)
    assert not found(moving(path[::-1] if backward else path)).any()


def test_a_swing_of_three_frames_is_taken_for_an_error():
    """As the help page says: the frames beside the peak are at a quarter of it."""
    path = np.zeros(FRAMES)
    path[19:22] = 0.1 * np.cos(np.pi * np.arange(-1, 2) / 3) ** 2
    assert found(moving(path))[20].all()


def test_a_low_score_or_a_small_person_needs_less_evidence():
    """0.004 is below 0.02 body sizes, and above half of that."""
    sure, unsure = (spiked(moving(PATHS["rest"]), 0.004, score=score) for score in (0.9, 0.4))
    assert not found(sure).any()
    assert found(unsure).sum() == KEYPOINTS
    small, large = moving(PATHS["rest"]), moving(PATHS["rest"])
    small.points[:, [8, 11], 1] -= 0.8 * BODY_SIZE
    assert found(spiked(small, 0.003)).any()
    assert not found(spiked(large, 0.003)).any()


@pytest.mark.parametrize("frames", [0, 1, 2, 5])
def test_too_few_frames_are_not_judged(frames):
    track = moving(np.zeros(frames), frames)
    track.points[frames // 2 :, LEFT_WRIST] += 0.1
    clean, outliers = without_outliers(track, track.visible, ASPECT)
    assert clean is track and not outliers.any()


def test_the_report_counts_outliers():
    track = moving(PATHS["rest"])
    track.points[9, RIGHT_ELBOW] += 0.1
    track.points[[9, 25], 100] += 0.1
    _, (report,) = refine_with_report(clip_of(track), 5, 0, False)
    assert {row.group: row.outliers for row in report.groups if row.outliers} == {"body": 1, "left hand": 2}
    assert {row.gaps_filled for row in report.groups} == {0}
    assert "left hand: 0 gaps filled (0 points), 2 outliers replaced, jitter" in report_text([report])
