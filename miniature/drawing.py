"""Pictures of a pose: a flat illustration of a dancer, and the skeleton on black that SteadyDancer was trained on.

Drawn at several times the size and shrunk, which is what makes the edges smooth. Poses as in skeleton.py.
"""

import colorsys
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from . import skeleton as s

SIZE = (288, 512)
FIGURE_OVERSIZE, POSE_OVERSIZE = 4, 2
STICK_HALF_WIDTH, JOINT_RADIUS, STICK_BRIGHTNESS = 4, 4, 0.6

# OpenPose's sticks in drawing order: stick i and joint i have colour i.
STICKS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip

EYE, MOUTH, SHOES = "#2b2020", "#a8503f", "#f2f2f2"


class Look(NamedTuple):
    """Colours of a person and of the room."""

    skin: str = "#e3a982"
    hair: str = "#3b2a26"
    shirt: str = "#1f7a8c"
    sleeve: str = "#196575"
    trousers: str = "#2d3047"
    wall: str = "#f6e7d3"
    wall_low: str = "#f1d6bd"
    floor: str = "#b98f72"
    sun: str = "#f7b267"
    shadow: str = "#9c7459"


PHOTO = Look()
DRIVER = Look(
    "#8d5a3c", "#1c1614", "#c8553d", "#a9442f", "#3f4e4f", "#dfe7ea", "#cbd8dd", "#7d8f96", "#f3e9c6", "#64757c"
)  # fmt: skip

# Limbs: two joints, thickness at each in units of the figure's picture height, the look's colour.
LEGS = (
    (s.R_HIP, s.R_KNEE, 0.078, 0.062, "trousers"), (s.R_KNEE, s.R_ANKLE, 0.062, 0.048, "trousers"),
    (s.L_HIP, s.L_KNEE, 0.078, 0.062, "trousers"), (s.L_KNEE, s.L_ANKLE, 0.062, 0.048, "trousers"),
    (s.R_HIP, s.L_HIP, 0.078, 0.078, "trousers"),
)  # fmt: skip
ARMS = (
    (s.R_ELBOW, s.R_WRIST, 0.038, 0.028, "skin"), (s.R_SHOULDER, s.R_ELBOW, 0.056, 0.046, "sleeve"),
    (s.L_ELBOW, s.L_WRIST, 0.038, 0.028, "skin"), (s.L_SHOULDER, s.L_ELBOW, 0.056, 0.046, "sleeve"),
)  # fmt: skip


