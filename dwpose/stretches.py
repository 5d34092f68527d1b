"""Sights of people, the stretches in which a person is seen without a long gap, and what linking two of them costs.

Dimensions: N sights, M stretches. Points may be in pixels or in fractions of the frame, throughout.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from . import appearance
from .poses import BODY, FEET, KEYPOINTS, VISIBLE_SCORE

IN_BODY = np.isin(np.arange(KEYPOINTS), np.arange(KEYPOINTS)[BODY])
COAST_FRAMES = 8  # motion is not extrapolated further
REACH, REACH_PER_FRAME, REACH_FRAMES = 0.1, 0.05, 16  # error expected of a prediction, in sizes of the person
UNLIKE = 0.5  # difference of looks that costs as much as being far away
UNKNOWN_LOOK, MAX_LOOK = 0.5, 1.5
SIZE_WEIGHT = 0.5  # the cost of twice or half the size
CHANGE_FRAMES, MIN_CHANGE_FRAMES = 12, 4  # sights before and after a frame that tell whether the clothes change there
CHANGE = 0.4  # difference of looks from which they do
PAIRED_KEYPOINTS = 1 << 19  # compared at once


class Sights(NamedTuple):
    """The N people of one frame. looks: [N, parts, bins] of `appearance`, or None without pictures."""

    points: np.ndarray  # [N, 134, 2]
    scores: np.ndarray  # [N, 134]
    joints: np.ndarray  # bool [N, 134], those to compare
    sizes: np.ndarray  # [N]
    looks: np.ndarray | None

    @classmethod
    def of(cls, points: np.ndarray, scores: np.ndarray, looks: np.ndarray | None = None) -> "Sights":
        return cls(points, scores, joints_seen(scores), person_size(points, scores), looks)

    def at(self, rows: slice) -> "Sights":
        """Return some of them."""
        return Sights(*(None if array is None else array[rows] for array in self))


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


class Sight(NamedTuple):
    """One person in one frame. clear: nobody else stands in front or behind, so that the look is this person's.

    row: its number among all sights that the tracker was given.
    """

    frame: int
    row: int
    points: np.ndarray  # [134, 2]
    scores: np.ndarray  # [134]
    joints: np.ndarray  # bool [134]
    size: float
    look: np.ndarray | None
    clear: bool


class Stretch:
    """One person from the first sight to the last without a long gap."""

    def __init__(self, sights: Iterable[Sight] = ()):
        self.sights: list[Sight] = []
        self.velocity, self.size = np.zeros(2), 0.0
        self.look: np.ndarray | None = None  # running mean
        self.clear_looks = 0
        for sight in sights:
            self.add(sight)

    def add(self, sight: Sight) -> None:
        if self.sights:
            step = self._step(sight) / (sight.frame - self.last.frame)
            self.velocity = step if len(self.sights) == 1 else (self.velocity + step) / 2
        self.size = 0.8 * self.size + 0.2 * sight.size if self.sights else sight.size
        if sight.look is not None and (sight.clear or self.look is None):
            self.clear_looks += sight.clear
            self.look = appearance.blend(self.look, sight.look, max(0.1, 1 / max(self.clear_looks, 1)))
        self.sights.append(sight)

    def _step(self, sight: Sight) -> np.ndarray:
        shared = sight.joints & self.last.joints
        return _median(sight.points[shared] - self.last.points[shared]) if shared.any() else self.velocity

    @property
    def first(self) -> Sight:
        return self.sights[0]

    @property
    def last(self) -> Sight:
        return self.sights[-1]

    @property
    def level(self) -> float:
        """The mean score of the joints seen, over the stretch."""
        scores = np.stack([sight.scores for sight in self.sights])
        return float(scores[np.stack([sight.joints for sight in self.sights])].mean())

    def pieces(self) -> list["Stretch"]:
        """Return the stretch cut where the clothes change."""
        if self.look is None:
            return [self]
        clear = [place for place, sight in enumerate(self.sights) if sight.clear]
        changes = appearance.changes([self.sights[place].look for place in clear], CHANGE_FRAMES, MIN_CHANGE_FRAMES)
        cuts = [clear[place] for place in _peaks(changes, CHANGE, CHANGE_FRAMES)]
        return [Stretch(self.sights[a:b]) for a, b in pairwise([0, *cuts, len(self.sights)])] if cuts else [self]


def link_costs(stretches: Sequence[Stretch], gaps: np.ndarray, sights: Sights) -> tuple[np.ndarray, ...]:
    """Return what it costs that N sights go on with M stretches, `gaps` [N or 1, M] frames after their last sights.

    Three parts [N, M]. Motion, 0..1: 0 where the person was expected, 1/2 at the expected error, towards 1 far away.
    Looks, 0..MAX_LOOK; UNKNOWN_LOOK where there is none. Size, 0..SIZE_WEIGHT.
    """
    lasts = [stretch.last for stretch in stretches]
    joints = np.array([last.joints for last in lasts])
    keypoints = FEET.stop  # with zeros beyond the body, the same sums as over all keypoints
    if joints[:, keypoints:].any() and sights.joints[:, keypoints:].any():
        keypoints = KEYPOINTS
    points = np.array([last.points[:keypoints] for last in lasts])
    moved = np.array([stretch.velocity for stretch in stretches]) * np.minimum(gaps, COAST_FRAMES)[..., None]
    sizes = np.array([stretch.size for stretch in stretches])
    distance, step = [], max(1, PAIRED_KEYPOINTS // (len(stretches) * keypoints))
    for start in range(0, len(sights.points), step):
        some, ahead = sights.at(slice(start, start + step)), moved if len(moved) == 1 else moved[start : start + step]
        shared = some.joints[:, None, :keypoints] & joints[:, :keypoints]
        offsets = some.points[:, None, :keypoints] - (points + ahead[:, :, None])  # N M K 2
        offsets *= offsets
        far = np.sqrt(offsets[..., 0] + offsets[..., 1])
        seen = shared.sum(2)
        apart = (far * shared).sum(2) / np.maximum(seen, 1)
        if not seen.all():
            centres = _centre(np.array([last.points for last in lasts]), joints) + ahead
            elsewhere = np.linalg.norm(_centre(some.points, some.joints)[:, None] - centres, axis=-1)
            apart = np.where(seen, apart, elsewhere)
        distance.append(apart)
    distance = distance[0] if len(distance) == 1 else np.concatenate(distance)
    motion = motion_cost(distance, sights.sizes[:, None], sizes, gaps)
    return motion, _looks(stretches, sights), size_cost(sights.sizes[:, None], sizes)


def motion_cost(distance: np.ndarray, sizes: np.ndarray, others: np.ndarray, gaps: np.ndarray | int) -> np.ndarray:
    """Return 0..1: what it costs to be a mean `distance` off, by the sizes of sight and stretch and the gap between."""
    size = np.maximum(np.maximum(sizes, others), 1e-9)
    return distance / (distance + size * (REACH + REACH_PER_FRAME * np.minimum(gaps, REACH_FRAMES)))


def size_cost(sizes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return 0..SIZE_WEIGHT: what it costs to differ in size."""
    ratio = np.maximum(sizes, 1e-9) / np.maximum(others, 1e-9)
    return SIZE_WEIGHT * np.minimum(np.abs(np.log2(ratio)), 1)


