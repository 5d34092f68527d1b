"""The dialects of POSE_KEYPOINT, one row each, and the writer of them all.

What the packs write, read in their code:
- strict: what every known reader takes; see `keypoints`.
- DWPose: comfyui_controlnet_aux, src/custom_controlnet_aux/dwpose encode_poses_as_dict. A hand or face of which nothing
  is seen is null, no feet. The pose editors read and write this one.
- OpenPose 0..1: the same, as comfyui_controlnet_aux's OpenPose preprocessor writes it, in fractions of the canvas.
- SDPose: ComfyUI comfy_extras/nodes_sdpose.py. Real confidences, -1 for what was not found, and the left hand under the
  name of the right.
- OpenPose BODY_25: what OpenPose itself saves (doc/02_output.md), here with the size of the canvas.

What no list can hold stands in one more key of a frame, NOTE, except in the strict form, which is known by its own: the
name of the dialect, so that nobody has to guess the unit, and the identities of the people in their order.
"""

from typing import NamedTuple

import numpy as np

from ..poses import BODY, EYES, FACE, FEET, HIPS, KEYPOINTS, LEFT_HAND, RIGHT_HAND, VISIBLE_SCORE, PoseClip, Track

BODY_FIELD, FEET_FIELD, FACE_FIELD = "pose_keypoints_2d", "foot_keypoints_2d", "face_keypoints_2d"
LEFT_FIELD, RIGHT_FIELD = "hand_left_keypoints_2d", "hand_right_keypoints_2d"
MID_HIP = KEYPOINTS  # row 134, which only BODY_25 has
DECIMALS = 9  # of a pixel: coarser than what dividing by the canvas and multiplying again does to a float
FARTHEST = 1e6  # pixels; nothing beyond is a keypoint
NOTE = "steadydancer"  # key of a frame: {"dialect": a name of DIALECTS, "ids": one a person}
CHUNK = 256  # frames converted at once


class Dialect(NamedTuple):
    """How poses are written. fields: the rows of the 134 keypoints, or MID_HIP, that the list of each name holds.

    normalized: x and y are fractions of the canvas, not pixels. confidences: c is the real score, else 1 or 0. missing:
    x and y of a keypoint that is not listed. nulls: a face or hand of which nothing is seen is null. extras: with "id",
    "scores" and "body_raw_2d", see `keypoints`. frame: further keys of every frame.
    """

    fields: dict[str, slice | list[int]]
    normalized: bool = False
    confidences: bool = False
    missing: float = 0.0
    nulls: bool = False
    extras: bool = False
    frame: dict = {}  # noqa: RUF012  never changed


BODY_25 = {BODY_FIELD: [*range(8), MID_HIP, *range(8, 24)]}
BODY_18, FOOT_6 = {BODY_FIELD: BODY}, {FEET_FIELD: FEET}
FACE_70 = {FACE_FIELD: [*range(FACE.start, FACE.stop), *EYES]}
HANDS = {LEFT_FIELD: LEFT_HAND, RIGHT_FIELD: RIGHT_HAND}
CROSSED_HANDS = {RIGHT_FIELD: LEFT_HAND, LEFT_FIELD: RIGHT_HAND}

STRICT = "strict (pixels)"
DIALECTS = {
    STRICT: Dialect(BODY_18 | FOOT_6 | FACE_70 | HANDS, extras=True),
    "DWPose (pixels, null for absent)": Dialect(BODY_18 | FACE_70 | HANDS, nulls=True),
    "OpenPose (0..1, null for absent)": Dialect(BODY_18 | FACE_70 | HANDS, nulls=True, normalized=True),
    "SDPose (real confidences)": Dialect(BODY_18 | FOOT_6 | FACE_70 | CROSSED_HANDS, confidences=True, missing=-1.0),
    "OpenPose BODY_25 (real confidences)": Dialect(BODY_25 | FACE_70 | HANDS, confidences=True, frame={"version": 1.3}),
}


def write(clip: PoseClip, dialect: str = STRICT) -> list[dict]:
    """Return `clip` as POSE_KEYPOINT in one of the DIALECTS, listing those who are present; ValueError for another."""
    if dialect not in DIALECTS:
        raise ValueError(f"There is no dialect '{dialect}'. Choose one of: {'; '.join(DIALECTS)}.")
    row = DIALECTS[dialect]
    size = {"canvas_width": int(clip.width), "canvas_height": int(clip.height)}
    frames = [{**row.frame, "people": [], **size} for _ in range(clip.frames)]
    if not row.extras:
        for frame in frames:
            frame[NOTE] = {"dialect": dialect, "ids": []}
    for track in clip.tracks:
        present = np.flatnonzero(track.present)
        for start in range(0, len(present), CHUNK):
            chosen = present[start : start + CHUNK]
            for i, person in zip(chosen, _people(clip, track, chosen, row), strict=True):
                frames[i]["people"].append(person)
                if not row.extras:
                    frames[i][NOTE]["ids"].append(int(track.identity))
    return frames


def _people(clip: PoseClip, track: Track, chosen: np.ndarray, dialect: Dialect) -> list[dict]:
    """Return one person for each of the N frames `chosen`."""
    size = np.array([clip.width, clip.height], float)
    kept, scores = within_reach(track.points[chosen], size), track.scores[chosen]
    # One more keypoint between the hips, as sure as the less sure of them.
    points = np.concatenate([kept, kept[:, HIPS].mean(axis=1, keepdims=True)], axis=1)
    scores = np.concatenate([scores, scores[:, HIPS].min(axis=1, keepdims=True)], axis=1)
    pixels = to_pixels(points, size)
    listed = scores > 0 if dialect.confidences else scores >= VISIBLE_SCORE
    # Objects, so that all people of a long clip share one 0.0 and one 1.0, and their lists the floats of a joint.
    places = (points if dialect.normalized else pixels).astype(object)
    zero = np.array(0.0, object)  # of a bare 0.0 NumPy 1 makes a float for each place
    sure, triples = np.full(scores.shape, zero), np.full((*listed.shape, 3), zero)
    sure[scores > 0] = scores[scores > 0]
    triples[~listed, :2] = dialect.missing
    triples[listed, :2] = places[listed]
    triples[listed, 2] = sure[listed] if dialect.confidences else 1.0
    columns: dict[str, list] = {}
    for name, rows in dialect.fields.items():
        columns[name] = triples[:, rows].reshape(len(chosen), -1).tolist()
        if dialect.nulls and name != BODY_FIELD:
            own = np.any(triples[:, rows][:, : FACE.stop - FACE.start, 2], axis=1)  # of a face without the body's eyes
            columns[name] = [values if seen else None for values, seen in zip(columns[name], own, strict=True)]
    if dialect.extras:
        columns["id"] = [int(track.identity) for _ in chosen]
        columns["scores"] = sure[:, :KEYPOINTS].tolist()
        columns["body_raw_2d"] = places[:, BODY].reshape(len(chosen), -1).tolist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def within_reach(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return points [..., 2] as fractions of a canvas of `size` [2] pixels, moved to where a keypoint may be."""
    return np.clip(points, -FARTHEST / size, FARTHEST / size)


def to_pixels(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return fractions [..., 2] of a canvas of `size` [2] as pixels, rounded as they are written."""
    return np.clip(points * size, -FARTHEST, FARTHEST).round(DECIMALS) + 0.0  # no -0.0
