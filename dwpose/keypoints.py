"""POSE_KEYPOINT, the value by which pose nodes of all packs understand each other, from a PoseClip and back.

A list with one dict per frame: {"people": [...], "canvas_width": int, "canvas_height": int}. A person holds one flat
list [x, y, c, ...] for each part of the body. What `to_keypoints` writes is the strict form, which every known reader
takes: nothing null, absolute pixels, c is 1 for a seen keypoint and x = y = c = 0 for any other, and the face ends with
the right and the left eye of the body. Three keys that others ignore keep what that form cannot hold: "id", the
person's identity; "scores", the 134 real scores; "body_raw_2d", the pixels of all 18 body joints, seen or not.

`from_keypoints` also reads what the others write (`dialects`):
- c is a real confidence in ComfyUI's SDPose nodes and in OpenPose: from SEEN_CONFIDENCE on a keypoint is seen.
- A keypoint at 0, 0 or -1, -1 is a missing one, whatever its c. All missing ones come to lie at 0, 0.
- Lists may be null, empty or absent, flat or nested, in pixels or in 0..1; a body of 18, of 24 or BODY_25 (with feet),
  or of COCO's 17. A face of 68, or longer by what others append; of another length, as controlnet_aux's OpenPose leaves
  it when it finds less, no keypoint of it can be told.
- SDPose calls the left hand right. Names are believed unless, over the whole clip, the hands lie by the other wrists.
- An editor may have moved or deleted keypoints: "scores" and "body_raw_2d" hold only where they still fit the lists.
"""

import logging
from graphlib import CycleError, TopologicalSorter

import numpy as np

from .dialects import BODY_FIELD, FACE_FIELD, FARTHEST, FEET_FIELD, LEFT_FIELD, RIGHT_FIELD, write
from .poses import (
    BODY,
    FACE,
    FEET,
    KEYPOINTS,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NECK,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    VISIBLE_SCORE,
    PoseClip,
    Track,
)

SEEN_CONFIDENCE = 0.3  # what controlnet_aux and SDPose draw; lifted to VISIBLE_SCORE, the one threshold inside
SAME_PIXEL = 1e-3  # a joint this near to body_raw_2d was not moved by anybody
LARGEST_NORMALISED = 2.0  # a person half outside the picture goes beyond 1
SMALLEST_CANVAS = 16  # on a smaller one, coordinates that small may well be pixels

# By the number of keypoints in a list: where in it ours are, -1 for nowhere. The body's are its 18 joints and the feet,
# which BODY_25 has in the same order.
NOWHERE = [-1] * 6
FACE_68, HAND_21 = [*range(68)], [*range(21)]
LAYOUTS = {
    BODY_FIELD: {
        18: [*range(18), *NOWHERE],
        24: [*range(24)],
        25: [*range(8), *range(9, 25)],
        17: [0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *NOWHERE],
    },
    FEET_FIELD: {6: [*range(6)]},
    FACE_FIELD: {68: FACE_68, 70: FACE_68, 71: FACE_68},
    LEFT_FIELD: {21: HAND_21},
    RIGHT_FIELD: {21: HAND_21},
}


def to_keypoints(clip: PoseClip) -> list[dict]:
    """Return `clip` in the strict form. A frame in which a person is not present does not list the person."""
    return write(clip)


def from_keypoints(data) -> PoseClip:
    """Return the clip that `data`, a POSE_KEYPOINT of any pack or one of its frames, describes.

    People without an "id" are linked from frame to frame by where they are. ValueError if it is anything else, holds
    animals, or tells no canvas size.
    """
    frames = _frames(data)
    canvases = _canvases(frames)
    where, people = _everybody(frames)
    points, scores = _read(people, canvases[where])
    seen = (scores >= VISIBLE_SCORE).any(axis=1)
    where, points, scores = where[seen], points[seen], scores[seen]
    ids = [person.get("id") for person, kept in zip(people, seen, strict=True) if kept]
    width, height = (int(side) for side in canvases[0])
    return PoseClip(width, height, len(frames), tuple(_tracks(len(frames), where, ids, points, scores)))


def _frames(data) -> list[dict]:
    frames = [data] if isinstance(data, dict) else data
    if not isinstance(frames, (list, tuple)) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(_wrong(_describe(data)))
    if not frames:
        raise ValueError("The poses hold no frame. Give poses of at least one frame.")
    if any("animals" in frame or str(frame.get("version")) == "ap10k" for frame in frames):
        raise ValueError("These are poses of animals (ap10k). SteadyDancer dances with people: use a people detector.")
    for i, frame in enumerate(frames):
        people = frame.get("people", frame)
        if people is not None and not (isinstance(people, list) and all(isinstance(one, dict) for one in people)):
            found = f"with people that are {_describe(people)}" if people is not frame else f"with {_keys(frame)}"
            raise ValueError(_wrong(f"frame {i} {found}"))
    return list(frames)


