"""Who is who: people found frame by frame become tracks, one person each.

Two passes. In the first, each frame's people are assigned to the stretches that are under way (`Tracker.update`). The
second, which knows the whole clip (`Tracker.tracks`), cuts a stretch where the clothes change, because there one person
hid another and the eye went along with the wrong one; then it chains the stretches into people, so that someone who
leaves and comes back, elsewhere and long after, is the same person. Both passes solve an assignment over one cost: how
far the joints are from where they were expected, how unlike the clothes look (`appearance`), how unlike the sizes are.

Dimensions: N people in a frame, F frames. Points may be in pixels or in parts of the frame, throughout.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from . import appearance
from .boxes import overlaps
from .poses import BODY, KEYPOINTS, VISIBLE_SCORE, Track

IN_BODY = np.isin(np.arange(KEYPOINTS), np.arange(KEYPOINTS)[BODY])
LIVE_FRAMES = 24  # a stretch that long without a sight of the person has ended
COAST_FRAMES = 8  # motion is not extrapolated further
REACH, REACH_PER_FRAME, REACH_FRAMES = 0.1, 0.05, 16  # error expected of a prediction, in parts of the person's size
NEAR = 0.8  # motion cost from which a person is elsewhere, and only the second pass may link
UNLIKE = 0.5  # difference of looks that costs as much as being far away
UNKNOWN_LOOK, MAX_LOOK = 0.5, 1.5
SIZE_WEIGHT = 0.5  # the cost of twice or half the size
NEW_STRETCH = 1.2  # a sight must cost less than that to go on with a stretch; the second pass may still link them
NEW_PERSON = 1.75  # a link of stretches must cost less than to call somebody new
CHANGE_FRAMES, MIN_CHANGE_FRAMES = 12, 4  # sights before and after a frame that tell whether the clothes change there
CHANGE = 0.4  # difference of looks from which they do
GHOST_FRAMES, GHOST_SCORE = 5, 0.6  # shorter, and with less of the best stretch's score: nobody was there


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
    """One person in one frame. clear: nobody else stands in front or behind, so that the look is this person's."""

    frame: int
    points: np.ndarray  # [134, 2]
    scores: np.ndarray  # [134]
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
        size = float(person_size(sight.points, sight.scores))
        if self.sights:
            step = self._step(sight) / (sight.frame - self.last.frame)
            self.velocity = step if len(self.sights) == 1 else (self.velocity + step) / 2
        self.size = 0.8 * self.size + 0.2 * size if self.sights else size
        if sight.look is not None and (sight.clear or self.look is None):
            self.clear_looks += sight.clear
            self.look = appearance.blend(self.look, sight.look, max(0.1, 1 / max(self.clear_looks, 1)))
        self.sights.append(sight)

    def _step(self, sight: Sight) -> np.ndarray:
        shared = joints_seen(sight.scores) & joints_seen(self.last.scores)
        return np.median(sight.points[shared] - self.last.points[shared], axis=0) if shared.any() else self.velocity

    @property
    def first(self) -> Sight:
        return self.sights[0]

    @property
    def last(self) -> Sight:
        return self.sights[-1]

    def expected(self, gaps: np.ndarray) -> np.ndarray:
        """Return [N, 134, 2]: where the joints should be, each of `gaps` [N] frames after the last sight."""
        return self.last.points + (self.velocity * np.minimum(gaps, COAST_FRAMES)[:, None])[:, None]

    @property
    def level(self) -> float:
        """The mean score of the joints seen, over the stretch."""
        scores = np.stack([sight.scores for sight in self.sights])
        return float(scores[joints_seen(scores)].mean())

    def pieces(self) -> list["Stretch"]:
        """Return the stretch cut where the clothes change."""
        if self.look is None:
            return [self]
        clear = [place for place, sight in enumerate(self.sights) if sight.clear]
        changes = appearance.changes([self.sights[place].look for place in clear], CHANGE_FRAMES, MIN_CHANGE_FRAMES)
        cuts = [clear[place] for place in _peaks(changes, CHANGE, CHANGE_FRAMES)]
        return [Stretch(self.sights[a:b]) for a, b in pairwise([0, *cuts, len(self.sights)])] if cuts else [self]


