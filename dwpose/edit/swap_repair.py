"""Frames in which a detector took a person's left limbs for the right ones, found and put right.

The vector from a right joint to its left twin moves smoothly, also through a real turn; a mistaken frame reverses it.
For each group of limbs the signs are chosen that make its path smoothest over the clip (Viterbi 1967, over the signs of
two neighboring frames). Only visible pairs vote. Lengths are metric: y in frame heights, x times width / height.
"""

from dataclasses import replace
from itertools import product

import numpy as np

from ..poses import KEYPOINTS, Track
from ..skeleton import metric
from .proportions import typical_size

# Group: the pairs (right, left) that vote, and those that are exchanged with them.
VOTING_PAIRS = {
    "arms": [(2, 5), (3, 6), (4, 7)],
    "legs": [(8, 11), (9, 12), (10, 13)],
    "eyes and ears": [(14, 15), (16, 17)],
}
FOLLOWING_PAIRS = {
    "arms": [(113 + i, 92 + i) for i in range(21)],
    "legs": [(21 + i, 18 + i) for i in range(3)],
    "eyes and ears": [],
}

MARGIN = 0.3  # in body sizes: what a change of sides must save to be believed
PRIOR = 0.001  # in body sizes a frame: of two equally smooth readings, the one that exchanges fewer frames
LONGEST_SPAN = 8  # frames: joints seen farther apart are not compared
JUMP = 0.75  # in body sizes a frame: nobody moves so fast; it is a cut, across which nothing is compared


def find_swaps(track: Track, aspect: float) -> dict[str, np.ndarray]:
    """Return, for each group, bool [F]: the frames in which its left and right are exchanged."""
    points, swaps = metric(track.points, aspect) / typical_size(track, aspect), {}
    for group, pairs in VOTING_PAIRS.items():
        right, left = np.array(pairs).T
        both = track.visible[:, right] & track.visible[:, left]
        frames = np.flatnonzero(both.any(axis=1))
        swaps[group] = np.zeros(len(points), bool)
        if len(frames) > 2:
            here = both[frames]
            ends = [np.where(here[..., None], points[np.ix_(frames, side)], 0) for side in (right, left)]
            swaps[group][frames] = _smoothest(_roughness(*ends, here, frames))
    return swaps


def exchange(track: Track, swaps: dict[str, np.ndarray]) -> Track:
    """Return the track with left and right of each group exchanged in the frames given as bool [F]; scores go along."""
    order = np.tile(np.arange(KEYPOINTS), (len(track.points), 1))
    for group, frames in swaps.items():
        right, left = np.array(VOTING_PAIRS[group] + FOLLOWING_PAIRS[group]).T
        order[np.ix_(frames, right)], order[np.ix_(frames, left)] = left, right
    points = np.take_along_axis(track.points, order[..., None], axis=1)
    return replace(track, points=points, scores=np.take_along_axis(track.scores, order, axis=1))


def _roughness(right: np.ndarray, left: np.ndarray, here: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return [N-2, 2, 2]: twice how far the middle of three frames lies off the line between the outer two.

    right, left: [N, P, 2], the joints of each pair; here: bool [N, P]. The last axes say whether the first and the
    second of the three have the sign of the third (0) or not (1).
    """
    apart, shared = left - right, here[1:] & here[:-1]
    speeds = np.linalg.norm(np.diff((right + left) / 2, axis=0), axis=-1) / np.diff(frames)[:, None]
    jumps = np.ma.median(np.ma.array(speeds, mask=~shared), axis=1).filled(0) > JUMP
    known = (here[:-2] & here[1:-1] & here[2:])[..., None]
    compared = (frames[2:] - frames[:-2] <= LONGEST_SPAN) & ~jumps[1:] & ~jumps[:-1]
    late = ((frames[1:-1] - frames[:-2]) / (frames[2:] - frames[:-2]))[:, None, None]
    costs = np.empty((len(compared), 2, 2))
    for first, second in product((0, 1), repeat=2):
        line = (1 - late) * apart[:-2] * (1 - 2 * first) + late * apart[2:]
        off = np.where(known, apart[1:-1] * (1 - 2 * second) - line, 0)
        costs[:, first, second] = 2 * np.linalg.norm(off, axis=-1).sum(axis=1) * compared
    return costs


def _smoothest(costs: np.ndarray) -> np.ndarray:
    """Return bool [N], true where exchanged: the reading of least cost, from the costs [N-2, 2, 2] of frame triples."""
    first, second, third = np.indices((2, 2, 2))  # 0: as detected, 1: exchanged
    steps = costs[:, first ^ third, second ^ third] + MARGIN * (second != third) + PRIOR * third
    total = np.array([[0, MARGIN + PRIOR], [MARGIN + PRIOR, 2 * PRIOR]])
    best = []
    for step in steps:
        arriving = total[:, :, None] + step
        best.append(arriving.argmin(axis=0))
        total = arriving.min(axis=0)
    path = [int(i) for i in np.unravel_index(total.argmin(), total.shape)[::-1]]
    for row in best[::-1]:
        path.append(int(row[path[-1], path[-2]]))
    return np.array(path[::-1], bool)
