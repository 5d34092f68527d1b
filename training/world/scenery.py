"""Calm, light settings for a character, with soft edges; everything follows from the scene's seed."""

import cv2
import numpy as np

from .canvas import Canvas
from .look import Color, Scene, darker, varied

SOFTENING = 0.009  # of the picture, standard deviation


class Backdrop:
    """A picture, float32 [S, S, 3], that is painted in parts of its side."""

    def __init__(self, size: int):
        self.size, self.picture = size, np.zeros((size, size, 3), np.float32)
        self.y, self.x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size

    def gradient(self, top: Color, bottom: Color, low: float = 0.0, high: float = 1.0) -> None:
        """Fill everything below `low` with a gradient that ends at `high`."""
        share = ((self.y - low) / (high - low)).clip(0, 1)[..., None]
        first, last = (np.array(color, np.float32) for color in (top, bottom))
        self.over(first + share * (last - first), self.y - low)

    def over(self, color, inside: np.ndarray, strength: float = 1.0) -> None:
        """Lay a color where `inside`, a distance in parts of the side, is above 0."""
        alpha = strength * (inside * self.size + 0.5).clip(0, 1)[..., None]
        self.picture += alpha * (np.asarray(color, np.float32) - self.picture)

    def disc(self, x: float, y: float, radius: float, color: Color, strength: float = 1.0, flat: float = 1.0) -> None:
        """Paint a disc, `flat` times as high as wide."""
        self.over(color, radius - np.hypot(self.x - x, (self.y - y) / flat), strength)

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Paint a soft light."""
        alpha = strength * np.exp(-((self.x - x) ** 2 + (self.y - y) ** 2) / radius**2)[..., None]
        self.picture += alpha * (np.array(color, np.float32) - self.picture)

    def panel(self, x: float, y: float, width: float, height: float, color: Color, corner: float = 0.02) -> None:
        """Paint a rectangle about a center with round corners."""
        across = np.abs(self.x - x) - width / 2 + corner
        down = np.abs(self.y - y) - height / 2 + corner
        self.over(color, corner - np.hypot(across.clip(0), down.clip(0)))


def draw_background(scene: Scene, size: int) -> np.ndarray:
    """Return the empty setting, float32 [size, size, 3] from 0 to 255."""
    random, paint = np.random.default_rng(scene.seed), Backdrop(size)
    SETTINGS[scene.setting](random, paint)
    paint.picture = paint.picture * random.uniform(0.95, 1.0)
    return cv2.GaussianBlur(paint.picture, (0, 0), SOFTENING * size)


def draw_bush(canvas: Canvas, middle: float) -> None:
    """Draw the leaves in front of the picture's lower edge, about x = `middle` in parts of its side."""
    size = canvas.picture.shape[0]
    for x, y, radius in ((-0.07, 0.98, 0.09), (0.08, 1.0, 0.08), (0.0, 0.95, 0.1)):
        center = np.array((middle + x, y)) * size
        canvas.ball(center, radius * size / canvas.unit, (150, 178, 142))


def _studio(random: np.random.Generator, paint: Backdrop) -> None:
    walls = ((222, 232, 240), (238, 228, 220), (226, 236, 224), (234, 226, 238), (240, 234, 216), (216, 232, 230))
    wall = varied(random, walls[random.integers(len(walls))])
    paint.gradient(wall, darker(wall, 0.92))
    paint.gradient(darker(wall, 0.86), darker(wall, 0.93), 0.78)
    paint.glow(0.5, 0.42, 0.42, (255, 253, 248), 0.6)


def _park(random: np.random.Generator, paint: Backdrop) -> None:
    paint.gradient((196, 220, 238), (236, 240, 232), 0, 0.7)
    for x in (random.uniform(0.1, 0.3), random.uniform(0.65, 0.9)):
        y, wide = random.uniform(0.1, 0.24), random.uniform(0.06, 0.09)
        for shift, part in ((-1, 0.7), (0, 1), (1, 0.75)):
            paint.disc(x + shift * wide * 0.9, y, part * wide, (248, 250, 250), flat=0.7)
    _hill(random, paint, 0.62, (198, 216, 196))
    for x in (random.uniform(0.04, 0.16), random.uniform(0.84, 0.97)):
        paint.panel(x, 0.68, 0.03, 0.2, (184, 168, 150))
        paint.disc(x, random.uniform(0.5, 0.56), random.uniform(0.09, 0.12), varied(random, (170, 200, 164)))
    _hill(random, paint, 0.74, (184, 208, 172))
    paint.gradient((184, 208, 172), (168, 194, 158), 0.8)


