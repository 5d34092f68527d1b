"""Gaps, jitter and fast moves, with values computed by hand; off changes no byte."""

import math

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.refine import fill_gaps, jitter, refine, refine_with_report, report_text
from steadydancer_pack.dwpose.poses import KEYPOINTS, LEFT_ELBOW, LEFT_WRIST, NECK, RIGHT_WRIST, PoseClip, Track

FRAMES, WIDTH, HEIGHT = 40, 400, 800
ASPECT = WIDTH / HEIGHT
BODY_SIZE = 0.25  # in frame heights, neck to hip


def standing(frames=FRAMES):
    """Return a track of a still person of whom all keypoints are seen."""
    points = np.full((frames, KEYPOINTS, 2), 0.4)
    points[:, [8, 11], 1] += BODY_SIZE
    return Track(3, points, np.full((frames, KEYPOINTS), 0.9))


def clip_of(*tracks):
    return PoseClip(WIDTH, HEIGHT, len(tracks[0].points), tracks)


def with_gap(track, keypoint, frames):
    scores = track.scores.copy()
    scores[frames, keypoint] = 0.1
    return Track(track.identity, track.points, scores)


def noisy(track, sigma, keypoints=slice(None)):
    points = track.points.copy()
    noise = np.random.default_rng(5).normal(0, sigma, points[:, keypoints].shape)
    points[:, keypoints] += noise / (ASPECT, 1)
    return Track(track.identity, points, track.scores)


def test_off_or_nothing_or_nobody_to_repair_is_the_same_clip():
    clip = clip_of(with_gap(noisy(standing(), 0.01), LEFT_WRIST, [5]))
    assert refine(clip, 0, 0, False) is clip
    clip = clip_of(standing())
    assert refine(clip, 5, 0, True) is clip
    clip = PoseClip(WIDTH, HEIGHT, 5)
    assert refine(clip, 3, 1.0, True) is clip
    assert report_text([]) == "Nobody is in these poses: nothing to refine."


def moving_with_a_held_pose(length):
    """Return a walk whose frames from 10 on repeat frame 9, as when nobody was seen, and the walk itself."""
    walk = standing()
    walk.points[:, :, 0] += np.linspace(0, 0.2, FRAMES)[:, None]
    held = walk.points.copy()
    held[10 : 10 + length] = held[9]
    return Track(3, held, walk.scores), walk


def held_to_the_first_detection():
    """As "hold" leaves what comes before it."""
    walk = moving_with_a_held_pose(0)[1]
    walk.points[:3] = walk.points[3]
    return walk


def test_a_held_pose_is_a_gap_that_is_filled_and_reported():
    held, walk = moving_with_a_held_pose(4)
    assert np.allclose(fill_gaps(held, 4).points, walk.points)
    ((_, gaps, points, *_), *_) = refine_with_report(clip_of(held), 4, 0.5, True)[1][0].groups
    assert (gaps, points) == (18, 18 * 4)


@pytest.mark.parametrize(
    ("track", "longest"),
    [
        (moving_with_a_held_pose(5)[0], 4),  # held for longer
        (moving_with_a_held_pose(FRAMES - 10)[0], FRAMES),  # held to the end
        (held_to_the_first_detection(), 5),  # what was seen then is not to be bent towards the next frame
        (with_gap(standing(), LEFT_WRIST, [0, 1, 38, 39]), 10),  # before the first and after the last detection
        (with_gap(standing(), LEFT_WRIST, slice(None)), 10),  # never seen
    ],
)
def test_what_is_no_short_gap_stays(track, longest):
    assert fill_gaps(track, longest) is track


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("longest", [3, 4, 5])
def test_gaps_up_to_the_limit_are_filled(length, longest):
    gap = slice(10, 10 + length)
    track = with_gap(standing(), LEFT_WRIST, gap)
    line = np.linspace(0.1, 0.5, FRAMES)
    track.points[:, LEFT_WRIST] = np.stack([line, 1 - line], axis=1)
    track.points[gap, LEFT_WRIST] = 77
    track.scores[9, LEFT_WRIST], track.scores[10 + length, LEFT_WRIST] = 0.7, 0.6
    result = refine(clip_of(track), longest, 0, False).tracks[0]
    if length <= longest:
        assert result.scores[gap, LEFT_WRIST].tolist() == [0.6] * length
        assert result.points[gap, LEFT_WRIST] == pytest.approx(np.stack([line, 1 - line], axis=1)[gap], abs=1e-12)
    else:
        assert result is track
    others = np.delete(np.arange(KEYPOINTS), LEFT_WRIST)
    assert np.array_equal(result.points[:, others], track.points[:, others])


