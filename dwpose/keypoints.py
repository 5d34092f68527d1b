"""POSE_KEYPOINT, the value by which pose nodes of all packs understand each other, from a PoseClip and back.

A list with one dict per frame: {"people": [...], "canvas_width": int, "canvas_height": int}. A person holds one flat
list [x, y, c, ...] for each of the FIELDS. What `to_keypoints` writes is the strict form, which every known reader
takes: nothing null, absolute pixels, c is 1 for a seen keypoint and x = y = c = 0 for any other, and the face ends with
the right and the left eye of the body. Three keys that others ignore keep what that form cannot hold: "id", the
person's identity; "scores", the 134 real scores; "body_raw_2d", the pixels of all 18 body joints, seen or not.

`from_keypoints` also reads what the others write:
- c is a real confidence in ComfyUI's SDPose nodes and in OpenPose: from SEEN_CONFIDENCE on a keypoint is seen.
- A keypoint at exactly 0, 0 or -1, -1 is a missing one, whatever its c.
- Whole, null, empty or absent lists; flat or nested; pixels or 0..1; a face of 68 or 70; a body of 18, of BODY_25 (with
  feet) or of COCO's 17.
- SDPose calls the left hand right. Names are believed unless, over the whole clip, the hands lie by the other wrists.
- An editor may have moved or deleted keypoints: "scores" and "body_raw_2d" hold only where they still fit the lists.
"""

import logging
from graphlib import CycleError, TopologicalSorter

import numpy as np

from .poses import (
    BODY,
    FACE,
    FEET,
    KEYPOINTS,
    LEFT_EYE,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NECK,
    RIGHT_EYE,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    VISIBLE_SCORE,
    PoseClip,
    Track,
)

SEEN_CONFIDENCE = 0.3  # what controlnet_aux and SDPose draw; lifted to VISIBLE_SCORE, the one threshold inside
SAME_PIXEL = 1e-3  # a joint this near to body_raw_2d was not moved by anybody
SMALLEST_NORMALISED = 16  # on a smaller canvas coordinates up to 1 may well be pixels
DECIMALS = 9  # of a pixel: coarser than what dividing by the canvas and multiplying again does to a float
CHUNK = 256  # frames converted at once

FIELDS = {
    "pose_keypoints_2d": np.r_[BODY],
    "foot_keypoints_2d": np.r_[FEET],
    "face_keypoints_2d": np.r_[FACE, RIGHT_EYE, LEFT_EYE],
    "hand_left_keypoints_2d": np.r_[LEFT_HAND],
    "hand_right_keypoints_2d": np.r_[RIGHT_HAND],
}
# By the number of keypoints in a list: where in it ours are, -1 for nowhere. The body's are its 18 joints and the feet,
# which BODY_25 has in the same order.
NOWHERE = [-1] * 6
LAYOUTS = {
    "pose_keypoints_2d": {
        18: [*range(18), *NOWHERE],
        25: [*range(8), *range(9, 25)],
        17: [0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, *NOWHERE],
    },
    "foot_keypoints_2d": {6: [*range(6)]},
    "face_keypoints_2d": {68: [*range(68)], 70: [*range(68)]},
    "hand_left_keypoints_2d": {21: [*range(21)]},
    "hand_right_keypoints_2d": {21: [*range(21)]},
}


def to_keypoints(clip: PoseClip) -> list[dict]:
    """Return `clip` in the strict form, Python ints and floats throughout. Frames in which a person is not present do
    not list the person.
    """
    size = {"canvas_width": int(clip.width), "canvas_height": int(clip.height)}
    frames = [{"people": [], **size} for _ in range(clip.frames)]
    for track in clip.tracks:
        present = np.flatnonzero(track.present)
        for start in range(0, len(present), CHUNK):
            rows = present[start : start + CHUNK]
            for row, person in zip(rows, _people(clip, track, rows), strict=True):
                frames[row]["people"].append(person)
    return frames


def to_pixels(points: np.ndarray, clip: PoseClip) -> np.ndarray:
    """Return `points` [..., 2] of `clip` in pixels, rounded so that reading and writing them again changes nothing."""
    return np.round(points * (clip.width, clip.height), DECIMALS) + 0.0  # no -0.0


