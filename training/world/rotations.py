"""Rotations and directions of limbs over the frames of a motion; angles in degrees."""

import numpy as np


def along(start: np.ndarray, frame: np.ndarray, offset) -> np.ndarray:
    """Return start [F, 3] moved by an offset, [3] or [F, 3], in the axes of frame [F, 3, 3]."""
    return start + (frame @ np.broadcast_to(np.asarray(offset, float), start.shape)[..., None])[..., 0]


def direction(raised: np.ndarray, forward: np.ndarray, sign: int) -> np.ndarray:
    """Return unit vectors [F, 3]: straight down, raised by an angle sideways (forward 0) or to the front (90)."""
    a, f = np.radians(raised), np.radians(forward)
    return np.stack([sign * np.sin(a) * np.cos(f), np.cos(a), np.sin(a) * np.sin(f)], axis=1)


def turn_y(degrees: np.ndarray) -> np.ndarray:
    """Return rotations [F, 3, 3] about y by angles [F] in degrees."""
    c, s, one, zero = _parts(degrees)
    return np.stack([c, zero, s, zero, one, zero, -s, zero, c], axis=1).reshape(-1, 3, 3)


def turn_z(degrees: np.ndarray) -> np.ndarray:
    """Return rotations [F, 3, 3] about z by angles [F] in degrees."""
    c, s, one, zero = _parts(degrees)
    return np.stack([c, -s, zero, s, c, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)


def _parts(degrees: np.ndarray):
    angle = np.radians(degrees)
    return np.cos(angle), np.sin(angle), np.ones_like(angle), np.zeros_like(angle)