def test_an_absence_is_filled_if_short_and_without_overshoot():
    track = standing()
    track.scores[10:15], track.scores[20:23] = 0, 0
    present = refine(clip_of(track), 3, 0.5, True).tracks[0].present
    assert np.flatnonzero(~present).tolist() == [10, 11, 12, 13, 14]
    track = with_gap(standing(), LEFT_WRIST, [20, 21, 22])
    track.points[23:, LEFT_WRIST] = 0.8
    filled = fill_gaps(track, 3).points[20:23, LEFT_WRIST]
    assert (filled > 0.4).all() and (filled < 0.8).all()
    assert filled[1] == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize("strength", [0.1, 0.25, 0.6, 1.0])
def test_lines_and_parabolas_pass_unchanged(strength):
    t = np.arange(FRAMES) / FRAMES
    track = standing()
    track.points[:, LEFT_WRIST] = np.stack([0.2 + 0.5 * t, 0.9 - 0.8 * t + 0.7 * t**2], axis=1)
    result = refine(clip_of(track), 0, strength, False).tracks[0]
    assert result.points == pytest.approx(track.points, abs=1e-12)
    assert np.array_equal(result.scores, track.scores)


@pytest.mark.parametrize(("strength", "factor"), [(0.25, 2.5), (0.5, 4), (1.0, 6)])
def test_jitter_of_a_still_person_falls(strength, factor):
    clip = clip_of(noisy(standing(200), 0.004 * BODY_SIZE))
    smooth = refine(clip, 0, strength, False)
    everything = slice(0, KEYPOINTS)
    assert jitter(smooth.tracks[0], everything, clip) < jitter(clip.tracks[0], everything, clip) / factor


def test_a_swaying_arm_is_cleaned_too():
    track = standing(200)
    track.points[:, LEFT_WRIST, 1] += 0.1 * np.sin(2 * np.pi * np.arange(200) / 32)
    wrong = noisy(track, 0.004 * BODY_SIZE, [LEFT_WRIST])
    smooth = refine(clip_of(wrong), 0, 0.5, False).tracks[0]
    before, after = (np.abs(one.points - track.points)[:, LEFT_WRIST].mean() for one in (wrong, smooth))
    assert after < before / 1.5


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("duration", [1.0, 1.5, 3.0])
def test_a_fast_swing_keeps_its_peak(strength, duration):
    swing = BODY_SIZE * np.exp(-(((np.arange(FRAMES) - 20) / duration) ** 2) / 2)
    track = standing()
    track.points[:, LEFT_WRIST, 1] -= swing
    clip = clip_of(noisy(track, 0.002 * BODY_SIZE))
    smooth = refine(clip, 0, strength, False).tracks[0]
    height = 0.4 - smooth.points[:, LEFT_WRIST, 1]
    assert height.argmax() == 20
    assert height.max() > 0.97 * BODY_SIZE


def test_smoothing_is_the_same_backward_and_for_each_person_alone():
    track = noisy(standing(), 0.01)
    backward = Track(3, track.points[::-1], track.scores[::-1])
    forward, mirrored = (refine(clip_of(one), 0, 0.7, False).tracks[0].points for one in (track, backward))
    assert mirrored[::-1] == pytest.approx(forward, abs=1e-12)
    first, second = noisy(standing(), 0.004), with_gap(standing(), LEFT_WRIST, [9])
    both = refine(clip_of(first, second), 1, 0.5, True).tracks
    alone = [refine(clip_of(one), 1, 0.5, True).tracks[0] for one in (first, second)]
    assert [np.array_equal(a.points, b.points) for a, b in zip(both, alone, strict=True)] == [True, True]


