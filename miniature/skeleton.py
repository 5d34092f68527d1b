"""A figure of 18 joints (OpenPose order, neck at 1) that stands, dances, and is made heavier or lighter at random.

K joints; a pose is float64 [K, 2], x right and y down, in units of the picture's height. Angles in degrees: 0 points
right, 90 down. "Right" is the figure's own right hand side, which lies on the picture's left.
"""

from typing import NamedTuple

import numpy as np

JOINTS = 18
NOSE, NECK = 0, 1
R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST = 2, 3, 4, 5, 6, 7
R_HIP, R_KNEE, R_ANKLE, L_HIP, L_KNEE, L_ANKLE = 8, 9, 10, 11, 12, 13
R_EYE, L_EYE, R_EAR, L_EAR = 14, 15, 16, 17

NECK_POSITION = (0.28125, 0.29)
SCALE_RANGE, ASPECT_RANGE = (0.7, 1.3), (0.6, 1.4)


class Bone(NamedTuple):
    """A joint, the joint that carries it, the bone's length and angle at rest, and how far the dance swings it.

    `swing` follows sin, `lift` follows 1 - cos; both are 0 at the beat. Children turn along with their parent.
    """

    joint: int
    parent: int
    length: float
    angle: float
    swing: float = 0
    lift: float = 0


BONES = (
    Bone(NOSE, NECK, 0.085, -90, swing=8),
    Bone(R_EYE, NOSE, 0.024, -140),
    Bone(L_EYE, NOSE, 0.024, -40),
    Bone(R_EAR, NOSE, 0.041, -164),
    Bone(L_EAR, NOSE, 0.041, -16),
    Bone(R_SHOULDER, NECK, 0.078, 174, swing=5),
    Bone(R_ELBOW, R_SHOULDER, 0.118, 108, swing=20, lift=26),
    Bone(R_WRIST, R_ELBOW, 0.108, 96, swing=26, lift=58),
    Bone(L_SHOULDER, NECK, 0.078, 6, swing=5),
    Bone(L_ELBOW, L_SHOULDER, 0.118, 72, swing=20, lift=-26),
    Bone(L_WRIST, L_ELBOW, 0.108, 84, swing=26, lift=-58),
    Bone(R_HIP, NECK, 0.238, 101, swing=-3),
    Bone(R_KNEE, R_HIP, 0.165, 93, swing=9, lift=7),
    Bone(R_ANKLE, R_KNEE, 0.158, 91, swing=-9, lift=-5),
    Bone(L_HIP, NECK, 0.238, 79, swing=-3),
    Bone(L_KNEE, L_HIP, 0.165, 87, swing=9, lift=-7),
    Bone(L_ANKLE, L_KNEE, 0.158, 89, swing=-9, lift=5),
)


def pose_at(beats: float) -> np.ndarray:
    """Return the pose `beats` beats into the dance; whole numbers are the standing pose."""
    phase = 2 * np.pi * beats
    pose, turns = np.zeros((JOINTS, 2)), np.zeros(JOINTS)
    pose[NECK] = np.add(NECK_POSITION, (0.018 * np.sin(phase), 0.008 * (1 - np.cos(2 * phase))))
    for bone in BONES:
        turns[bone.joint] = turns[bone.parent] + bone.swing * np.sin(phase) + bone.lift * (1 - np.cos(phase))
        angle = np.radians(bone.angle + turns[bone.joint])
        pose[bone.joint] = pose[bone.parent] + bone.length * np.array((np.cos(angle), np.sin(angle)))
    return pose


def dance(frames: int, fps: int, beats_per_second: float = 1.0) -> list[np.ndarray]:
    """Return one pose per frame; frame 0 is the standing pose."""
    return [pose_at(frame * beats_per_second / fps) for frame in range(frames)]


def augmented(poses: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Return each pose scaled, and squeezed on x, about its neck by random factors of its own: the negative pose."""
    random = np.random.RandomState(seed)
    return [_rescaled(pose, random.uniform(*SCALE_RANGE), random.uniform(*ASPECT_RANGE)) for pose in poses]


def _rescaled(pose: np.ndarray, scale: float, aspect: float) -> np.ndarray:
    return pose[NECK] + (pose - pose[NECK]) * (scale * aspect, scale)
