"""POSE_KEYPOINT, the value by which pose nodes of all packs understand each other, from a PoseClip and back.

A list with one dict per frame: {"people": [...], "canvas_width": int, "canvas_height": int}. A person holds one flat
list [x, y, c, ...] for each part of the body. What `to_keypoints` writes is the strict form, which every known reader
takes: nothing null, absolute pixels, c is 1 for a seen keypoint and x = y = c = 0 for any other, and the face ends with
the right and the left eye of the body. Three keys that others ignore keep what that form cannot hold: "id", the
person's identity; "scores", the 134 real scores; "body_raw_2d", the pixels of all 18 body joints, seen or not.
`from_keypoints` also reads what others write (`dialects`): real confidences (seen from SEEN_CONFIDENCE on); 0, 0 or -1,
-1 for a missing keypoint, whatever its c; lists that are null, empty or absent, flat or nested, in pixels or 0..1
(decided by our note, else by `coordinate_units`); bodies of 18, 24, 25 or COCO's 17; faces of 68 and more, of which
other lengths are unknown. SDPose calls the left hand right: names are believed unless, over the whole clip, the hands
lie by the other wrists. An editor may have moved keypoints: "scores" and "body_raw_2d" hold where they still fit.
"""

from collections.abc import Callable

import numpy as np

from ...media.log import logger
from ..poses import BODY, KEYPOINTS, LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST, VISIBLE_SCORE, PoseClip
from ..track.identities import check_crowd, make_tracks
from .coordinate_units import in_fractions
from .dialects import DIALECTS, FARTHEST, LEFT_FIELD, NOTE, Dialect, to_pixels, within_reach, write
from .keypoint_lists import SEEN_CONFIDENCE, has_lists, read_numbers, read_triples
from .written_poses import WrittenPoses

SAME_PIXEL = 1e-3  # a joint this near to body_raw_2d was not moved by anybody
LARGEST_CANVAS = 1 << 16  # pixels a side
SWAPPED_HANDS = np.r_[: LEFT_HAND.start, RIGHT_HAND, LEFT_HAND]


def to_keypoints(clip: PoseClip) -> WrittenPoses:
    """Return `clip` in the strict form. A frame in which a person is not present does not list the person."""
    frames = write(clip)
    try:
        return WrittenPoses(frames, _as_read(clip))
    except ValueError:  # whoever reads more people than a dance has gets the error
        return WrittenPoses(frames, None)


def from_keypoints(data, check: Callable[[], None] = lambda: None) -> PoseClip:
    """Return the clip that `data`, a POSE_KEYPOINT of any pack or one of its frames, describes.

    People without ids are linked by where they are; check: called now and then, what it raises ends that. ValueError
    for anything else, animals, no canvas size, or more people than a dance has. Where nobody changed what
    `to_keypoints` wrote, all get one and the same clip, whose arrays are read-only.
    """
    known = data.clip() if isinstance(data, WrittenPoses) else None
    if known is not None:
        return known
    frames = _frames(data)
    canvases = _canvases(frames)
    check_crowd([len(frame["people"] or ()) for frame in frames])
    where, people, ids, dialects = _people(frames)
    points, scores = _read(people, canvases[where], dialects)
    seen = np.any(scores >= VISIBLE_SCORE, axis=1)
    ids = [one for one, kept in zip(ids, seen, strict=True) if kept]
    tracks = make_tracks(len(frames), where[seen], ids, points[seen], scores[seen], check)
    width, height = (int(side) for side in canvases[0])
    return PoseClip(width, height, len(frames), tuple(tracks))


