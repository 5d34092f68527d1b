"""Detections of people, the tracklets in which a person is seen without a long gap, and what linking two of them costs.

Dimensions: N detections, M tracklets. Points may be in pixels or in fractions of the frame, throughout.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..poses import BODY, FEET, KEYPOINTS, VISIBLE_SCORE
from . import appearance

IN_BODY = np.isin(np.arange(KEYPOINTS), np.arange(KEYPOINTS)[BODY])
COAST_FRAMES = 8  # motion is not extrapolated further
REACH, REACH_PER_FRAME, REACH_FRAMES = 0.1, 0.05, 16  # error expected of a prediction, in sizes of the person
UNLIKE = 0.5  # difference of appearances that costs as much as being far away
UNKNOWN_APPEARANCE, MAX_APPEARANCE_COST = 0.5, 1.5
SIZE_WEIGHT = 0.5  # the cost of twice or half the size
CHANGE_FRAMES, MIN_CHANGE_FRAMES = 12, 4  # detections compared before and after a frame: do the clothes change there?
CHANGE = 0.4  # difference of appearances from which they do
PAIRED_KEYPOINTS = 1 << 19  # compared at once


class Detections(NamedTuple):
    """The N people of one frame. appearances: [N, parts, bins] of `appearance`, or None without pictures."""

    points: np.ndarray  # [N, 134, 2]
    scores: np.ndarray  # [N, 134]
    joints: np.ndarray  # bool [N, 134], those to compare
    sizes: np.ndarray  # [N]
    appearances: np.ndarray | None

    @classmethod
    def of(cls, points: np.ndarray, scores: np.ndarray, appearances: np.ndarray | None = None) -> "Detections":
        return cls(points, scores, joints_seen(scores), person_size(points, scores), appearances)

    def at(self, rows: slice | np.ndarray) -> "Detections":
        """Return some of them."""
        appearances = None if self.appearances is None else self.appearances[rows]
        return Detections(self.points[rows], self.scores[rows], self.joints[rows], self.sizes[rows], appearances)


def joints_seen(scores: np.ndarray) -> np.ndarray:
    """Return bool [..., 134]: the visible body joints; of a person without any, all visible keypoints."""
    seen = scores >= VISIBLE_SCORE
    body = seen & IN_BODY
    return np.where(body.any(-1, keepdims=True), body, seen)


def person_box(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return [..., 4]: left, top, right, bottom of the joints seen in [..., 134, 2]; NaN where nothing is seen."""
    seen = joints_seen(scores)[..., None]
    low, high = np.where(seen, points, np.inf).min(-2), np.where(seen, points, -np.inf).max(-2)
    return np.where(seen.any(-2), np.concatenate([low, high], -1), np.nan)


