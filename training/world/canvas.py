"""Soft solids on a picture: tapered capsules and balls under one light, with exact edges, in any size."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .look import Color

OUTLINE: Color = (58, 48, 60)
LIGHT = np.array((-0.45, -0.62, 0.64))  # towards it: from above, the left and the viewer
AMBIENT, DIFFUSE, RIM = 0.74, 0.32, 0.1


class Surface(NamedTuple):
    """Pixels of a solid, [H, W] each: h from 0 at its start to 1 at its end, across from -1 to 1, normals to right and
    down from -1 to 1."""

    h: np.ndarray
    across: np.ndarray
    right: np.ndarray
    down: np.ndarray


Paint = Color | Callable[[Surface], np.ndarray]


class Canvas:
    """A picture, float32 [H, W, 3], the size of a character on it and of its outline in pixels."""

    def __init__(self, picture: np.ndarray, unit: float, outline: float = 0.0):
        self.picture, self.unit, self.outline = picture, unit, outline

    def box(self, low: np.ndarray, high: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray] | None:
        """Return the slices of the picture from low to high (x, y) and the x and y of their pixels; None outside."""
        height, width = self.picture.shape[:2]
        left, top = np.floor(low - 2).astype(int).clip(0, (width, height))
        right, bottom = np.ceil(high + 3).astype(int).clip(0, (width, height))
        if left >= right or top >= bottom:
            return None
        x, y = np.arange(left, right, dtype=np.float32)[None], np.arange(top, bottom, dtype=np.float32)[:, None]
        return (slice(top, bottom), slice(left, right)), x, y

    def blend(self, where: tuple[slice, slice], color: np.ndarray, alpha: np.ndarray) -> None:
        """Lay a color [H, W, 3] or [3] over a part of the picture."""
        patch = self.picture[where]
        patch += alpha[..., None] * (color - patch)

    def capsule(
        self,
        a,
        b,
        radii: tuple[float, float],
        paint: Paint,
        cut: tuple[float, float] | None = None,
        lowest: float = 1.0,
    ) -> None:
        """Draw a tapered capsule from a to b; radii in parts of the character's height; `cut`: flat at these h;
        `lowest`: the most that its normal points down for the light."""
        a, b = np.asarray(a, np.float32)[:2], np.asarray(b, np.float32)[:2]
        first, last = (radius * self.unit for radius in radii)
        reach = max(first, last) + self.outline
        found = self.box(np.minimum(a, b) - reach, np.maximum(a, b) + reach)
        if found is None:
            return
        where, x, y = found
        dx, dy = x - a[0], y - a[1]
        along = b - a
        square = max(float(along @ along), 1e-6)
        free = (dx * along[0] + dy * along[1]) / square
        h = free.clip(0, 1)
        radius = first + h * (last - first)
        away_x, away_y = dx - h * along[0], dy - h * along[1]
        distance = np.sqrt(away_x**2 + away_y**2)
        edge = distance - radius
        if cut is not None:
            edge = np.maximum(edge, np.maximum(cut[0] - free, free - cut[1]) * np.sqrt(square))
        if self.outline:
            self.blend(where, np.array(OUTLINE, np.float32), (0.5 + self.outline - edge).clip(0, 1))
        right, down = away_x / radius, away_y / radius
        side = (dx * along[1] - dy * along[0]) / np.sqrt(square) / radius
        surface = Surface(h if cut is None else free, side, right, down)
        color = paint(surface) if callable(paint) else np.array(paint, np.float32)
        self.blend(where, color * shade(right, np.minimum(down, lowest))[..., None], (0.5 - edge).clip(0, 1))

    def capsules(self, *solids: tuple[np.ndarray, np.ndarray, tuple[float, float], Paint]) -> None:
        """Draw tapered capsules (a, b, radii, paint) in turn, with one outline about them all."""
        plain = Canvas(self.picture, self.unit)
        if self.outline:
            wider = self.outline / self.unit
            for a, b, (first, last), _ in solids:
                plain.capsule(a, b, (first + wider, last + wider), OUTLINE)
        for a, b, radii, paint in solids:
            plain.capsule(a, b, radii, paint)

    def ball(self, center, radius: float, paint: Paint) -> None:
        """Draw a ball."""
        self.capsule(center, center, (radius, radius), paint)


def shade(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Return the light on a surface by its normal, about 0.65 to 1.06."""
    out = np.sqrt((1 - right**2 - down**2).clip(0, 1))
    light = (right * LIGHT[0] + down * LIGHT[1] + out * LIGHT[2]).clip(-0.3, 1)
    return (AMBIENT + DIFFUSE * light - RIM * (1 - out) ** 2).astype(np.float32)


def layered(base: Color, *layers: tuple[Callable[[Surface], np.ndarray], Color]) -> Paint:
    """Return a paint: `base`, and over it each color where its function of the surface is above 0 (soft to 1)."""

    def paint(surface: Surface) -> np.ndarray:
        color = np.broadcast_to(np.array(base, np.float32), (*surface.h.shape, 3))
        for share, over in layers:
            color = color + share(surface).clip(0, 1)[..., None] * (np.array(over, np.float32) - color)
        return color

    return paint