def _people(clip: PoseClip, track: Track, rows: np.ndarray) -> list[dict]:
    """Return one person for each of the N frames `rows`. Objects, not floats, so that all share one 0.0 and one 1.0."""
    seen, pixels = track.visible[rows], to_pixels(track.points[rows], clip)
    triples = np.empty((*seen.shape, 3), object)
    triples.fill(0.0)
    triples[seen, :2] = pixels[seen]
    triples[seen, 2] = 1.0
    columns = {field: triples[:, index].reshape(len(rows), -1).tolist() for field, index in FIELDS.items()}
    columns["scores"] = track.scores[rows].tolist()
    columns["body_raw_2d"] = pixels[:, BODY].reshape(len(rows), -1).tolist()
    people = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [{**person, "id": int(track.identity)} for person in people]


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
    if any("animals" in frame or frame.get("version") == "ap10k" for frame in frames):
        raise ValueError("These are poses of animals (ap10k). SteadyDancer dances with people: use a people detector.")
    for i, frame in enumerate(frames):
        people = frame.get("people", "")
        if people is not None and not (isinstance(people, list) and all(isinstance(one, dict) for one in people)):
            raise ValueError(_wrong(f"frame {i} with the keys {', '.join(map(str, frame)) or 'none'}"))
    return list(frames)


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
    return f"a {type(data).__name__}"


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
    return size if min(size) > 0 else None


def _everybody(frames: list[dict]) -> tuple[np.ndarray, list[dict]]:
    """Return the frame of each of the N people in the clip, and the people."""
    pairs = [(i, person) for i, frame in enumerate(frames) for person in frame["people"] or ()]
    return np.array([i for i, _ in pairs], int), [person for _, person in pairs]


def _read(people: list[dict], canvases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 134, 2] in parts of the canvas and scores [N, 134] of N people on canvases [N, 2]."""
    triples = np.array([_triples(person) for person in people]).reshape(-1, KEYPOINTS, 3)
    broken = ~np.isfinite(triples).all(axis=2)
    if broken.any():
        logging.warning("%d keypoints are not numbers (NaN or infinite): they count as not seen.", broken.sum())
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
    except (TypeError, ValueError):
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
    seen = scores >= VISIBLE_SCORE
    points = pixels / np.where(_normalised(pixels, seen, canvases)[..., None], 1, canvases[:, None])
    if _hands_are_crossed(points * canvases[:, None], seen):
        crossed = np.r_[: LEFT_HAND.start, RIGHT_HAND, LEFT_HAND]
        return points[:, crossed], scores[:, crossed]
    return points, scores


def _normalised(pixels: np.ndarray, seen: np.ndarray, canvases: np.ndarray) -> np.ndarray:
    """Return [N, 134]: what is written as 0..1, list by list. A single keypoint may lie in the corner: ask the body."""
    extent = np.where(seen, np.abs(pixels).max(axis=2), 0)
    body = extent[:, BODY].max(axis=1) <= 1
    result = np.zeros(seen.shape, bool)
    for part in (BODY, FEET, FACE, LEFT_HAND, RIGHT_HAND):
        small = extent[:, part].max(axis=1) <= 1
        result[:, part] = (small & (body | (seen[:, part].sum(axis=1) > 1)))[:, None]
    return result & (canvases.max(axis=1) >= SMALLEST_NORMALISED)[:, None]


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
    feet = body[FEET] if person.get("foot_keypoints_2d") is None else feet
    return np.concatenate([body[BODY], feet, *others])


def _part(value, field: str) -> np.ndarray:
    """Return x, y, c [K, 3] of one list of keypoints, in our order."""
    array = _rows(value, field)
    layouts = LAYOUTS[field]
    if len(array) == 0:
        return np.zeros((len(next(iter(layouts.values()))), 3))
    if len(array) not in layouts:
        counts = " or ".join(map(str, layouts))
        raise ValueError(f"{field} holds {len(array)} keypoints, needed are {counts}. Give poses of a people detector.")
    part = np.vstack([array, np.zeros(3)])[layouts[len(array)]]
    if field == "pose_keypoints_2d" and len(array) == 17:
        part[NECK] = _neck(part[[LEFT_SHOULDER, RIGHT_SHOULDER]])
    return part


def _rows(value, field: str) -> np.ndarray:
    """Return a flat or nested list of keypoints as [K, 3]; a null among them is NaN or a missing keypoint."""
    if isinstance(value, (list, tuple)) and any(isinstance(row, (list, tuple)) for row in value):
        value = [row or (0, 0, 0) for row in value]
    try:
        array = np.array([] if value is None else value, float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{field} holds something else than numbers ({error}). Save the poses again.") from error
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
