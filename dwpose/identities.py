"""Who is who in poses that come from elsewhere: by their ids if these are whole and unlike, else linked by motion.

Bounds that no dance meets keep a small file from taking all memory and hours: people in a frame (`check_crowd`), people
over the clip (`make_tracks`), and people who appear from nowhere while linking (`track.link_rows`).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter

import numpy as np

from .poses import KEYPOINTS, Track

MAX_PEOPLE = 256  # in one frame
MAX_PLACES = 300_000  # people times frames: a track has a place for every frame, 3.2 kB each
FULLNESS = 4  # more places are fine where at least one in that many is taken, as in an hour of eight people
LARGEST_ID = 2**53
REMEMBERED = 4  # clips


class Linker:
    """Tells people without ids apart, and remembers whom it found in the clips that it linked last.

    A run reads the same poses in every node that takes them; they are linked once. Only one small number for each
    person and frame is kept, by a hash of the poses.
    check: called now and then while linking; what it raises ends the linking.
    """

    def __init__(self, check: Callable[[], None] = lambda: None):
        self.check = check
        self.known: OrderedDict[bytes, np.ndarray] = OrderedDict()

    def link(self, frames: int, where: np.ndarray, points: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return for each of N people, seen in frames `where` [N], the number of the person, -1 for nobody."""
        from .track import link_rows

        key = hashlib.blake2b(str(frames).encode(), digest_size=20)
        for array in (where, points, scores):
            key.update(np.ascontiguousarray(array))
        owners = self.known.pop(key.digest(), None)
        if owners is None:
            owners = link_rows(frames, where, points, scores, self.check).astype(np.int32)
        self.known[key.digest()] = owners
        while len(self.known) > REMEMBERED:
            self.known.popitem(last=False)
        return owners


def check_crowd(counts: list[int]) -> None:
    """Raise ValueError if a frame, of which `counts` tell the people, holds more than MAX_PEOPLE."""
    largest = max(counts)
    if largest > MAX_PEOPLE:
        raise ValueError(
            f"Frame {counts.index(largest)} holds {largest} people; poses may hold up to {MAX_PEOPLE} in a frame. Make "
            "the poses again with fewer people: a higher detection threshold, or a lower max_people in Extract Poses."
        )


def make_tracks(
    frames: int, where: np.ndarray, ids: list, points: np.ndarray, scores: np.ndarray, linker: Linker
) -> list[Track]:
    """Return N people, seen in frames `where` [N] in ascending order, as tracks over all `frames`.

    ids: what each is called; anything but different whole numbers in every frame counts for nothing, and `linker`
    decides. points: [N, 134, 2]; scores: [N, 134]. ValueError if there are more people than a dance has.
    """
    if _are_ids(where, ids):
        rows: dict[int, list[int]] = {one: [] for one in _order(where, ids)}
        for row, one in enumerate(ids):
            rows[one].append(row)
    else:
        owners = linker.link(frames, where, points, scores)
        rows = {one: [] for one in range(owners.max(initial=-1) + 1)}
        for row, one in enumerate(owners.tolist()):
            if one >= 0:
                rows[one].append(row)
    _check_places(frames, len(rows), len(where))
    return [_track(frames, one, where[chosen], points[chosen], scores[chosen]) for one, chosen in rows.items()]


def _are_ids(where: np.ndarray, ids: list) -> bool:
    """Return whether `ids` tell apart the people of every frame."""
    if not all(type(one) is int and abs(one) <= LARGEST_ID for one in ids):
        return False
    return len({*zip(where.tolist(), ids, strict=True)}) == len(ids)


def _check_places(frames: int, people: int, seen: int) -> None:
    """Raise ValueError if the tracks of `people`, of `seen` poses in all, would be large and nearly empty."""
    if people * frames > max(MAX_PLACES, FULLNESS * seen):
        raise ValueError(
            f"The poses hold {people} people over {frames} frames, each seen in {seen / people:.0f} of them on "
            "average: that many cannot be kept for so long. Make the poses again with fewer people, as with a lower "
            "max_people in Extract Poses, or in parts of fewer frames."
        )


def _track(frames: int, identity: int, where: np.ndarray, points: np.ndarray, scores: np.ndarray) -> Track:
    all_points, all_scores = np.zeros((frames, KEYPOINTS, 2)), np.zeros((frames, KEYPOINTS))
    all_points[where], all_scores[where] = points, scores
    return Track(identity, all_points, all_scores)


def _order(where: np.ndarray, ids: list[int]) -> list[int]:
    """Return the identities in an order that every frame keeps, so that writing them again gives the same lists."""
    before = {one: set() for one in ids}
    for i in np.flatnonzero(np.diff(where) == 0):
        before[ids[i + 1]].add(ids[i])
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        return list(before)
