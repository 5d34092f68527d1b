"""The second pass of linking, knowing the whole clip: M tracklets are merged into people who leave and come back."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from .tracklets import (
    COAST_FRAMES,
    UNKNOWN_APPEARANCE,
    Detection,
    Detections,
    Tracklet,
    assign,
    joints_seen,
    link_costs,
)

MAX_MERGE_COST = 1.75  # a link of tracklets must cost less than to call somebody new
FALSE_POSITIVE_SCORE = 0.6  # a short tracklet with less of the best tracklet's score: nobody was there
BLOCK = 64  # tracklets whose links are computed at once
NEAR_ENOUGH = 0.5  # motion cost below which a brief tracklet's appearance, of two people at once, means little


def drop_false_positives(tracklets: list[Tracklet], lasting: int) -> list[Tracklet]:
    """Return the tracklets less the very short ones of low score, in which a network saw what is not there."""
    levels = [tracklet.level for tracklet in tracklets]
    enough = FALSE_POSITIVE_SCORE * max(levels, default=0)
    return [s for s, level in zip(tracklets, levels, strict=True) if len(s.detections) >= lasting or level >= enough]


def merge_tracklets(tracklets: list[Tracklet], lasting: int, check: Callable[[], None]) -> list[list[Tracklet]]:
    """Return the tracklets of each person, in order of time; the brief, of fewer than `lasting` detections, last."""
    brief = [tracklet for tracklet in tracklets if len(tracklet.detections) < lasting]
    if len(brief) == len(tracklets):
        return _linked(tracklets, check)
    lasting_ones = [tracklet for tracklet in tracklets if len(tracklet.detections) >= lasting]
    trajectories = [_Trajectory(linked) for linked in _linked(lasting_ones, check)]
    for tracklet in brief:
        check()
        _insert(tracklet, trajectories)
    return [trajectory.tracklets for trajectory in trajectories]


def _linked(tracklets: list[Tracklet], check: Callable[[], None]) -> list[list[Tracklet]]:
    """Return the tracklets linked into sequences, in which each is followed by at most one that starts later."""
    if not tracklets:
        return []
    costs = np.full((len(tracklets), len(tracklets)), np.inf)
    firsts, detections = np.array([tracklet.first.frame for tracklet in tracklets]), _firsts(tracklets)
    for start in range(0, len(tracklets), BLOCK):
        check()
        block = tracklets[start : start + BLOCK]
        later = np.flatnonzero(firsts > min(tracklet.last.frame for tracklet in block))
        if len(later):
            costs[start : start + BLOCK, later] = _merge_costs(block, detections.at(later), firsts[later]).T
    after = dict(assign(costs, MAX_MERGE_COST))
    sequences = []
    for head in sorted(set(range(len(tracklets))) - set(after.values())):
        sequence = [head]
        while sequence[-1] in after:
            sequence.append(after[sequence[-1]])
        sequences.append([tracklets[i] for i in sequence])
    return sequences


def _firsts(tracklets: list[Tracklet]) -> Detections:
    """Return how each of M tracklets begins, with the size and the appearance of the whole."""
    known = [tracklet.appearance for tracklet in tracklets if tracklet.appearance is not None]
    appearances = np.stack(known) if known else None
    points = np.stack([tracklet.first.points for tracklet in tracklets])
    scores = np.stack([tracklet.first.scores for tracklet in tracklets])
    sizes = np.array([tracklet.size for tracklet in tracklets])
    return Detections(points, scores, joints_seen(scores), sizes, appearances)


def _merge_costs(
    tracklets: list[Tracklet], detections: Detections, firsts: np.ndarray, mixed: bool = False
) -> np.ndarray:
    """Return [N, M]: the cost of N others, from frames `firsts` [N] on, after M; mixed: looks near by mean little."""
    gaps = firsts[:, None] - np.array([tracklet.last.frame for tracklet in tracklets])
    motion, appearances, sizes = link_costs(tracklets, np.maximum(gaps, 1), detections)
    if mixed:
        appearances = np.where(motion < NEAR_ENOUGH, np.minimum(appearances, UNKNOWN_APPEARANCE), appearances)
    costs = motion + appearances + sizes
    return np.where((gaps > 0) & (costs < MAX_MERGE_COST), costs, np.inf)


class _Trajectory:
    """The tracklets of one person, and the detections in them by frame."""

    def __init__(self, tracklets: list[Tracklet]):
        self.tracklets: list[Tracklet] = []
        self.detections: list[Detection] = []
        self.frames: list[int] = []
        self.taken: set[int] = set()
        self.ends: dict[int, Tracklet] = {}
        for tracklet in tracklets:
            self.append(tracklet)

    def append(self, tracklet: Tracklet) -> None:
        self.tracklets.append(tracklet)
        self.detections = sorted([*self.detections, *tracklet.detections], key=lambda detection: detection.frame)
        self.frames = [detection.frame for detection in self.detections]
        self.taken = {*self.frames}
        self.ends.clear()

    def end_before(self, brief: Tracklet) -> Tracklet | None:
        """Return the last few detections before a tracklet; None if there are none, or some in its own frames."""
        place = bisect_left(self.frames, brief.first.frame)
        if not place or not self.taken.isdisjoint(detection.frame for detection in brief.detections):
            return None
        if place not in self.ends:
            self.ends[place] = Tracklet(self.detections[max(place - COAST_FRAMES, 0) : place])
        return self.ends[place]


def _insert(brief: Tracklet, trajectories: list[_Trajectory]) -> None:
    """Put a brief tracklet into the gap of the person whom it suits best; without pictures it may be a new person."""
    ends = [(trajectory, end) for trajectory in trajectories if (end := trajectory.end_before(brief)) is not None]
    costs = np.array([np.inf])
    if ends:
        firsts = np.array([brief.first.frame])
        costs = _merge_costs([end for _, end in ends], _firsts([brief]), firsts, mixed=True)[0]
    if costs.min() < np.inf:
        ends[int(np.argmin(costs))][0].append(brief)
    elif brief.appearance is None:
        trajectories.append(_Trajectory([brief]))