def draw_pose(pose: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return the skeleton of `pose` on black, uint8 [H, W, 3], size = (width, height)."""
    image = Image.new("RGB", (size[0] * POSE_OVERSIZE, size[1] * POSE_OVERSIZE))
    draw, points = ImageDraw.Draw(image), pose * image.height
    for index, (a, b) in enumerate(STICKS):
        draw.polygon(_stick(points[a], points[b]), fill=_colour(index, STICK_BRIGHTNESS))
    for index, point in enumerate(points):
        draw.ellipse(_box(point, JOINT_RADIUS), fill=_colour(index, 1.0))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def draw_figure(
    pose: np.ndarray, size: tuple[int, int] = SIZE, look: Look = PHOTO, figure: float = 1.0
) -> Image.Image:
    """Return an illustration of a person in `pose` before a plain room, size = (width, height).

    `figure` is how much smaller or larger than the pose of `skeleton` the person is drawn.
    """
    image = Image.new("RGB", (size[0] * FIGURE_OVERSIZE, size[1] * FIGURE_OVERSIZE), look.wall)
    draw, points = ImageDraw.Draw(image), pose * image.height
    height = figure * image.height
    _draw_room(draw, points, image.size, height, look)
    _draw_limbs(draw, points, LEGS, height, look)
    _draw_shoes(draw, points, height)
    _draw_torso(draw, points, height, look)
    _draw_limbs(draw, points, ARMS, height, look)
    _draw_hands(draw, points, height, look)
    _draw_head(draw, points, height, look)
    return image.resize(size, Image.Resampling.LANCZOS)


def _colour(index: int, brightness: float) -> tuple[int, int, int]:
    """Return OpenPose's colour wheel with red and blue swapped, as SteadyDancer's training data has it."""
    red, green, blue = colorsys.hsv_to_rgb(index / s.JOINTS, 1, 1)
    return tuple(round(255 * brightness * c) for c in (blue, green, red))


def _stick(a: np.ndarray, b: np.ndarray, corners: int = 36) -> list[tuple[float, float]]:
    middle, along = (a + b) / 2, (b - a) / 2
    across = np.array((-along[1], along[0])) / max(math.hypot(*along), 1e-6) * STICK_HALF_WIDTH
    turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)[:, None]
    return [tuple(point) for point in middle + np.cos(turns) * along + np.sin(turns) * across]


def _box(centre: np.ndarray, radius_x: float, radius_y: float | None = None) -> tuple[float, float, float, float]:
    radius_y = radius_x if radius_y is None else radius_y
    return centre[0] - radius_x, centre[1] - radius_y, centre[0] + radius_x, centre[1] + radius_y


def _draw_room(draw: ImageDraw.ImageDraw, points: np.ndarray, size: tuple, figure: float, look: Look) -> None:
    (width, height), ground = size, points[[s.R_ANKLE, s.L_ANKLE]].mean(axis=0)
    horizon = 0.78 * height
    draw.rectangle((0, 0.55 * height, width, horizon), fill=look.wall_low)
    draw.ellipse(_box((0.76 * width, 0.2 * height), 0.09 * height), fill=look.sun)
    draw.rectangle((0, horizon, width, height), fill=look.floor)
    draw.ellipse(_box(ground + (0, 0.03 * figure), 0.14 * figure, 0.02 * figure), fill=look.shadow)


def _draw_limbs(draw: ImageDraw.ImageDraw, points: np.ndarray, limbs: tuple, height: float, look: Look) -> None:
    for a, b, *thickness, part in limbs:
        colour = getattr(look, part)
        radius_a, radius_b = (t * height / 2 for t in thickness)
        along = points[b] - points[a]
        across = np.array((-along[1], along[0])) / max(math.hypot(*along), 1e-6)
        corners = (across * radius_a, across * radius_b, -across * radius_b, -across * radius_a)
        ends = (points[a], points[b], points[b], points[a])
        draw.polygon([tuple(end + corner) for end, corner in zip(ends, corners, strict=True)], fill=colour)
        draw.ellipse(_box(points[a], radius_a), fill=colour)
        draw.ellipse(_box(points[b], radius_b), fill=colour)


def _draw_shoes(draw: ImageDraw.ImageDraw, points: np.ndarray, height: float) -> None:
    for ankle, side in ((s.R_ANKLE, -1), (s.L_ANKLE, 1)):
        sole = points[ankle] + (side * 0.014 * height, 0.026 * height)
        draw.rounded_rectangle(_box(sole, 0.036 * height, 0.014 * height), 0.013 * height, fill=SHOES)


def _draw_hands(draw: ImageDraw.ImageDraw, points: np.ndarray, height: float, look: Look) -> None:
    for wrist in (s.R_WRIST, s.L_WRIST):
        draw.ellipse(_box(points[wrist], 0.021 * height), fill=look.skin)


def _draw_torso(draw: ImageDraw.ImageDraw, points: np.ndarray, height: float, look: Look) -> None:
    hips = [points[hip] + (side * 0.039 * height, 0.012 * height) for hip, side in ((s.L_HIP, 1), (s.R_HIP, -1))]
    shoulders = [points[shoulder] - (0, 0.027 * height) for shoulder in (s.R_SHOULDER, s.L_SHOULDER)]
    draw.polygon([tuple(point) for point in (*shoulders, *hips)], fill=look.shirt)
    draw.line((*points[s.NECK], *points[s.NOSE]), fill=look.skin, width=round(0.042 * height))
    draw.ellipse(_box(points[s.NECK] - (0, 0.022 * height), 0.026 * height, 0.016 * height), fill=look.skin)


def _draw_head(draw: ImageDraw.ImageDraw, points: np.ndarray, height: float, look: Look) -> None:
    face = points[s.NOSE]
    draw.ellipse(_box(face - (0, 0.022 * height), 0.047 * height, 0.056 * height), fill=look.hair)
    draw.ellipse(_box(face + (0, 0.002 * height), 0.041 * height, 0.051 * height), fill=look.skin)
    draw.chord(_box(face - (0, 0.018 * height), 0.045 * height, 0.05 * height), 180, 360, fill=look.hair)
    for eye in (s.R_EYE, s.L_EYE):
        draw.ellipse(_box(points[eye] + (0, 0.012 * height), 0.0055 * height), fill=EYE)
    mouth = _box(face + (0, 0.018 * height), 0.016 * height, 0.012 * height)
    draw.arc(mouth, 20, 160, fill=MOUTH, width=round(height / 200))