def _as_read(clip: PoseClip) -> PoseClip | None:
    """Return what reading the strict form of `clip` gives; None if it holds numbers that are no keypoints.

    ValueError for more people than a dance has.
    """
    size, people = np.array([clip.width, clip.height], float), []
    for track in clip.tracks:
        where = np.flatnonzero(track.present)
        pixels, scores = to_pixels(within_reach(track.points[where], size), size), track.scores[where]
        listed = track.visible[where]
        listed[:, BODY] = True  # by body_raw_2d
        pixels[~listed] = 0
        points = _fractions(pixels, np.broadcast_to(size, (len(where), 2)))
        ids = np.full(len(where), int(track.identity), object)
        people.append((where, ids, points, np.where(scores > 0, scores, 0)))
    if not people or not clip.frames:
        return None
    where, ids, points, scores = map(np.concatenate, zip(*people, strict=True))
    are_keypoints = np.isfinite(points).all() and scores.max(initial=0) <= FARTHEST
    if not (are_keypoints and size.min() > 0 and size.max() <= LARGEST_CANVAS):
        return None
    check_crowd(np.bincount(where, minlength=clip.frames).tolist())
    order = where.argsort(kind="stable")
    rows = where[order], ids[order].tolist(), points[order], scores[order]
    return PoseClip(
        int(clip.width), int(clip.height), clip.frames, tuple(make_tracks(clip.frames, *rows, lambda: None))
    )


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
            found = f"people that are {_describe(people)}"
            if people is frame:
                found = "the keys " + ", ".join(map(str, [*frame][:8])) if frame else "no keys"
            raise ValueError(_wrong(f"frame {i} with {found}"))
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
    return f"a value of type {type(data).__name__}"


def _canvases(frames: list[dict]) -> np.ndarray:
    """Return the width and height of each frame [F, 2]; one without has the size of the first that has one."""
    sizes = []
    for frame in frames:
        try:
            size = int(frame["canvas_width"]), int(frame["canvas_height"])
        except (KeyError, TypeError, ValueError, OverflowError):
            size = (0, 0)
        sizes.append(size if min(size) > 0 and max(size) <= LARGEST_CANVAS else None)
    known = next((size for size in sizes if size), None)
    if known is None:
        raise ValueError(
            "The poses do not state the size of their picture: canvas_width and canvas_height are missing, or not in 1 "
            f"to {LARGEST_CANVAS}. Give the width and height of the video that they were made from."
        )
    return np.array([size or known for size in sizes], float)


def _people(frames: list[dict]) -> tuple[np.ndarray, list[dict], list, list[Dialect | None]]:
    """Return the frames of the N people who have any keypoints, these people, their ids, and dialects noted by us."""
    where, found, ids, dialects = [], [], [], []
    for i, frame in enumerate(frames):
        note, dialect, noted = frame.get(NOTE), None, []
        if isinstance(note, dict) and isinstance(note.get("dialect"), str):
            dialect = DIALECTS.get(note["dialect"])
            noted = note["ids"] if isinstance(note.get("ids"), list) else []
        people = frame["people"] or ()
        for place, person in enumerate(people):
            if has_lists(person):
                where.append(i)
                found.append(person)
                ids.append(person.get("id", noted[place] if len(noted) == len(people) else None))
                dialects.append(dialect)
    return np.array(where, int), found, ids, dialects


