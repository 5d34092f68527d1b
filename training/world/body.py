"""A character's body and how its joints stand in space when it moves.

Lengths are fractions of the standing height. x points right in the picture, y down, z at the viewer, at whom the
character looks; its right hand side lies on the picture's left. Angles in degrees.
"""

from dataclasses import dataclass

import numpy as np

from .motion import Motion
from .rotations import along, direction, turn_y, turn_z

JOINTS = (
    "pelvis", "chest", "neck", "head", "nose",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand", "right_hip", "right_knee", "right_ankle",
    "right_toe", "left_shoulder", "left_elbow", "left_wrist", "left_hand", "left_hip", "left_knee", "left_ankle",
    "left_toe", "right_eye", "left_eye", "right_ear", "left_ear", "cap",
    "right_thumb", "left_thumb",
)  # fmt: skip
SIDES = (("right", -1), ("left", 1))
SOLE = 0.055  # from the ankle to the ground


@dataclass(frozen=True)
class Proportions:
    """Lengths in parts of `standing`, to which they are scaled so that the character is 1 high; girth scales widths."""

    leg: float = 0.31
    torso: float = 0.25
    head: float = 0.15
    neck: float = 0.0
    shoulders: float = 0.115
    hips: float = 0.068
    upper_arm: float = 0.16
    lower_arm: float = 0.145
    girth: float = 1.0

    @property
    def standing(self) -> float:
        return self.leg + self.torso + self.neck + 2 * self.head + SOLE

    @property
    def radius(self) -> float:
        """Of the head, in parts of the character's height."""
        return self.head / self.standing


# Part: mean and spread of a uniform draw.
RANGES = {
    "leg": (0.31, 0.035), "torso": (0.25, 0.025), "head": (0.15, 0.016), "neck": (0.0, 0.008),
    "shoulders": (0.115, 0.012), "hips": (0.068, 0.008), "upper_arm": (0.16, 0.012), "lower_arm": (0.145, 0.012),
    "girth": (1.06, 0.1),
}  # fmt: skip


def draw_proportions(random: np.random.Generator) -> Proportions:
    """Return the proportions of somebody, slim or heavy, short- or long-legged, small- or big-headed."""
    return Proportions(**{part: mean + spread * random.uniform(-1, 1) for part, (mean, spread) in RANGES.items()})


def joints(body: Proportions, angles: Motion) -> dict[str, np.ndarray]:
    """Return every joint's position [F, 3]; y = 0 is the ground and the standing character reaches up to y = -1."""
    turned = turn_y(angles["yaw"])
    chest_frame = turned @ turn_z(angles["lean"]) @ turn_y(angles["twist"])
    points = {"pelvis": np.zeros((len(angles["yaw"]), 3))}
    points["chest"] = along(points["pelvis"], chest_frame, (0, -0.6 * body.torso, 0))
    points["neck"] = along(points["pelvis"], chest_frame, (0, -body.torso, 0))
    for side, sign in SIDES:
        _add_arm(points, body, angles, side, sign, chest_frame)
        _add_leg(points, body, angles, side, sign, turned)
    r = body.head
    frame = chest_frame @ turn_z(angles["head_tilt"]) @ turn_y(angles["head_yaw"])
    points["head"] = along(points["neck"], frame, (0, -body.neck - r, 0))
    places = {
        "nose": (0, 0.24 * r, 0.97 * r),
        "right_eye": (-0.34 * r, 0.04 * r, 0.94 * r),
        "left_eye": (0.34 * r, 0.04 * r, 0.94 * r),
        "right_ear": (-0.98 * r, 0.12 * r, 0),
        "left_ear": (0.98 * r, 0.12 * r, 0),
        "cap": (0, -0.72 * r, 0),
    }
    points |= {name: along(points["head"], frame, place) for name, place in places.items()}
    sole = np.maximum(points["right_ankle"][:, 1], points["left_ankle"][:, 1]) + SOLE
    moved = np.stack([angles["travel"], -sole / body.standing - angles["jump"], np.zeros_like(sole)], axis=1)
    return {name: point / body.standing + moved for name, point in points.items()}


def _add_arm(points: dict, body: Proportions, angles: Motion, side: str, sign: int, frame: np.ndarray) -> None:
    raised, forward, bend = (angles[f"{side}_arm_{name}"] for name in ("raise", "forward", "bend"))
    upper, lower = direction(raised, forward, sign), direction(raised + bend, forward, sign)
    points[f"{side}_shoulder"] = along(points["neck"], frame, (sign * body.shoulders, 0.02, 0))
    points[f"{side}_elbow"] = along(points[f"{side}_shoulder"], frame, body.upper_arm * upper)
    points[f"{side}_wrist"] = along(points[f"{side}_elbow"], frame, body.lower_arm * lower)
    points[f"{side}_hand"] = along(points[f"{side}_wrist"], frame, 0.035 * lower)
    inward = direction(raised + bend + 90, forward, sign) * ((raised + bend - 20) / 50).clip(-0.6, 1)[:, None]
    points[f"{side}_thumb"] = along(points[f"{side}_wrist"], frame, 0.03 * lower + 0.055 * inward + (0, 0, 0.03))


def _add_leg(points: dict, body: Proportions, angles: Motion, side: str, sign: int, frame: np.ndarray) -> None:
    raised, forward, bend = (angles[f"{side}_leg_{name}"] for name in ("raise", "forward", "bend"))
    thigh, shin = direction(raised, forward, sign), direction(raised - bend, forward, sign)
    points[f"{side}_hip"] = along(points["pelvis"], frame, (sign * body.hips, 0.0, 0))
    points[f"{side}_knee"] = along(points[f"{side}_hip"], frame, 0.5 * body.leg * thigh)
    points[f"{side}_ankle"] = along(points[f"{side}_knee"], frame, 0.5 * body.leg * shin)
    points[f"{side}_toe"] = along(points[f"{side}_ankle"], frame, (sign * 0.034, 0.012, 0.075))