def _centre(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    return (points * joints[..., None]).sum(-2) / np.maximum(joints.sum(-1), 1)[..., None]


def _looks(stretches: Sequence[Stretch], sights: Sights) -> np.ndarray:
    costs = np.full((len(sights.points), len(stretches)), UNKNOWN_LOOK)
    for column, stretch in enumerate(stretches):
        if sights.looks is not None and stretch.look is not None:
            difference = appearance.difference(stretch.look, sights.looks)
            known = np.minimum(difference / UNLIKE, MAX_LOOK)
            costs[:, column] = np.where(np.isnan(difference), UNKNOWN_LOOK, known)
    return costs


def assign(costs: np.ndarray, price: float) -> list[tuple[int, int]]:
    """Return the cheapest pairs (row, column) of costs [N, M]; a row may also stay alone at that price."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = costs.shape
    alone = np.full((rows, rows), np.inf)
    np.fill_diagonal(alone, price)
    pairs = zip(*linear_sum_assignment(np.concatenate([costs, alone], 1)), strict=True) if rows else ()
    return [(int(row), int(column)) for row, column in pairs if column < columns]


def _median(steps: np.ndarray) -> np.ndarray:
    """Return the median [2] of steps [n, 2]."""
    ordered, count = np.sort(steps, axis=0), len(steps)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def _peaks(values: np.ndarray, least: float, apart: int) -> list[int]:
    """Return where values [n] peak at `least` or above, in order; no two nearer than `apart`."""
    values, peaks = values.copy(), []
    while len(values) and values.max() >= least:
        peaks.append(int(values.argmax()))
        values[max(peaks[-1] - apart + 1, 0) : peaks[-1] + apart] = 0
    return sorted(peaks)