def _read(people: list[dict], canvases: np.ndarray, dialects: list[Dialect | None]) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 134, 2] as fractions of the canvases [N, 2], and scores [N, 134]. dialects: as we noted."""
    triples = read_triples(people)
    if not (np.abs(triples) <= FARTHEST).all():
        broken = ~(np.abs(triples) <= FARTHEST).all(axis=2)
        logger.warning("%d keypoints are no numbers, or of an incomplete face: they are not seen.", broken.sum())
        triples[broken] = 0
    pixels, confidence = triples[..., :2], triples[..., 2]
    scores, raw = read_numbers(people, "scores", KEYPOINTS), read_numbers(people, "body_raw_2d", 36).reshape(-1, 18, 2)
    near = np.abs(pixels[:, BODY] - raw) <= SAME_PIXEL
    still = near[..., 0] & near[..., 1]
    ours = (still & (confidence[:, BODY] >= SEEN_CONFIDENCE)).any(axis=1) & np.isfinite(scores).all(axis=1)
    if ours.all():
        own, scores = _read_own(pixels, confidence, scores, raw, still)
        return _fractions(own, canvases), scores
    points, foreign = np.empty_like(pixels), ~ours
    own, scores[ours] = _read_own(pixels[ours], confidence[ours], scores[ours], raw[ours], still[ours])
    points[ours] = _fractions(own, canvases[ours])
    for dialect in DIALECTS.values():
        rows = ~ours & np.array([one is dialect for one in dialects], bool)
        points[rows], scores[rows] = _read_noted(pixels[rows], confidence[rows], canvases[rows], dialect)
        foreign &= ~rows
    found = _read_foreign(pixels[foreign], confidence[foreign], canvases[foreign], unit_known=bool(ours.any()))
    points[foreign], scores[foreign] = found
    return points, scores


def _fractions(pixels: np.ndarray, canvases: np.ndarray) -> np.ndarray:
    """Return points [N, 134, 2] in pixels as fractions of the canvases [N, 2]; NumPy is slow along an axis of 2."""
    x, y = (pixels[..., axis] / canvases[:, axis, None] for axis in (0, 1))
    return np.stack([x, y], axis=2)


def _read_own(pixels, confidence, scores, raw, still) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and scores of people whom we wrote: as they were, except for keypoints that an editor changed."""
    listed, seen = confidence >= SEEN_CONFIDENCE, scores >= VISIBLE_SCORE
    kept = listed == seen
    kept[:, BODY] &= still | ~listed[:, BODY]
    hidden = (kept & ~listed)[:, BODY, None]
    pixels[:, BODY] = np.where(hidden, raw, pixels[:, BODY])
    return pixels, np.where(kept, scores, np.where(listed, np.maximum(confidence, VISIBLE_SCORE), 0))


def _read_noted(pixels, confidence, canvases, dialect: Dialect) -> tuple[np.ndarray, np.ndarray]:
    """Return points as fractions of the canvas and scores of people whom we wrote in a dialect: nothing is guessed."""
    scores = np.maximum(confidence if dialect.confidences else _lifted(confidence), 0)
    points = pixels / (1 if dialect.normalized else canvases[:, None])
    points = np.where(scores[..., None] > 0, points, 0)
    if dialect.fields[LEFT_FIELD] == RIGHT_HAND:
        return points[:, SWAPPED_HANDS], scores[:, SWAPPED_HANDS]
    return points, scores


def _read_foreign(pixels, confidence, canvases, unit_known: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return points as fractions and scores of people whom others wrote; unit_known: ours in the clip are in pixels."""
    lost = ((pixels == 0) | (pixels == -1)).all(axis=2) | (confidence <= 0)
    scores = np.where(lost, 0, _lifted(confidence))
    fractions = np.zeros(scores.shape, bool)
    if not unit_known:
        fractions = in_fractions(pixels, scores >= VISIBLE_SCORE, canvases)
    points = pixels / np.where(fractions[..., None], 1, canvases[:, None])
    pixels = points * canvases[:, None]
    # controlnet_aux's OpenPose divides its -1 by the canvas
    scores = np.where(np.abs(pixels + 1).max(axis=2) < SAME_PIXEL, 0, scores)
    points = np.where(scores[..., None] > 0, points, 0)
    if _hands_are_crossed(pixels, scores >= VISIBLE_SCORE):
        return points[:, SWAPPED_HANDS], scores[:, SWAPPED_HANDS]
    return points, scores


def _lifted(confidence: np.ndarray) -> np.ndarray:
    return np.where(confidence >= SEEN_CONFIDENCE, np.maximum(confidence, VISIBLE_SCORE), confidence)


def _hands_are_crossed(pixels: np.ndarray, seen: np.ndarray) -> bool:
    """Return whether, over all N people, the hands' roots lie by the wrists of the other side."""
    roots, wrists = [LEFT_HAND.start, RIGHT_HAND.start], [LEFT_WRIST, RIGHT_WRIST]
    known = seen[:, roots] & seen[:, wrists].all(axis=1, keepdims=True)
    named = np.linalg.norm(pixels[:, roots] - pixels[:, wrists], axis=2)[known].sum()
    swapped = np.linalg.norm(pixels[:, roots] - pixels[:, wrists[::-1]], axis=2)[known].sum()
    return bool(swapped < named / 2)
