"""People made of bones in three dimensions, so that every picture of them has a known truth.

Lengths are in parts of the person's height. x to the right of the picture, y down, z towards the camera.
"""

from dataclasses import dataclass, replace

import numpy as np

from steadydancer_pack.dwpose.poses import BODY, FEET, PoseClip, Track

# Half widths and segment lengths after Drillis and Contini (1966); the child is about six years old.
TRUNK = {"shoulders": 0.115, "hips": 0.055, "torso": 0.288, "neck": 0.13, "eyes": 0.018, "ears": 0.04}
ADULT = TRUNK | {"upper_arm": 0.172, "lower_arm": 0.15, "upper_leg": 0.24, "lower_leg": 0.245}
CHILD_TRUNK = {"shoulders": 0.12, "hips": 0.055, "torso": 0.29, "neck": 0.175, "eyes": 0.028, "ears": 0.06}
CHILD = CHILD_TRUNK | {"upper_arm": 0.16, "lower_arm": 0.135, "upper_leg": 0.21, "lower_leg": 0.21}
SIDES = {"right": (-1, (2, 3, 4), (8, 9, 10), (14, 16)), "left": (1, (5, 6, 7), (11, 12, 13), (15, 17))}


@dataclass(frozen=True)
class Stance:
    """Angles in degrees: a limb's swing to the side and towards the camera, each (right, left); yaw of the body."""

    arm: tuple[float, float] = (25, 25)
    arm_depth: tuple[float, float] = (0, 0)
    elbow: tuple[float, float] = (10, 10)
    elbow_depth: tuple[float, float] = (0, 0)
    leg: tuple[float, float] = (5, 5)
    leg_depth: tuple[float, float] = (0, 0)
    knee_depth: tuple[float, float] = (0, 0)
    yaw: float = 0


def joints(person: dict[str, float], stance: Stance) -> np.ndarray:
    """Return the 18 body joints [18, 3] with the neck at the origin."""
    body = np.zeros((18, 3))
    body[0] = (0, -person["neck"], 0.04)
    for index, (sign, arm, leg, face) in enumerate(SIDES.values()):
        body[face[0]] = body[0] + (sign * person["eyes"], -person["eyes"], -0.01)
        body[face[1]] = body[0] + (sign * person["ears"], -person["eyes"] / 2, -0.06)
        body[arm[0]] = (sign * person["shoulders"], 0, 0)
        body[arm[1]] = body[arm[0]] + _limb(sign, person["upper_arm"], stance.arm[index], stance.arm_depth[index])
        swing, depth = stance.arm[index] + stance.elbow[index], stance.arm_depth[index] + stance.elbow_depth[index]
        body[arm[2]] = body[arm[1]] + _limb(sign, person["lower_arm"], swing, depth)
        body[leg[0]] = (sign * person["hips"], person["torso"], 0)
        body[leg[1]] = body[leg[0]] + _limb(sign, person["upper_leg"], stance.leg[index], stance.leg_depth[index])
        depth = stance.leg_depth[index] + stance.knee_depth[index]
        body[leg[2]] = body[leg[1]] + _limb(sign, person["lower_leg"], stance.leg[index], depth)
    return body @ _turn(stance.yaw).T


def _limb(sign: int, length: float, swing: float, depth: float) -> np.ndarray:
    """Return the vector of a limb that hangs down, swung to its side and towards the camera."""
    a, b = np.radians([swing, depth])
    return length * np.array([sign * np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])


def _turn(yaw: float) -> np.ndarray:
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@dataclass(frozen=True)
class Camera:
    """A picture of width x height pixels; in frame heights, where it shows the neck and how tall the person is."""

    width: int = 720
    height: int = 1280
    neck: tuple[float, float] = (0.28, 0.25)
    size: float = 0.7

    def picture(self, body: np.ndarray) -> np.ndarray:
        """Return the joints [18, 2] in parts of the frame."""
        metric = np.array(self.neck) + self.size * body[:, :2]
        return metric / (self.width / self.height, 1)


def clip(person, stances, camera=Camera(), hidden=(), path=None) -> PoseClip:
    """Return the person in these stances. hidden: joints never seen; joints outside the frame are not seen either.

    path: the neck's way [F, 2] in frame heights, added to the camera's.
    """
    frames = len(stances)
    points, scores = np.zeros((frames, 134, 2)), np.zeros((frames, 134))
    for frame, stance in enumerate(stances):
        neck = np.array(camera.neck) + (path[frame] if path is not None else 0)
        points[frame, BODY] = replace(camera, neck=tuple(neck)).picture(joints(person, stance))
    scores[:, BODY] = ((points[:, BODY] > 0) & (points[:, BODY] < 1)).all(axis=2)
    scores[:, list(hidden)] = 0
    scores[:, FEET] = 0
    return PoseClip(camera.width, camera.height, frames, (Track(1, points, scores),))


def dance(frames: int = 24, **changes) -> list[Stance]:
    """Return a dance in which every limb is once seen at its full length; changes: fields held still."""
    stances = []
    for a in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        sin, cos, twice = np.sin(a), np.cos(a), np.sin(2 * a)
        arms = {"arm": (60 + 50 * sin, 60 - 50 * sin), "elbow": (30 * cos, -30 * cos)}
        arms["elbow_depth"] = (40 + 40 * twice, 40 - 40 * twice)
        legs = {"leg": (12 + 10 * sin, 12 - 10 * sin), "leg_depth": (20 - 20 * cos, 0)}
        stances.append(Stance(**{**arms, **legs, "yaw": 40 * sin, **changes}))
    return stances
