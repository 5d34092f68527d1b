"""Skeleton frames as the model was trained on: drawn at twice the frame's size, then shrunk.

Source: SteadyDancer preprocess/util.py draw_bodypose(), draw_handpose() and pose_align.py, pixel for pixel. No face and
no feet. Upstream swaps red and blue after drawing: its red is OpenPose's blue. Upstream draws the limbs in full colour
and dims the whole canvas; here they are drawn dim, which comes to the same colours at a fraction of the cost.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from .poses import BODY, LEFT_HAND, RIGHT_HAND, PoseClip, Track
from .skeleton import HAND_COLOURS, HAND_EDGES, HAND_JOINT_COLOUR, JOINT_COLOURS, LIMB_BRIGHTNESS, LIMBS

OVERSAMPLING = 2
STICK_HALF_WIDTH, JOINT_RADIUS, HAND_LINE_WIDTH = 4, 4, 2  # pixels of the large drawing
HAND_MARGIN = 0.01  # pixels: a hand's point on or beyond the left or upper edge is not drawn

PALETTES = {"steadydancer": slice(None, None, -1), "openpose": slice(None)}


@dataclass(frozen=True)
class Style:
    """How skeletons look. `palette` is a key of PALETTES; `thickness` multiplies every width, 1 is official."""

    palette: str = "steadydancer"
    thickness: float = 1.0
    hands: bool = True

    def __post_init__(self):
        if self.palette not in PALETTES:
            raise ValueError(f"Unknown palette '{self.palette}'. Choose one of {', '.join(PALETTES)}.")
        if not 0.1 <= self.thickness <= 10:
            raise ValueError(f"Thickness is {self.thickness}; choose 0.1 to 10, 1 being the official width.")

    def colour(self, rgb) -> tuple[float, ...]:
        return tuple(float(c) for c in tuple(rgb)[PALETTES[self.palette]])

    def width(self, pixels: int) -> int:
        return max(1, round(pixels * self.thickness))


OFFICIAL = Style()


def draw_clip(clip: PoseClip, width: int, height: int, style: Style = OFFICIAL) -> Iterator[np.ndarray]:
    """Yield the clip's frames as uint8 [height, width, 3] RGB, drawn at twice the size and shrunk."""
    for frame in range(clip.frames):
        canvas = np.zeros((height * OVERSAMPLING, width * OVERSAMPLING, 3), np.uint8)
        for track in clip.tracks:
            draw_person(canvas, track, frame, style)
        yield shrink(canvas)


def draw_person(canvas: np.ndarray, track: Track, frame: int, style: Style = OFFICIAL) -> None:
    """Draw one person of one frame onto `canvas`, uint8 [H, W, 3] RGB, in place."""
    pixels = track.points[frame] * (canvas.shape[1], canvas.shape[0])
    visible = track.visible[frame]
    _draw_body(canvas, pixels[BODY], visible[BODY], style)
    if style.hands:
        for hand in (LEFT_HAND, RIGHT_HAND):
            inside = (pixels[hand] > HAND_MARGIN).all(axis=1)
            _draw_hand(canvas, pixels[hand], visible[hand] & inside, style)


def _draw_body(canvas: np.ndarray, pixels: np.ndarray, visible: np.ndarray, style: Style) -> None:
    for (start, end), rgb in zip(LIMBS, JOINT_COLOURS, strict=False):
        if visible[start] and visible[end]:
            stick = _stick(pixels[start], pixels[end], style.width(STICK_HALF_WIDTH))
            cv2.fillConvexPoly(canvas, stick, style.colour(int(c * LIMB_BRIGHTNESS) for c in rgb))
    for joint in np.flatnonzero(visible):
        colour = style.colour(JOINT_COLOURS[joint])
        cv2.circle(canvas, _pixel(pixels[joint]), style.width(JOINT_RADIUS), colour, thickness=-1)


def _stick(start: np.ndarray, end: np.ndarray, half_width: int) -> np.ndarray:
    """Return the outline of a limb: an ellipse from joint to joint."""
    (x, y), (dx, dy) = (start + end) / 2, start - end
    length, angle = math.hypot(dx, dy), math.degrees(math.atan2(dy, dx))
    return cv2.ellipse2Poly(_pixel((x, y)), (_whole(length / 2), half_width), int(angle), 0, 360, 1)


def _draw_hand(canvas: np.ndarray, pixels: np.ndarray, visible: np.ndarray, style: Style) -> None:
    for (start, end), rgb in zip(HAND_EDGES, HAND_COLOURS, strict=True):
        if visible[start] and visible[end]:
            line = _pixel(pixels[start]), _pixel(pixels[end])
            cv2.line(canvas, *line, style.colour(rgb), thickness=style.width(HAND_LINE_WIDTH))
    for joint in np.flatnonzero(visible):
        colour = style.colour(HAND_JOINT_COLOUR)
        cv2.circle(canvas, _pixel(pixels[joint]), style.width(JOINT_RADIUS), colour, thickness=-1)


FAR = 1 << 14  # pixels: beyond any canvas, and still inside what OpenCV's fixed-point coordinates hold


def _whole(value: float) -> int:
    return int(min(max(value, -FAR), FAR))


def _pixel(point) -> tuple[int, int]:
    return _whole(point[0]), _whole(point[1])


def shrink(canvas: np.ndarray) -> np.ndarray:
    """Return the drawing [2H, 2W, 3] at [H, W, 3]: bicubic with antialiasing, as upstream's PIL does.

    Only the part that holds anything is computed; PIL keeps the pixels of a box in register with the whole.
    """
    height, width = (side // OVERSAMPLING for side in canvas.shape[:2])
    small = np.zeros((height, width, 3), np.uint8)
    drawn = cv2.boundingRect(canvas.max(axis=2))
    if drawn[2]:
        left, top, right, bottom = _around(drawn, width, height)
        area = tuple(side * OVERSAMPLING for side in (left, top, right, bottom))
        part = Image.fromarray(canvas[area[1] : area[3], area[0] : area[2]])
        # One side after the other: PIL's own order hangs on the shape, and rounding between the two on the order.
        for size in ((right - left, part.height), (right - left, bottom - top)):
            part = part.resize(size, Image.Resampling.BICUBIC)
        small[top:bottom, left:right] = part
    return small


def _around(drawn: tuple[int, int, int, int], width: int, height: int, margin: int = 4) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom in small pixels: the drawn box and the filter's reach around it."""
    x, y, w, h = drawn
    left, top = max(0, x // OVERSAMPLING - margin), max(0, y // OVERSAMPLING - margin)
    right = min(width, (x + w) // OVERSAMPLING + 1 + margin)
    return left, top, right, min(height, (y + h) // OVERSAMPLING + 1 + margin)
