"""The exact whole-body keypoints of a character, as the pose pipeline carries them (dwpose/poses.py): 134 a frame."""

import numpy as np

from ...dwpose.poses import BODY, FACE, FEET, KEYPOINTS, LEFT_HAND, RIGHT_HAND, PoseClip, Track

BODY_JOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
FACIAL = ("nose", "right_eye", "left_eye")
FINGER_FAN = np.linspace(-0.5, 0.5, 5)  # radians
SEEN, HIDDEN = 1.0, 0.0


def keypoints(points: dict[str, np.ndarray], width: int, height: int) -> PoseClip:
    """Return the clip's poses: points [F, 3] in pixels and z. Points outside the picture and facial ones that look
    away have a score of 0."""
    frames = len(points["neck"])
    flat, scores = np.zeros((frames, KEYPOINTS, 2)), np.full((frames, KEYPOINTS), SEEN)
    flat[:, BODY] = np.stack([points[name][:, :2] for name in BODY_JOINTS], axis=1)
    flat[:, FEET] = np.concatenate([_foot(points, "left"), _foot(points, "right")], axis=1)
    turn = np.linspace(0, 2 * np.pi, FACE.stop - FACE.start, endpoint=False)
    nose, eyes = points["nose"][:, :2], (points["right_eye"] + points["left_eye"])[:, :2] / 2
    down, across = nose - eyes, (points["left_eye"] - points["right_eye"])[:, :2]
    oval = np.cos(turn)[:, None, None] * across + np.sin(turn)[:, None, None] * 2 * down  # about the eyes and nose
    flat[:, FACE] = (nose + oval).transpose(1, 0, 2)
    flat[:, RIGHT_HAND], flat[:, LEFT_HAND] = _hand(points, "right"), _hand(points, "left")
    for name in FACIAL:
        away = points[name][:, 2] < points["head"][:, 2]
        scores[away, BODY_JOINTS.index(name)] = HIDDEN
    scores[points["nose"][:, 2] < points["head"][:, 2], FACE] = HIDDEN
    flat /= (width, height)
    scores[((flat < 0) | (flat >= 1)).any(axis=-1)] = HIDDEN
    return PoseClip(width, height, frames, (Track(0, flat, scores),))


def _foot(points: dict, side: str) -> np.ndarray:
    ankle, toe = points[f"{side}_ankle"][:, :2], points[f"{side}_toe"][:, :2]
    return np.stack([toe, toe + 0.2 * (toe - ankle), ankle + 0.3 * (ankle - toe)], axis=1)


def _hand(points: dict, side: str) -> np.ndarray:
    """Return 21 points: the wrist, and five fingers of four joints that fan out along the hand."""
    wrist, along = points[f"{side}_wrist"][:, :2], 2 * (points[f"{side}_hand"] - points[f"{side}_wrist"])[:, :2]
    out = [wrist]
    for angle in FINGER_FAN:
        c, s = np.cos(angle), np.sin(angle)
        finger = along @ np.array([[c, s], [-s, c]])
        out += [wrist + reach * finger for reach in (0.4, 0.6, 0.8, 1.0)]
    return np.stack(out, axis=1)
