"""The skeleton as tables: its parts, which joints a limb joins, which joint carries which, and the colors of both.

Limbs and colors are OpenPose's (CMU), in the order in which SteadyDancer preprocess/util.py draws them.
"""

import colorsys
from typing import NamedTuple

import numpy as np

from .poses import FACE, FEET, LEFT_HAND, RIGHT_HAND


def _range(keypoints: slice) -> list[int]:
    return list(range(keypoints.start, keypoints.stop))


# Every keypoint belongs to one part; wrists and ankles to hands and feet.
KEYPOINT_PARTS = {
    "neck": [1],
    "head": [0, 14, 15, 16, 17],
    "face": _range(FACE),
    "arms": [2, 3, 5, 6],
    "hands": [4, 7, *_range(LEFT_HAND), *_range(RIGHT_HAND)],
    "legs": [8, 9, 11, 12],
    "feet": [10, 13, *_range(FEET)],
}

# The joint at which each limb starts, and the one at which it ends.
LIMBS = np.column_stack(
    [
        [1, 1, 2, 3, 5, 6, 1, 8, 9, 1, 11, 12, 1, 0, 14, 0, 15],
        [2, 5, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 0, 14, 16, 15, 17],
    ]
)
# OpenPose's rainbow in RGB, one color a joint, 20 degrees of hue apart; limb i has the color of joint i.
JOINT_COLORS = np.array([[round(255 * c) for c in colorsys.hsv_to_rgb(i / 18, 1, 1)] for i in range(18)])
LIMB_BRIGHTNESS = 0.6
HAND_JOINT_COLOR = (0, 0, 255)

# Wrist to the first joint of each finger, then along the finger.
HAND_EDGES = np.array([(0 if joint % 4 == 1 else joint - 1, joint) for joint in range(1, 21)])
HAND_COLORS = [tuple(255 * c for c in colorsys.hsv_to_rgb(i / len(HAND_EDGES), 1, 1)) for i in range(len(HAND_EDGES))]

# Part: the joints along which its length is measured, one path a side. Both sides are one part: people are symmetric.
LIMB_PATHS = {
    "neck": [(0, 1)],
    "shoulders": [(2, 5)],
    "upper_arm": [(2, 3), (5, 6)],
    "lower_arm": [(3, 4), (6, 7)],
    "upper_leg": [(8, 9), (11, 12)],
    "lower_leg": [(9, 10), (12, 13)],
}

Aspects = tuple[float, float]  # width / height of the photo and of the video


def metric(points: np.ndarray, aspect: float) -> np.ndarray:
    """Return points [..., 2] in fractions of the frame with both axes in frame heights; aspect: width / height."""
    return points * (aspect, 1)


class Link(NamedTuple):
    """Keypoints that hang on a parent joint and scale about it with one part of the body."""

    children: list[int]
    parent: int
    part: str


_FEET = _range(FEET)

# From the neck outward, so that a parent stands where it belongs before its children follow.
# Source: SteadyDancer preprocess/pose_align.py, align_img(); feet and face are ours (upstream draws neither).
CHAIN = (
    Link([0], 1, "neck"),
    Link([14, 16], 0, "face_right"),
    Link([15, 17], 0, "face_left"),
    Link(_range(FACE), 0, "face"),
    Link([2, 5], 1, "shoulders"),
    Link([3], 2, "upper_arm"),
    Link([4], 3, "lower_arm"),
    Link(_range(RIGHT_HAND), 4, "hand"),
    Link([6], 5, "upper_arm"),
    Link([7], 6, "lower_arm"),
    Link(_range(LEFT_HAND), 7, "hand"),
    Link([8, 11], 1, "torso"),
    Link([9], 8, "upper_leg"),
    Link([10], 9, "lower_leg"),
    Link(_FEET[3:], 10, "lower_leg"),
    Link([12], 11, "upper_leg"),
    Link([13], 12, "lower_leg"),
    Link(_FEET[:3], 13, "lower_leg"),
)


def scale_limbs(points: np.ndarray, ratios: dict[str, float]) -> np.ndarray:
    """Return metric points [F, 134, 2] with every limb scaled by its part's ratio about the joint it hangs on."""
    scaled = points.copy()
    for children, parent, part in CHAIN:
        limb = points[:, children] - points[:, [parent]]
        with np.errstate(invalid="ignore"):
            scaled[:, children] = scaled[:, [parent]] + ratios[part] * limb
    return scaled