def test_smoothing_stops_at_gaps_and_a_run_too_short_for_the_window_takes_a_shorter_one_or_none():
    track = with_gap(noisy(standing(), 0.004), LEFT_WRIST, [20])
    moved = Track(3, track.points.copy(), track.scores)
    moved.points[21:, LEFT_WRIST] += 0.1
    moved.points[20, LEFT_WRIST] = -5
    first, second = (refine(clip_of(one), 0, 1.0, False).tracks[0].points[:, LEFT_WRIST] for one in (track, moved))
    assert np.array_equal(first[:20], second[:20])
    assert second[20].tolist() == [-5, -5]
    assert second[21:] == pytest.approx(first[21:] + 0.1, abs=1e-12)
    assert not np.array_equal(first[:20], track.points[:20, LEFT_WRIST])
    track = noisy(standing(20), 0.004)
    track.scores[[4, 11], RIGHT_WRIST] = 0  # runs of 4, 6 and 8 frames
    result = refine(clip_of(track), 0, 1.0, False).tracks[0].points[:, RIGHT_WRIST]
    same = (result == track.points[:, RIGHT_WRIST]).all(axis=1)
    assert same[:5].all() and same[11]
    assert not same[5:11].any() and not same[12:].any()


def test_equal_noise_in_both_directions_is_treated_equally():
    """x is in frame widths: half as wide as high, the same way in pixels is twice the number."""
    track = standing()
    way = np.random.default_rng(0).normal(0, 0.004, FRAMES)
    track.points[:, LEFT_WRIST, 0] += way / ASPECT
    track.points[:, LEFT_ELBOW, 1] += way
    points = refine(clip_of(track), 0, 0.5, False).tracks[0].points
    assert (points[:, LEFT_WRIST, 0] - 0.4) * ASPECT == pytest.approx(points[:, LEFT_ELBOW, 1] - 0.4, abs=1e-12)


def test_jitter_by_hand():
    """One neck point is off by 4 pixels of height: second differences 4, 8, 4, and 0 elsewhere."""
    track = standing(5)
    track.points[2, NECK, 1] += 4 / HEIGHT
    assert jitter(track, slice(NECK, NECK + 1), clip_of(track)) == pytest.approx(4)
    track.scores[:] = 0
    assert math.isnan(jitter(track, slice(NECK, NECK + 1), clip_of(track)))


def test_the_report_counts():
    track = with_gap(with_gap(noisy(standing(), 0.002), LEFT_WRIST, [5, 6, 20]), 100, [7])
    _, (report,) = refine_with_report(clip_of(track), 2, 0.5, True)
    rows = {row.group: row for row in report.groups}
    assert report.number == 4
    assert (rows["body"].gaps_filled, rows["body"].points_filled) == (2, 3)
    assert (rows["left hand"].gaps_filled, rows["right hand"].gaps_filled) == (1, 0)
    assert rows["body"].jitter_after < rows["body"].jitter_before / 2
    text = report_text([report])
    assert "body: 2 gaps filled (3 points)" in text
    assert "left and right exchanged: nowhere" in text


@pytest.mark.parametrize(("gap", "smoothing"), [(-1, 0), (0, -0.1), (0, 1.5), (0, math.nan)])
def test_settings_out_of_range(gap, smoothing):
    with pytest.raises(ValueError, match="give"):
        refine(clip_of(standing()), gap, smoothing, False)


@np.errstate(all="raise")
def test_joints_in_one_place_are_no_division_by_zero():
    """As others make NumPy raise for the whole process."""
    points = np.linspace(0.2, 0.6, 30)[:, None, None] * np.ones((1, KEYPOINTS, 2))
    refined = refine(clip_of(Track(0, points, np.ones((30, KEYPOINTS)))), 5, 0.5, True)
    assert np.allclose(refined.tracks[0].points, points)