class Tracker:
    """Takes one frame's people after the other, and gives the tracks at the end. Keeps no picture."""

    def __init__(self):
        self.stretches: list[Stretch] = []

    def update(self, frame: int, sights: Sights) -> list[Stretch]:
        """Return the stretch that each of the N people of `frame` belongs to; frames must come in order."""
        live = [s for s in self.stretches if frame - s.last.frame <= LIVE_FRAMES]
        found = dict(_assign(self._costs(live, frame, sights), NEW_STRETCH))
        boxes = person_box(sights.points, sights.scores)
        crowded = (overlaps(boxes, boxes) > 0.3).sum(1) > 1
        result = [live[found[row]] if row in found else Stretch() for row in range(len(boxes))]
        for row, stretch in enumerate(result):
            self.stretches += [stretch] * (not stretch.sights)
            look = None if sights.looks is None else sights.looks[row]
            stretch.add(Sight(frame, sights.points[row].copy(), sights.scores[row].copy(), look, not crowded[row]))
        return result

    @staticmethod
    def _costs(live: list[Stretch], frame: int, sights: Sights) -> np.ndarray:
        costs = np.full((len(sights.points), len(live)), np.inf)
        for column, stretch in enumerate(live):
            gaps = np.full(len(sights.points), frame - stretch.last.frame)
            motion, rest = _motion(stretch, gaps, sights), _looks(stretch, sights) + _sizes(stretch, sights)
            costs[:, column] = np.where(motion < NEAR, motion + rest, np.inf)
        return costs

    def tracks(self, frames: int) -> list[Track]:
        """Return the people of a clip of `frames` frames, numbered from 0 by first appearance, then from the left."""
        lasting = min(GHOST_FRAMES, 1 + frames // 8)
        pieces = [piece for stretch in _without_ghosts(self.stretches, lasting) for piece in stretch.pieces()]
        people = sorted(_people(pieces, lasting), key=lambda chain: _place(chain[0].first))
        return [Track(identity, *_arrays(chain, frames)) for identity, chain in enumerate(people)]


def _place(sight: Sight) -> tuple[int, float]:
    return sight.frame, float(person_box(sight.points, sight.scores)[[0, 2]].mean())


def _arrays(chain: list[Stretch], frames: int) -> tuple[np.ndarray, np.ndarray]:
    points, scores = np.zeros((frames, KEYPOINTS, 2)), np.zeros((frames, KEYPOINTS))
    for sight in (sight for stretch in chain for sight in stretch.sights):
        points[sight.frame], scores[sight.frame] = sight.points, sight.scores
    return points, scores


def link_people(points: list[np.ndarray], scores: list[np.ndarray]) -> list[Track]:
    """Return the people of F frames in which each lists its people in any order, told apart by motion alone.

    points: F arrays [N_f, 134, 2]; scores: F arrays [N_f, 134]. People of whom nothing is seen are left out.
    """
    tracker = Tracker()
    for frame, (places, confidence) in enumerate(zip(points, scores, strict=True)):
        seen = joints_seen(confidence).any(-1)
        if seen.any():
            tracker.update(frame, Sights.of(places[seen], confidence[seen]))
    return tracker.tracks(len(points))


def _motion(stretch: Stretch, gaps: np.ndarray, sights: Sights) -> np.ndarray:
    """Return [N] in 0..1: 0 where the person was expected, 1/2 at the expected error, towards 1 far away."""
    shared = sights.joints & joints_seen(stretch.last.scores)
    offsets = sights.points - stretch.expected(gaps)  # N 134 2
    count = shared.sum(1)
    distance = np.where(shared, np.linalg.norm(offsets, axis=-1), 0).sum(1) / np.maximum(count, 1)
    centres = np.linalg.norm(_centre(sights.points, sights.joints) - _centre_of(stretch, gaps), axis=-1)
    distance = np.where(count > 0, distance, centres)
    size = np.maximum(np.maximum(sights.sizes, stretch.size), 1e-9)
    reach = size * (REACH + REACH_PER_FRAME * np.minimum(gaps, REACH_FRAMES))
    return distance / (distance + reach)


def _centre(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    return (points * joints[..., None]).sum(-2) / np.maximum(joints.sum(-1), 1)[..., None]


def _centre_of(stretch: Stretch, gaps: np.ndarray) -> np.ndarray:
    return _centre(stretch.expected(gaps), joints_seen(stretch.last.scores))


def _looks(stretch: Stretch, sights: Sights) -> np.ndarray:
    if sights.looks is None or stretch.look is None:
        return np.full(len(sights.points), UNKNOWN_LOOK)
    difference = appearance.difference(stretch.look, sights.looks)
    return np.where(np.isnan(difference), UNKNOWN_LOOK, np.minimum(difference / UNLIKE, MAX_LOOK))


def _sizes(stretch: Stretch, sights: Sights) -> np.ndarray:
    ratio = np.maximum(sights.sizes, 1e-9) / max(stretch.size, 1e-9)
    return SIZE_WEIGHT * np.minimum(np.abs(np.log2(ratio)), 1)


def _assign(costs: np.ndarray, price: float) -> list[tuple[int, int]]:
    """Return the cheapest pairs (row, column) of costs [N, M]; a row may also stay alone at that price."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = costs.shape
    alone = np.full((rows, rows), np.inf)
    np.fill_diagonal(alone, price)
    pairs = zip(*linear_sum_assignment(np.concatenate([costs, alone], 1)), strict=True) if rows else ()
    return [(int(row), int(column)) for row, column in pairs if column < columns]


def _without_ghosts(stretches: list[Stretch], lasting: int) -> list[Stretch]:
    """Return the stretches less the very short ones of low score, in which a network saw what is not there."""
    levels = [stretch.level for stretch in stretches]
    enough = GHOST_SCORE * max(levels, default=0)
    return [s for s, level in zip(stretches, levels, strict=True) if len(s.sights) >= lasting or level >= enough]


def _people(stretches: list[Stretch], lasting: int) -> list[list[Stretch]]:
    """Return the stretches of each person, in order of time. The brief ones come last, so that none breaks a chain."""
    brief = [stretch for stretch in stretches if len(stretch.sights) < lasting]
    if len(brief) == len(stretches):
        return _chained(stretches)
    chains = _chained([stretch for stretch in stretches if len(stretch.sights) >= lasting])
    for stretch in brief:
        _insert(stretch, chains)
    return chains


def _chained(stretches: list[Stretch]) -> list[list[Stretch]]:
    """Return chains of stretches, in each of which every one is followed by at most one that starts later."""
    if not stretches:
        return []
    after = dict(_assign(np.stack([_chain_costs(stretch, stretches) for stretch in stretches]), NEW_PERSON))
    heads = set(range(len(stretches))) - set(after.values())
    return [[stretches[i] for i in _walk(head, after)] for head in sorted(heads)]


def _chain_costs(stretch: Stretch, others: list[Stretch], mixed: bool = False) -> np.ndarray:
    """Return [N]: the cost of going on with each of the others; `mixed`: near by, their looks mean little."""
    gaps = np.array([other.first.frame - stretch.last.frame for other in others])
    looks = None if stretch.look is None else np.stack([other.look for other in others])
    points, scores = (np.stack([getattr(other.first, name) for other in others]) for name in ("points", "scores"))
    sights = Sights(points, scores, joints_seen(scores), np.array([other.size for other in others]), looks)
    motion, looks = _motion(stretch, np.maximum(gaps, 1), sights), _looks(stretch, sights)
    looks = np.where(mixed & (motion < 0.5), np.minimum(looks, UNKNOWN_LOOK), looks)
    costs = motion + looks + _sizes(stretch, sights)
    return np.where((gaps > 0) & (costs < NEW_PERSON), costs, np.inf)


def _insert(brief: Stretch, chains: list[list[Stretch]]) -> None:
    """Put a brief stretch into the gap of the person whom it suits best.

    Between two people a network may see a third for a moment, so what suits nobody goes. Without pictures it stays: to
    be a person of its own is then all that can be said of it.
    """
    costs = [_insert_cost(brief, chain) for chain in chains]
    if min(costs) < np.inf:
        chains[int(np.argmin(costs))].append(brief)
    elif brief.look is None:
        chains.append([brief])


def _insert_cost(brief: Stretch, chain: list[Stretch]) -> float:
    frames = {sight.frame for sight in brief.sights}
    sights = [sight for stretch in chain for sight in stretch.sights]
    before = sorted((s for s in sights if s.frame < brief.first.frame), key=lambda sight: sight.frame)
    if not before or any(sight.frame in frames for sight in sights):
        return np.inf
    return float(_chain_costs(Stretch(before[-COAST_FRAMES:]), [brief], mixed=True)[0])


def _walk(start: int, after: dict[int, int]) -> list[int]:
    steps = [start]
    while steps[-1] in after:
        steps.append(after[steps[-1]])
    return steps


def _peaks(values: np.ndarray, least: float, apart: int) -> list[int]:
    """Return where values [n] peak at `least` or above, in order; no two nearer than `apart`."""
    values, peaks = values.copy(), []
    while len(values) and values.max() >= least:
        peaks.append(int(values.argmax()))
        values[max(peaks[-1] - apart + 1, 0) : peaks[-1] + apart] = 0
    return sorted(peaks)
