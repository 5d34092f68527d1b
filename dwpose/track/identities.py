"""Who is who in poses that come from elsewhere: by their ids if they are valid and distinct, else linked by motion.

Bounds that no dance reaches keep a small file from taking all memory and hours.
"""

from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter

import numpy as np

from ..poses import KEYPOINTS, Track

MAX_PEOPLE = 256  # in one frame
MAX_PLACES = 300_000  # people times frames: a track has a place for every frame, 3.2 kB each
FULLNESS = 4  # more places are fine where at least one in that many is taken, as in an hour of eight people
LARGEST_ID = 2**53


def check_crowd(counts: list[int]) -> None:
    """Raise ValueError if a frame holds more than MAX_PEOPLE; counts: the people in each frame."""
    largest = max(counts)
    if largest > MAX_PEOPLE:
        raise ValueError(
            f"Frame {counts.index(largest)} holds {largest} people; poses may hold up to {MAX_PEOPLE} in a frame. Make "
            "the poses again with fewer people: a higher detection threshold, or a lower max_people in Extract Poses."
        )


def make_tracks(
    frames: int, where: np.ndarray, ids: list, points: np.ndarray, scores: np.ndarray, check: Callable[[], None]
) -> list[Track]:
    """Return N people, seen in frames `where` [N] in ascending order, as tracks over all `frames`.

    ids: unless they are different whole numbers in every frame, people are linked by motion. points: [N, 134, 2];
    scores: [N, 134]. check: called while linking; what it raises ends it. ValueError if there are more people than a
    dance has.
    """
    from .track import link_rows

    are_numbers = all(type(one) is int and abs(one) <= LARGEST_ID for one in ids)
    if are_numbers and len({*zip(where.tolist(), ids, strict=True)}) == len(ids):
        rows: dict[int, list[int]] = {one: [] for one in _order(where, ids)}
        for row, one in enumerate(ids):
            rows[one].append(row)
    else:
        owners = link_rows(frames, where, points, scores, check)
        rows = {one: [] for one in range(owners.max(initial=-1) + 1)}
        for row, one in enumerate(owners.tolist()):
            if one >= 0:
                rows[one].append(row)
    if len(rows) * frames > max(MAX_PLACES, FULLNESS * len(where)):
        raise ValueError(
            f"The poses hold {len(rows)} people over {frames} frames, each seen in {len(where) / len(rows):.0f} of "
            "them on average, which is too much to keep. Make the poses again with fewer people (a lower max_people in "
            "Extract Poses) or in shorter clips."
        )
    tracks = []
    for one, chosen in rows.items():
        all_points, all_scores = np.zeros((frames, KEYPOINTS, 2)), np.zeros((frames, KEYPOINTS))
        all_points[where[chosen]], all_scores[where[chosen]] = points[chosen], scores[chosen]
        tracks.append(Track(one, all_points, all_scores))
    return tracks


def _order(where: np.ndarray, ids: list[int]) -> list[int]:
    """Return the identities in an order that every frame keeps, so that writing them again gives the same lists."""
    before = {one: set() for one in ids}
    for i in np.flatnonzero(np.diff(where) == 0):
        before[ids[i + 1]].add(ids[i])
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        return list(before)