def _hill(random: np.random.Generator, paint: Backdrop, height: float, color: Color) -> None:
    phase, size = random.uniform(0, 6.3), random.uniform(0.03, 0.06)
    paint.over(varied(random, color), paint.y - height - size * np.sin(4.4 * paint.x + phase))


def _beach(random: np.random.Generator, paint: Backdrop) -> None:
    paint.gradient(varied(random, (190, 218, 236)), (246, 236, 222), 0, 0.6)
    paint.disc(random.choice((0.18, 0.82)), random.uniform(0.14, 0.28), 0.085, (252, 240, 206))
    paint.gradient((168, 208, 218), (190, 222, 222), 0.56, 0.76)
    shore = 0.74 + 0.012 * np.sin(9 * paint.x + random.uniform(0, 6.3))
    paint.over((240, 246, 244), paint.y - shore)
    paint.over((238, 222, 192), paint.y - shore - 0.022)
    paint.gradient((238, 222, 192), (226, 206, 174), 0.8)


def _room(random: np.random.Generator, paint: Backdrop) -> None:
    walls = ((236, 226, 212), (216, 228, 230), (232, 220, 226), (222, 230, 216))
    wall = varied(random, walls[random.integers(len(walls))])
    paint.gradient(darker(wall, 1.03), wall, 0, 0.75)
    x = random.choice((0.2, 0.8))
    paint.panel(x, 0.3, 0.26, 0.34, (250, 248, 242))
    paint.panel(x, 0.3, 0.21, 0.29, (204, 224, 234))
    paint.panel(1 - x, 0.27, 0.17, 0.2, (248, 244, 236))
    paint.disc(1 - x, 0.27, 0.055, varied(random, (222, 190, 170)))
    paint.gradient(varied(random, (214, 192, 170)), (200, 178, 156), 0.76)
    paint.panel(1 - x, 0.7, 0.34, 0.2, varied(random, (190, 200, 204)), 0.06)
    paint.disc(0.5, 0.91, 0.42, varied(random, (230, 218, 206)), flat=0.16)


def _stage(random: np.random.Generator, paint: Backdrop) -> None:
    walls = ((156, 150, 182), (142, 164, 184), (176, 150, 166), (146, 172, 170))
    wall = varied(random, walls[random.integers(len(walls))])
    paint.gradient(wall, darker(wall, 1.15), 0, 0.8)
    for x in (0.12, 0.88):
        paint.panel(x, 0.35, 0.2, 0.95, darker(wall, 0.88), 0.05)
    paint.glow(0.5, 0.35, 0.38, (252, 244, 232), 0.65)
    paint.gradient((204, 190, 182), (186, 170, 166), 0.8)
    paint.glow(0.5, 0.92, 0.32, (244, 234, 222), 0.6)


def _snow(random: np.random.Generator, paint: Backdrop) -> None:
    paint.gradient(varied(random, (186, 206, 228)), (230, 232, 240), 0, 0.7)
    paint.over((212, 222, 236), paint.y - 0.35 - np.abs(((paint.x + random.uniform(0, 1)) % 0.7) - 0.35) * 0.8)
    _hill(random, paint, 0.66, (226, 234, 242))
    for x in (random.uniform(0.05, 0.14), random.uniform(0.86, 0.96)):
        for y, wide in ((0.52, 0.07), (0.6, 0.1), (0.69, 0.13)):
            inside = (paint.y - y + 0.09) / 0.13 * wide - np.abs(paint.x - x)
            paint.over((168, 194, 192), np.minimum(inside, y + 0.04 - paint.y))
    paint.gradient((240, 244, 248), (224, 230, 240), 0.75)


SETTINGS = {
    "studio": _studio, "park": _park, "beach": _beach, "room": _room, "stage": _stage, "snow": _snow,
}  # fmt: skip