def person_size(points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return [...]: the diagonal of each `person_box`; 0 where nothing is seen."""
    box = person_box(points, scores)
    return np.nan_to_num(np.hypot(box[..., 2] - box[..., 0], box[..., 3] - box[..., 1]))


class Detection(NamedTuple):
    """One person in one frame. clear: nobody else stands in front or behind; row: its number among all detections."""

    frame: int
    row: int
    points: np.ndarray  # [134, 2]
    scores: np.ndarray  # [134]
    joints: np.ndarray  # bool [134]
    size: float
    appearance: np.ndarray | None
    clear: bool


class Tracklet:
    """One person from the first detection to the last without a long gap."""

    def __init__(self, detections: Iterable[Detection] = ()):
        self.detections: list[Detection] = []
        self.velocity, self.size = np.zeros(2), 0.0
        self.appearance: np.ndarray | None = None  # running mean
        self.clear_appearances = 0
        for detection in detections:
            self.add(detection)

    def add(self, detection: Detection) -> None:
        if self.detections:
            shared, step = detection.joints & self.last.joints, self.velocity
            if shared.any():  # the median, which np.median takes much longer for
                steps = np.sort(detection.points[shared] - self.last.points[shared], axis=0)
                step = (steps[(len(steps) - 1) // 2] + steps[len(steps) // 2]) / 2
            step = step / (detection.frame - self.last.frame)
            self.velocity = step if len(self.detections) == 1 else (self.velocity + step) / 2
        self.size = 0.8 * self.size + 0.2 * detection.size if self.detections else detection.size
        if detection.appearance is not None and (detection.clear or self.appearance is None):
            self.clear_appearances += detection.clear
            share = max(0.1, 1 / max(self.clear_appearances, 1))
            self.appearance = appearance.blend(self.appearance, detection.appearance, share)
        self.detections.append(detection)

    @property
    def first(self) -> Detection:
        return self.detections[0]

    @property
    def last(self) -> Detection:
        return self.detections[-1]

    @property
    def level(self) -> float:
        """The mean score of the joints seen, over the tracklet."""
        scores = np.stack([detection.scores for detection in self.detections])
        return float(scores[np.stack([detection.joints for detection in self.detections])].mean())

    def split_on_appearance_change(self) -> list["Tracklet"]:
        """Return the tracklet cut where the clothes change."""
        if self.appearance is None:
            return [self]
        clear = [
            (place, detection.appearance)
            for place, detection in enumerate(self.detections)
            if detection.clear and detection.appearance is not None
        ]
        changes, cuts = appearance.changes([one for _, one in clear], CHANGE_FRAMES, MIN_CHANGE_FRAMES), []
        while len(changes) and changes.max() >= CHANGE:  # the peaks, no two nearer than CHANGE_FRAMES
            peak = int(changes.argmax())
            cuts.append(clear[peak][0])
            changes[max(peak - CHANGE_FRAMES + 1, 0) : peak + CHANGE_FRAMES] = 0
        ends = [0, *sorted(cuts), len(self.detections)]
        return [Tracklet(self.detections[a:b]) for a, b in pairwise(ends)] if cuts else [self]


def link_costs(tracklets: Sequence[Tracklet], gaps: np.ndarray, detections: Detections) -> tuple[np.ndarray, ...]:
    """Return what it costs that N detections continue M tracklets, `gaps` [N or 1, M] frames after they were last seen.

    Three parts [N, M]: motion, 0..1, 1/2 at the expected error; appearance, 0..MAX_APPEARANCE_COST, UNKNOWN_APPEARANCE
    where there is none; size, 0..SIZE_WEIGHT.
    """
    lasts = [tracklet.last for tracklet in tracklets]
    joints = np.array([last.joints for last in lasts])
    keypoints = FEET.stop  # with zeros beyond the body, the same sums as over all keypoints
    if joints[:, keypoints:].any() and detections.joints[:, keypoints:].any():
        keypoints = KEYPOINTS
    points = np.array([last.points[:keypoints] for last in lasts])
    moved = np.array([tracklet.velocity for tracklet in tracklets]) * np.minimum(gaps, COAST_FRAMES)[..., None]
    sizes = np.array([tracklet.size for tracklet in tracklets])
    distance, step = [], max(1, PAIRED_KEYPOINTS // (len(tracklets) * keypoints))
    for start in range(0, len(detections.points), step):
        part = slice(start, start + step)
        some, ahead = detections.at(part), moved if len(moved) == 1 else moved[part]
        shared = some.joints[:, None, :keypoints] & joints[:, :keypoints]
        offsets = some.points[:, None, :keypoints] - (points + ahead[:, :, None])  # N M K 2
        offsets *= offsets
        far = np.sqrt(offsets[..., 0] + offsets[..., 1])
        seen = shared.sum(2)
        apart = (far * shared).sum(2) / np.maximum(seen, 1)
        if not seen.all():
            centers = joint_center(np.array([last.points for last in lasts]), joints) + ahead
            elsewhere = np.linalg.norm(joint_center(some.points, some.joints)[:, None] - centers, axis=-1)
            apart = np.where(seen, apart, elsewhere)
        distance.append(apart)
    distance = distance[0] if len(distance) == 1 else np.concatenate(distance)
    motion = motion_cost(distance, detections.sizes[:, None], sizes, gaps)
    return motion, _appearance_costs(tracklets, detections), size_cost(detections.sizes[:, None], sizes)


def motion_cost(distance: np.ndarray, sizes: np.ndarray, others: np.ndarray, gaps: np.ndarray | int) -> np.ndarray:
    """Return 0..1: the cost of being a mean `distance` off, by the sizes of detection and tracklet and the gap."""
    size = np.maximum(np.maximum(sizes, others), 1e-9)
    return distance / (distance + size * (REACH + REACH_PER_FRAME * np.minimum(gaps, REACH_FRAMES)))


def size_cost(sizes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return 0..SIZE_WEIGHT: what it costs to differ in size."""
    ratio = np.maximum(sizes, 1e-9) / np.maximum(others, 1e-9)
    return SIZE_WEIGHT * np.minimum(np.abs(np.log2(ratio)), 1)


def joint_center(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return [..., 2]: the mean of the chosen joints, bool [..., K], of points [..., K, 2]; 0 where there is none."""
    return (points * joints[..., None]).sum(-2) / np.maximum(joints.sum(-1), 1)[..., None]


def _appearance_costs(tracklets: Sequence[Tracklet], detections: Detections) -> np.ndarray:
    costs = np.full((len(detections.points), len(tracklets)), UNKNOWN_APPEARANCE)
    for column, tracklet in enumerate(tracklets):
        if detections.appearances is not None and tracklet.appearance is not None:
            difference = appearance.difference(tracklet.appearance, detections.appearances)
            known = np.minimum(difference / UNLIKE, MAX_APPEARANCE_COST)
            costs[:, column] = np.where(np.isnan(difference), UNKNOWN_APPEARANCE, known)
    return costs


def assign(costs: np.ndarray, price: float) -> list[tuple[int, int]]:
    """Return the cheapest pairs (row, column) of costs [N, M]; a row may also stay alone at that price."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = costs.shape
    alone = np.full((rows, rows), np.inf)
    np.fill_diagonal(alone, price)
    pairs = zip(*linear_sum_assignment(np.concatenate([costs, alone], 1)), strict=True) if rows else ()
    return [(int(row), int(column)) for row, column in pairs if column < columns]
