"""The second pass of linking, which knows the whole clip: stretches become people, whoever leaves and comes back.

Dimensions: M stretches, C people.
"""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from .stretches import COAST_FRAMES, UNKNOWN_LOOK, Sight, Sights, Stretch, assign, joints_seen, link_costs

NEW_PERSON = 1.75  # a link of stretches must cost less than to call somebody new
GHOST_SCORE = 0.6  # a short stretch with less of the best stretch's score: nobody was there
BLOCK = 64  # stretches whose links are computed at once
NEAR_ENOUGH = 0.5  # motion cost below which a brief stretch's look, of two people at once, means little


def without_ghosts(stretches: list[Stretch], lasting: int) -> list[Stretch]:
    """Return the stretches less the very short ones of low score, in which a network saw what is not there."""
    levels = [stretch.level for stretch in stretches]
    enough = GHOST_SCORE * max(levels, default=0)
    return [s for s, level in zip(stretches, levels, strict=True) if len(s.sights) >= lasting or level >= enough]


def people(stretches: list[Stretch], lasting: int, check: Callable[[], None]) -> list[list[Stretch]]:
    """Return the stretches of each person, in order of time. The brief ones come last, so that none breaks a chain.

    lasting: sights from which a stretch is not brief. check: called now and then; what it raises ends the search.
    """
    brief = [stretch for stretch in stretches if len(stretch.sights) < lasting]
    if len(brief) == len(stretches):
        return _chained(stretches, check)
    chains = [_Chain(chain) for chain in _chained([s for s in stretches if len(s.sights) >= lasting], check)]
    for stretch in brief:
        check()
        _insert(stretch, chains)
    return [chain.stretches for chain in chains]


def _chained(stretches: list[Stretch], check: Callable[[], None]) -> list[list[Stretch]]:
    """Return chains of stretches, in each of which every one is followed by at most one that starts later."""
    if not stretches:
        return []
    costs = np.full((len(stretches), len(stretches)), np.inf)
    firsts, sights = np.array([stretch.first.frame for stretch in stretches]), _firsts(stretches)
    for start in range(0, len(stretches), BLOCK):
        check()
        block = stretches[start : start + BLOCK]
        later = np.flatnonzero(firsts > min(stretch.last.frame for stretch in block))
        if len(later):
            costs[start : start + BLOCK, later] = _chain_costs(block, sights.at(later), firsts[later]).T
    after = dict(assign(costs, NEW_PERSON))
    heads = set(range(len(stretches))) - set(after.values())
    return [[stretches[i] for i in _walk(head, after)] for head in sorted(heads)]


def _firsts(stretches: list[Stretch]) -> Sights:
    """Return how each of M stretches begins, with the size and the look of the whole."""
    looks = None if stretches[0].look is None else np.stack([stretch.look for stretch in stretches])
    points = np.stack([stretch.first.points for stretch in stretches])
    scores = np.stack([stretch.first.scores for stretch in stretches])
    return Sights(points, scores, joints_seen(scores), np.array([stretch.size for stretch in stretches]), looks)


def _chain_costs(stretches: list[Stretch], sights: Sights, firsts: np.ndarray, mixed: bool = False) -> np.ndarray:
    """Return [N, M]: the cost of going on with N others, which begin as `sights` in frames `firsts` [N], after M.

    mixed: near by, their looks mean little.
    """
    gaps = firsts[:, None] - np.array([stretch.last.frame for stretch in stretches])
    motion, looks, sizes = link_costs(stretches, np.maximum(gaps, 1), sights)
    if mixed:
        looks = np.where(motion < NEAR_ENOUGH, np.minimum(looks, UNKNOWN_LOOK), looks)
    costs = motion + looks + sizes
    return np.where((gaps > 0) & (costs < NEW_PERSON), costs, np.inf)


class _Chain:
    """The stretches of one person, and the sights in them by frame."""

    def __init__(self, stretches: list[Stretch]):
        self.stretches: list[Stretch] = []
        self.sights: list[Sight] = []
        self.frames: list[int] = []
        self.ends: dict[int, Stretch] = {}
        for stretch in stretches:
            self.append(stretch)

    def append(self, stretch: Stretch) -> None:
        self.stretches.append(stretch)
        self.sights = sorted([*self.sights, *stretch.sights], key=lambda sight: sight.frame)
        self.frames = [sight.frame for sight in self.sights]
        self.ends.clear()

    def end_before(self, brief: Stretch) -> Stretch | None:
        """Return the last few sights before a stretch; None if there are none, or some in the frames of the stretch."""
        place = bisect_left(self.frames, brief.first.frame)
        if not place or self.frames[-1] >= brief.first.frame and self._meets(brief):
            return None
        if place not in self.ends:
            self.ends[place] = Stretch(self.sights[max(place - COAST_FRAMES, 0) : place])
        return self.ends[place]

    def _meets(self, brief: Stretch) -> bool:
        places = ((sight.frame, bisect_left(self.frames, sight.frame)) for sight in brief.sights)
        return any(place < len(self.frames) and self.frames[place] == frame for frame, place in places)


def _insert(brief: Stretch, chains: list[_Chain]) -> None:
    """Put a brief stretch into the gap of the person whom it suits best.

    Between two people a network may see a third for a moment, so what suits nobody goes. Without pictures it stays: to
    be a person of its own is then all that can be said of it.
    """
    ends = [(chain, end) for chain in chains if (end := chain.end_before(brief)) is not None]
    costs = np.array([np.inf])
    if ends:
        firsts = np.array([brief.first.frame])
        costs = _chain_costs([end for _, end in ends], _firsts([brief]), firsts, mixed=True)[0]
    if costs.min() < np.inf:
        ends[int(np.argmin(costs))][0].append(brief)
    elif brief.look is None:
        chains.append(_Chain([brief]))


def _walk(start: int, after: dict[int, int]) -> list[int]:
    steps = [start]
    while steps[-1] in after:
        steps.append(after[steps[-1]])
    return steps
