"""The lists of keypoints inside a POSE_KEYPOINT person, from every layout that is in use to the 134 of `poses`.

A list is flat or nested x, y, c, and may be null, empty or absent. Lists of one length are converted together: faster.
"""

import struct
from collections.abc import Iterator

import numpy as np

from ..poses import FACE, FEET, KEYPOINTS, LEFT_HAND, LEFT_SHOULDER, NECK, RIGHT_HAND, RIGHT_SHOULDER
from .dialects import BODY_FIELD, FACE_FIELD, FARTHEST, FEET_FIELD, LEFT_FIELD, RIGHT_FIELD

SEEN_CONFIDENCE = 0.3  # what controlnet_aux and SDPose draw; lifted to VISIBLE_SCORE, the one threshold inside

FACE_POINTS = FACE.stop - FACE.start
# By the number of keypoints in a list: where in it ours are. The body's are its 18 joints, and the feet where it has
# them, which BODY_25 has in the same order.
FACE_68, HAND_21 = slice(FACE_POINTS), slice(21)
LAYOUTS = {
    BODY_FIELD: {
        18: slice(18),
        24: slice(24),
        25: [*range(8), *range(9, 25)],
        17: [0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3],  # it has no neck: see _in_order
    },
    FEET_FIELD: {6: slice(6)},
    FACE_FIELD: {68: FACE_68, 70: FACE_68, 71: FACE_68},
    LEFT_FIELD: {21: HAND_21},
    RIGHT_FIELD: {21: HAND_21},
}


def has_lists(person: dict) -> bool:
    """Return whether a person holds any list of keypoints that is not empty."""
    values = (person.get(field) for field in LAYOUTS)
    return not all(value is None or (isinstance(value, (list, tuple)) and not value) for value in values)


def read_triples(people: list[dict]) -> np.ndarray:
    """Return x, y, c as N people's lists hold them [N, 134, 3]: 0 without a list, NaN for a null; else ValueError."""
    triples = np.zeros((len(people), KEYPOINTS, 3))
    feet = np.zeros((len(people), FEET.stop - FEET.start, 3))
    _read_field(people, BODY_FIELD, triples)
    _read_field(people, FEET_FIELD, feet)
    has_feet = feet.any(axis=(1, 2))
    if has_feet.any():
        triples[has_feet, FEET] = feet[has_feet]
    for field, part in ((FACE_FIELD, FACE), (LEFT_FIELD, LEFT_HAND), (RIGHT_FIELD, RIGHT_HAND)):
        _read_field(people, field, triples[:, part])
    return triples


def read_numbers(people: list[dict], key: str, length: int) -> np.ndarray:
    """Return the numbers [N, length] that each person holds under `key`; NaN for anything else, or beyond FARTHEST."""
    result = np.full((len(people), length), np.nan)
    for rows, values in _by_length([person.get(key) for person in people]):
        if isinstance(values[0], (list, tuple)) and len(values[0]) != length:
            continue
        together = _convert_lists(values)
        if together is not None and together.shape == (len(values), length):
            result[rows] = together
            result[~(np.abs(result) <= FARTHEST).all(axis=1)] = np.nan
            continue
        for row, value in zip(rows, values, strict=True):
            array = _convert(value)
            if array is not None and array.shape == (length,) and (np.abs(array) <= FARTHEST).all():
                result[row] = array
    return result


def _read_field(people: list[dict], field: str, triples: np.ndarray) -> None:
    """Write x, y, c of one list of N people to the first of `triples` [N, K, 3], in our order; what is absent stays."""
    for rows, values in _by_length([person.get(field) for person in people]):
        array = _convert_lists(values)
        is_flat = array is not None and array.ndim == 2 and array.shape[1] % 3 == 0
        if is_flat or (array is not None and array.ndim == 3 and array.shape[2] == 3):
            lists = _in_order(array.reshape(len(values), -1, 3), field)
            triples[rows, : lists.shape[1]] = lists
            continue
        for row, value in zip(rows, values, strict=True):
            (lists,) = _in_order(_one_list(value, field)[None], field)
            triples[row, : len(lists)] = lists


def _by_length(values: list) -> Iterator[tuple[list[int], list]]:
    """Yield the rows and values of lists of one length, then of each value that is no list, alone; None is left out."""
    groups: dict[int, list[int]] = {}
    for row, value in enumerate(values):
        if isinstance(value, (list, tuple)):
            groups.setdefault(len(value), []).append(row)
        elif value is not None:
            yield [row], [value]
    for rows in groups.values():
        yield rows, [values[row] for row in rows]


def _convert_lists(lists: list) -> np.ndarray | None:
    """Return lists of one length, or one value that is no list, as an array of floats; None as `_convert`."""
    try:  # NumPy takes twice as long for flat lists
        pack = struct.Struct(f"{len(lists[0])}d").pack
        return np.frombuffer(b"".join([pack(*numbers) for numbers in lists])).reshape(len(lists), -1)
    except (TypeError, struct.error):
        return _convert(lists)


def _convert(value) -> np.ndarray | None:
    """Return `value` as an array of floats, None if it holds anything else or is ragged."""
    try:
        return np.array(value, float)
    except (TypeError, ValueError, OverflowError):
        return None


def _one_list(value, field: str) -> np.ndarray:
    """Return one list as [K, 3]; a null among its rows is a missing keypoint. ValueError if it is no such list."""
    if isinstance(value, (list, tuple)) and any(isinstance(row, (list, tuple)) for row in value):
        value = [row or (0, 0, 0) for row in value]
    array = _convert(value)
    if array is None:
        raise ValueError(f"{field} holds something other than x, y, c of keypoints. Save the poses again.")
    if array.ndim not in (1, 2) or array.size % 3 or (array.ndim == 2 and array.shape[1] != 3):
        raise ValueError(f"{field} has shape {array.shape}; x, y, c of each keypoint are needed. Save the poses again.")
    return array.reshape(-1, 3)


def _in_order(lists: np.ndarray, field: str) -> np.ndarray:
    """Return lists [N, K, 3] of one length in our order, of a body those of its joints that it holds."""
    layouts, count = LAYOUTS[field], lists.shape[1]
    if count == 0:
        return lists
    if count not in layouts and field == FACE_FIELD:
        return np.full((len(lists), FACE_POINTS, 3), np.nan)
    if count not in layouts:
        counts = " or ".join(map(str, layouts))
        raise ValueError(f"{field} holds {count} keypoints; {counts} are needed. Use poses of a detector of people.")
    part = lists[:, layouts[count]]
    if field == BODY_FIELD and count == 17:
        shoulders = part[:, [LEFT_SHOULDER, RIGHT_SHOULDER]]  # the neck is their middle, as in DW-Pose
        confidence = shoulders[..., 2].min(axis=1)
        sure = np.where(confidence >= SEEN_CONFIDENCE, confidence, 0)
        part[:, NECK] = np.column_stack([shoulders[..., :2].mean(axis=1), sure])
    return part
