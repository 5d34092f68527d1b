"""A clip of detected poses made whole and smooth: swapped sides and outliers repaired, gaps filled, jitter removed.

For use before alignment, which would scale the jitter. Nothing lags: all looks both ways. Lengths are metric.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..poses import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND, PoseClip, Track
from ..skeleton import metric
from .outliers import without_outliers
from .proportions import typical_size
from .swap_repair import exchange, find_swaps

GROUPS = {"body": BODY, "feet": FEET, "face": FACE, "left hand": LEFT_HAND, "right hand": RIGHT_HAND}

WINDOWS = (5, 7, 9, 11)  # frames of the Savitzky-Golay filter at smoothing 1/4, 1/2, 3/4, 1; blended in between
DEGREE = 2  # parabolas pass unchanged
TOLERANCE = 0.005  # in body sizes: where the filter flattens a move by this much, half of it is left; by twice, a fifth


class GroupReport(NamedTuple):
    """What was done to some keypoints of a person; jitter is the median second difference in pixels, NaN if unseen."""

    group: str
    gaps_filled: int
    points_filled: int
    jitter_before: float
    jitter_after: float
    outliers: int


class PersonReport(NamedTuple):
    """What was done to one person: the number of frames in which each pair of sides was exchanged, and the groups."""

    number: int
    swapped_frames: dict[str, int]
    groups: list[GroupReport]


def refine(clip: PoseClip, gap_frames: int, smoothing: float, repair_swaps: bool) -> PoseClip:
    """Return the clip with swapped sides exchanged, gaps of up to `gap_frames` frames filled, and jitter smoothed.

    smoothing: 0 (off) to 1. Filling and smoothing start from poses without outliers; with 0, 0 and False the clip
    itself comes back. Raises ValueError for negative frames or a smoothing outside 0..1.
    """
    return refine_with_report(clip, gap_frames, smoothing, repair_swaps)[0]


def refine_with_report(
    clip: PoseClip, gap_frames: int, smoothing: float, repair_swaps: bool
) -> tuple[PoseClip, list[PersonReport]]:
    """Return what `refine` returns, and what was done to each person."""
    if gap_frames < 0:
        raise ValueError(f"gap_frames is {gap_frames}; give 0 to fill nothing, or the longest gap to fill, in frames.")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; give a number from 0 (off) to 1 (strongest).")
    refined = [_refine_track(track, gap_frames, smoothing, repair_swaps, clip) for track in clip.tracks]
    changed = any(new is not old for (new, _), old in zip(refined, clip.tracks, strict=True))
    return clip.with_tracks(track for track, _ in refined) if changed else clip, [report for _, report in refined]


def _refine_track(
    track: Track, gap_frames: int, smoothing: float, repair_swaps: bool, clip: PoseClip
) -> tuple[Track, PersonReport]:
    aspect = clip.width / clip.height
    swaps = find_swaps(track, aspect) if repair_swaps else {}
    unswapped = exchange(track, swaps) if any(frames.any() for frames in swaps.values()) else track
    measured = _measured(unswapped, gap_frames)
    clean, outliers = unswapped, np.zeros_like(measured)
    if gap_frames or smoothing:
        clean, outliers = without_outliers(unswapped, measured, aspect)
    whole = fill_gaps(clean, gap_frames, measured) if gap_frames else clean
    smooth = smooth_track(whole, smoothing, aspect) if smoothing else whole
    filled = whole.visible & (~clean.visible | (whole.points != clean.points).any(axis=2))  # with those of held poses
    return smooth, _report(track, smooth, outliers, filled, swaps, clip)


def fill_gaps(track: Track, longest: int, measured: np.ndarray | None = None) -> Track:
    """Return the track with each keypoint's gaps of up to `longest` frames filled, with the lower score of their ends.

    Nothing is filled before a keypoint is first seen or after it is last seen. measured: bool [F, 134], what was seen;
    None: see `_measured`. Curve: piecewise cubic Hermite (Fritsch and Carlson 1980), which does not overshoot.
    """
    from scipy.interpolate import PchipInterpolator

    points, scores = track.points.copy(), track.scores.copy()
    for keypoint, seen in enumerate((_measured(track, longest) if measured is None else measured).T):
        between = pairwise(_runs(seen))
        gaps = [(stop, start) for (_, stop), (start, _) in between if start - stop <= longest]
        if not gaps:
            continue
        curve = PchipInterpolator(np.flatnonzero(seen), track.points[seen, keypoint])
        for start, stop in gaps:
            points[start:stop, keypoint] = curve(np.arange(start, stop))
            scores[start:stop, keypoint] = track.scores[[start - 1, stop], keypoint].min()
    same = (scores == track.scores).all() and (points == track.points).all()
    return track if same else replace(track, points=points, scores=scores)


def _measured(track: Track, longest: int) -> np.ndarray:
    """Return bool [F, 134]: the points that are seen, without held poses.

    Held are up to `longest` frames in a row that repeat the pose before them, if motion follows; repeats of the very
    first frame stay, because the last of them is the true detection.
    """
    frozen = np.zeros(len(track.points), bool)
    same = (np.diff(track.points, axis=0) == 0).all(axis=(1, 2)) & (np.diff(track.scores, axis=0) == 0).all(axis=1)
    for start, stop in _runs(np.append(False, same)):
        frozen[start:stop] = start > 1 and stop - start <= longest and stop < len(frozen)
    return track.visible & ~frozen[:, None]


def _runs(seen: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each run of true frames in bool [F]."""
    edges = np.flatnonzero(np.diff(seen.astype(np.int8), prepend=0, append=0)).tolist()
    return zip(edges[::2], edges[1::2], strict=True)