def _keys(frame: dict) -> str:
    return "the keys " + ", ".join(map(str, [*frame][:8])) if frame else "no keys"


def _wrong(found: str) -> str:
    return (
        f"These are no poses: found {found}. Needed is POSE_KEYPOINT, a list with one dict per frame, each with "
        "people, canvas_width and canvas_height, as Extract Poses, DWPose Estimator or OpenPose give it."
    )


def _describe(data) -> str:
    if shape := getattr(data, "shape", None):
        return f"a tensor of shape {tuple(shape)}"
    if isinstance(data, (list, tuple)):
        kinds = sorted({type(item).__name__ for item in data})
        return f"a list of {' and '.join(kinds)}"
    return f"a value of type {type(data).__name__}"


def _canvases(frames: list[dict]) -> np.ndarray:
    """Return the width and height of each frame [F, 2]; one that tells none has the size of the first that does."""
    sizes = [_canvas(frame) for frame in frames]
    known = next((size for size in sizes if size), None)
    if known is None:
        raise ValueError(
            "The poses do not tell the size of their picture: canvas_width and canvas_height are missing or not above "
            "0. Give the width and height of the video that they were made from."
        )
    return np.array([size or known for size in sizes], float)


def _canvas(frame: dict) -> tuple[int, int] | None:
    try:
        size = int(frame["canvas_width"]), int(frame["canvas_height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 and max(size) <= FARTHEST else None


def _everybody(frames: list[dict]) -> tuple[np.ndarray, list[dict]]:
    """Return the frame of each of the N people in the clip, and the people."""
    pairs = [(i, person) for i, frame in enumerate(frames) for person in frame["people"] or ()]
    return np.array([i for i, _ in pairs], int), [person for _, person in pairs]


def _read(people: list[dict], canvases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 134, 2] in parts of the canvas and scores [N, 134] of N people on canvases [N, 2]."""
    triples = np.array([_triples(person) for person in people]).reshape(-1, KEYPOINTS, 3)
    broken = ~(np.abs(triples) <= FARTHEST).all(axis=2)
    if broken.any():
        logging.warning("%d keypoints are no numbers, or of an incomplete face: they are not seen.", broken.sum())
        triples[broken] = 0
    pixels, confidence = triples[..., :2], triples[..., 2]
    scores, raw = _extras(people, "scores", KEYPOINTS), _extras(people, "body_raw_2d", 36).reshape(-1, 18, 2)
    still = np.abs(pixels[:, BODY] - raw).max(axis=2) <= SAME_PIXEL
    ours = (still & (confidence[:, BODY] >= SEEN_CONFIDENCE)).any(axis=1) & np.isfinite(scores).all(axis=1)
    points = np.empty_like(pixels)
    points[~ours], scores[~ours] = _read_foreign(pixels[~ours], confidence[~ours], canvases[~ours])
    own, scores[ours] = _read_own(pixels[ours], confidence[ours], scores[ours], raw[ours], still[ours])
    points[ours] = own / canvases[ours, None]
    return points, scores


def _extras(people: list[dict], key: str, length: int) -> np.ndarray:
    """Return the numbers [N, length] that each person holds under `key`; NaN where it does not hold so many."""
    values = (person.get(key) for person in people)
    return np.array([_numbers(value, length) for value in values]).reshape(-1, length)


def _numbers(value, length: int) -> np.ndarray:
    try:
        array = np.array(value, float)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    return array if array.shape == (length,) and np.isfinite(array).all() else np.full(length, np.nan)


def _read_own(pixels, confidence, scores, raw, still) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and scores of people whom we wrote: as they were, except for keypoints that an editor changed."""
    listed, seen = confidence >= SEEN_CONFIDENCE, scores >= VISIBLE_SCORE
    kept = listed == seen
    kept[:, BODY] &= still | ~listed[:, BODY]
    hidden = (kept & ~listed)[:, BODY, None]
    pixels[:, BODY] = np.where(hidden, raw, pixels[:, BODY])
    return pixels, np.where(kept, scores, np.where(listed, np.maximum(confidence, VISIBLE_SCORE), 0))


def _read_foreign(pixels, confidence, canvases) -> tuple[np.ndarray, np.ndarray]:
    """Return points in parts of the canvas and scores of people whom somebody else wrote."""
    lost = ((pixels == 0) | (pixels == -1)).all(axis=2) | (confidence <= 0)
    lifted = np.where(confidence >= SEEN_CONFIDENCE, np.maximum(confidence, VISIBLE_SCORE), confidence)
    scores = np.where(lost, 0, lifted)
    normalised = _normalised(pixels, scores >= VISIBLE_SCORE, canvases)
    points = pixels / np.where(normalised[..., None], 1, canvases[:, None])
    pixels = points * canvases[:, None]
    # controlnet_aux's OpenPose divides its -1 by the canvas
    scores = np.where(np.abs(pixels + 1).max(axis=2) < SAME_PIXEL, 0, scores)
    points = np.where(scores[..., None] > 0, points, 0)
    if _hands_are_crossed(pixels, scores >= VISIBLE_SCORE):
        crossed = np.r_[: LEFT_HAND.start, RIGHT_HAND, LEFT_HAND]
        return points[:, crossed], scores[:, crossed]
    return points, scores


def _normalised(pixels: np.ndarray, seen: np.ndarray, canvases: np.ndarray) -> np.ndarray:
    """Return [N, 134]: what is written as 0..1, list by list. A keypoint alone may lie in the corner: ask the body."""
    extent = np.where(seen, np.abs(pixels).max(axis=2), 0)
    body = extent[:, BODY].max(axis=1) <= LARGEST_NORMALISED
    result = np.zeros(seen.shape, bool)
    for part in (BODY, FEET, FACE, LEFT_HAND, RIGHT_HAND):
        small = extent[:, part].max(axis=1) <= LARGEST_NORMALISED
        result[:, part] = (small & (body | (seen[:, part].sum(axis=1) > 1)))[:, None]
    return result & (canvases.max(axis=1) >= SMALLEST_CANVAS)[:, None]


def _hands_are_crossed(pixels: np.ndarray, seen: np.ndarray) -> bool:
    """Return whether, over all N people, the hands' roots lie by the wrists of the other side."""
    roots, wrists = [LEFT_HAND.start, RIGHT_HAND.start], [LEFT_WRIST, RIGHT_WRIST]
    known = seen[:, roots] & seen[:, wrists].all(axis=1, keepdims=True)
    named = np.linalg.norm(pixels[:, roots] - pixels[:, wrists], axis=2)[known].sum()
    swapped = np.linalg.norm(pixels[:, roots] - pixels[:, wrists[::-1]], axis=2)[known].sum()
    return bool(swapped < named / 2)


def _triples(person: dict) -> np.ndarray:
    """Return x, y, c of a person's keypoints as they are written [134, 3], zeros for a missing list."""
    body, feet, *others = (_part(person.get(field), field) for field in LAYOUTS)
    return np.concatenate([body[BODY], feet if feet.any() else body[FEET], *others])


def _part(value, field: str) -> np.ndarray:
    """Return x, y, c [K, 3] of one list of keypoints, in our order."""
    array = _rows(value, field)
    layouts = LAYOUTS[field]
    if len(array) == 0:
        return np.zeros((len(next(iter(layouts.values()))), 3))
    if len(array) not in layouts and field == FACE_FIELD:
        return np.full((68, 3), np.nan)
    if len(array) not in layouts:
        counts = " or ".join(map(str, layouts))
        raise ValueError(f"{field} holds {len(array)} keypoints, needed are {counts}. Give poses of a people detector.")
    part = np.vstack([array, np.zeros(3)])[layouts[len(array)]]
    if field == BODY_FIELD and len(array) == 17:
        part[NECK] = _neck(part[[LEFT_SHOULDER, RIGHT_SHOULDER]])
    return part


def _rows(value, field: str) -> np.ndarray:
    """Return a flat or nested list of keypoints as [K, 3]; a null among them is NaN or a missing keypoint."""
    if isinstance(value, (list, tuple)) and any(isinstance(row, (list, tuple)) for row in value):
        value = [row or (0, 0, 0) for row in value]
    try:
        array = np.array([] if value is None else value, float)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{field} holds something else than x, y, c of keypoints. Save the poses again.") from error
    if array.ndim not in (1, 2) or array.size % 3 or (array.ndim == 2 and array.shape[1] != 3):
        raise ValueError(f"{field} has shape {array.shape}, needed is x, y, c for each keypoint. Save the poses again.")
    return array.reshape(-1, 3)


def _neck(shoulders: np.ndarray) -> np.ndarray:
    """Return x, y, c between shoulders [2, 3], as DW-Pose does."""
    confidence = shoulders[:, 2].min()
    return np.array([*shoulders[:, :2].mean(axis=0), confidence if confidence >= SEEN_CONFIDENCE else 0])


def _tracks(frames: int, where: np.ndarray, ids: list, points: np.ndarray, scores: np.ndarray) -> list[Track]:
    """Return the N people, seen in frames `where` [N], as tracks: by their ids if these are whole and unlike."""
    from .track import link_people

    if not all(type(one) is int for one in ids) or len({*zip(where.tolist(), ids, strict=True)}) < len(ids):
        starts = np.searchsorted(where, np.arange(1, frames))
        return link_people(np.split(points, starts), np.split(scores, starts))
    numbers = np.array(ids, object)
    return [
        _track(frames, one, where[numbers == one], points[numbers == one], scores[numbers == one])
        for one in _order(where, ids)
    ]


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
