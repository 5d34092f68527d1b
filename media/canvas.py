"""A picture to draw diagrams on: twice as large as shown, then shrunk, so that lines are smooth.

Coordinates and widths are pixels of the picture as shown. The same drawing gives the same bytes.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

OVERSAMPLING = 2
BACKGROUND, PANEL, GRID = (24, 24, 28), (32, 32, 38), (70, 70, 78)
INK, FAINT, ACCENT, BEST = (230, 230, 230), (160, 160, 168), (90, 170, 255), (120, 210, 130)
TEXT_SIZE = 14
Color = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    def __init__(self, width: int, height: int):
        self.size = width, height
        self._image = Image.new("RGB", (width * OVERSAMPLING, height * OVERSAMPLING), BACKGROUND)
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        if right >= left and bottom >= top:
            self._draw.rectangle(_large([(left, top), (right, bottom)]), fill=color)

    def line(self, points: Sequence[Point], color: Color, width: float = 1.5) -> None:
        """Draw a line through the points; a single point is a dot."""
        if len(points) == 1:
            (x, y), radius = points[0], width
            self._draw.ellipse(_large([(x - radius, y - radius), (x + radius, y + radius)]), fill=color)
        else:
            self._draw.line(_large(points), fill=color, width=round(width * OVERSAMPLING), joint="curve")

    def text(self, x: float, y: float, text: str, color: Color = INK, anchor: str = "la", size: int = TEXT_SIZE):
        """Write a line of text; anchor: as in Pillow, "la" puts its upper left corner at x, y."""
        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size * OVERSAMPLING)
        at = x * OVERSAMPLING, y * OVERSAMPLING
        self._draw.text(at, text, fill=color, font=self._fonts[size], anchor=anchor)

    def paste(self, picture: np.ndarray, left: int = 0, top: int = 0) -> None:
        """Draw a picture, uint8 [h, w, 3], with its upper left corner at left, top; its pixels stay unchanged."""
        large = picture.repeat(OVERSAMPLING, axis=0).repeat(OVERSAMPLING, axis=1)
        self._image.paste(Image.fromarray(large), (left * OVERSAMPLING, top * OVERSAMPLING))

    def picture(self) -> np.ndarray:
        """Return uint8 [height, width, 3] RGB."""
        return np.asarray(self._image.resize(self.size, Image.Resampling.BOX))


def _large(points: Sequence[Point]) -> list[Point]:
    return [(x * OVERSAMPLING, y * OVERSAMPLING) for x, y in points]