def smooth_track(track: Track, strength: float, aspect: float) -> Track:
    """Return the track with each unbroken run of seen points smoothed; strength 0..1, aspect is width / height."""
    points = track.points.copy()
    tolerance = TOLERANCE * typical_size(track, aspect)
    keypoints_of = defaultdict(list)  # those seen together from one frame to another
    for keypoint, seen in enumerate(track.visible.T):
        for run in _runs(seen):
            keypoints_of[run].append(keypoint)
    for (start, stop), keypoints in keypoints_of.items():
        if stop - start >= WINDOWS[0]:
            path = metric(points[start:stop, keypoints], aspect)
            points[start:stop, keypoints] = _smooth(path, strength, tolerance) / (aspect, 1)
    return replace(track, points=points)


def _smooth(path: np.ndarray, strength: float, tolerance: float) -> np.ndarray:
    """Return metric points [N, K, 2] smoothed by ever wider windows, each only as far as it does not flatten a move."""
    shift = np.zeros_like(path)
    for i, window in enumerate(WINDOWS):
        share = np.clip(strength * len(WINDOWS) - i, 0, 1)
        fitting = min(window, len(path) - (len(path) + 1) % 2)
        if share > 0 and fitting >= WINDOWS[0]:
            smooth, calm = _filter(path, fitting, tolerance)
            shift += share * calm * (smooth - path - shift)
    return path + shift


def _filter(path: np.ndarray, window: int, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the points smoothed by one window [N, K, 2], and 0..1 for how well that suits each [N, K, 1].

    Smoothing again separates moves from noise, which is mostly gone by then: only a move is flattened again.
    """
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import savgol_filter

    smooth = savgol_filter(path, window, DEGREE, axis=0, mode="interp")
    smoother = savgol_filter(smooth, window, DEGREE, axis=0, mode="interp")
    flattened = np.linalg.norm(smoother - smooth, axis=-1, keepdims=True)
    return smooth, 1 / (1 + (maximum_filter1d(flattened, window, axis=0) / tolerance) ** 2)


def jitter(track: Track, keypoints: slice, clip: PoseClip) -> float:
    """Return the median length of the second difference of the seen keypoints, in pixels; NaN if there is none."""
    points = track.points[:, keypoints] * (clip.width, clip.height)
    seen = track.visible[:, keypoints]
    known = seen[:-2] & seen[1:-1] & seen[2:]
    bends = points[:-2][known] - 2 * points[1:-1][known] + points[2:][known]
    return float(np.median(np.linalg.norm(bends, axis=-1))) if known.any() else math.nan


def _report(
    old: Track, new: Track, outliers: np.ndarray, filled: np.ndarray, swaps: dict[str, np.ndarray], clip: PoseClip
) -> PersonReport:
    groups = []
    for name, part in GROUPS.items():
        gaps, points = sum(len(list(_runs(column))) for column in filled[:, part].T), int(filled[:, part].sum())
        before, after = jitter(old, part, clip), jitter(new, part, clip)
        groups.append(GroupReport(name, gaps, points, before, after, int(outliers[:, part].sum())))
    return PersonReport(old.number, {group: int(frames.sum()) for group, frames in swaps.items()}, groups)


def report_text(reports: list[PersonReport]) -> str:
    """Return the reports as text, a line for each group of keypoints that is seen."""
    blocks = []
    for person in reports:
        lines = [f"Person {person.number}"]
        swapped = ", ".join(f"{group} in {n} frames" for group, n in person.swapped_frames.items() if n)
        if person.swapped_frames:
            lines.append(f"left and right exchanged: {swapped or 'nowhere'}")
        for row in person.groups:
            if not math.isnan(row.jitter_after):
                filled = f"{row.gaps_filled} gaps filled ({row.points_filled} points)"
                moved = f"jitter {row.jitter_before:.2f} -> {row.jitter_after:.2f} px"
                lines.append(f"{row.group}: {filled}, {row.outliers} outliers replaced, {moved}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "Nobody is in these poses: nothing to refine."
