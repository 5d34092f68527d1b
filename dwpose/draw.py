"""Skeleton frames as the model was trained on: drawn at twice the frame's size, then shrunk; no face and no feet.

Source: SteadyDancer preprocess/util.py draw_bodypose(), draw_handpose() and pose_align.py, pixel for pixel. Upstream
swaps red and blue after drawing, and dims the canvas of limbs; here they are drawn dim, to the same colors.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from .packages.opencv import import_cv2
from .poses import BODY, LEFT_HAND, RIGHT_HAND, PoseClip, Track
from .skeleton import HAND_COLORS, HAND_EDGES, HAND_JOINT_COLOR, JOINT_COLORS, LIMB_BRIGHTNESS, LIMBS

OVERSAMPLING = 2
STICK_HALF_WIDTH, JOINT_RADIUS, HAND_LINE_WIDTH = 4, 4, 2  # pixels of the large drawing
HAND_MARGIN = 1  # pixels: a hand's point in the first column or row, or beyond it, is not drawn
FAR = 1 << 14  # pixels: beyond any canvas, and still inside what OpenCV's fixed-point coordinates hold

PALETTES = {"steadydancer": slice(None, None, -1), "openpose": slice(None)}
DRAWN = {
    "limbs": [tuple(int(c * LIMB_BRIGHTNESS) for c in rgb) for rgb in JOINT_COLORS.tolist()[: len(LIMBS)]],
    "joints": JOINT_COLORS.tolist(),
    "hand lines": HAND_COLORS,
    "hand joints": [HAND_JOINT_COLOR],
}
COLORS = {
    (palette, what): [tuple(map(float, rgb[order])) for rgb in colors]
    for palette, order in PALETTES.items()
    for what, colors in DRAWN.items()
}


FILTER_REACH = 4  # small pixels around the drawing that the shrinking filter may color or read


class Box(NamedTuple):
    """Edges in pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class Style:
    """How skeletons are drawn. `palette` is a key of PALETTES; `thickness` multiplies every width, 1 is official."""

    palette: str = "steadydancer"
    thickness: float = 1.0
    hands: bool = True

    def __post_init__(self):
        if self.palette not in PALETTES:
            raise ValueError(f"Unknown palette '{self.palette}'. Choose one of {', '.join(PALETTES)}.")
        if not 0.1 <= self.thickness <= 10:
            raise ValueError(f"Thickness is {self.thickness}; choose 0.1 to 10, 1 being the official width.")

    def width(self, pixels: int) -> int:
        return max(1, round(pixels * self.thickness))


OFFICIAL = Style()


def draw_clip(clip: PoseClip, width: int, height: int, style: Style = OFFICIAL) -> Iterator[np.ndarray]:
    """Yield the clip's frames as uint8 [height, width, 3] RGB, drawn at twice the size and shrunk."""
    for canvas, box in draw_large(clip, width * OVERSAMPLING, height * OVERSAMPLING, style):
        yield shrink(canvas, box)


def draw_large(clip: PoseClip, width: int, height: int, style: Style = OFFICIAL) -> Iterator[tuple[np.ndarray, Box]]:
    """Yield for each frame one and the same canvas, uint8 [height, width, 3] RGB, and the box that was drawn in.

    Only that box is cleared: at 2016x1152 clearing a canvas takes longer than drawing.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for frame in range(clip.frames):
        for track in clip.tracks:
            draw_person(canvas, track, frame, style)
        box = drawn_box(clip, frame, width, height, style)
        yield canvas, box
        canvas[box.top : box.bottom, box.left : box.right] = 0


def drawn_box(clip: PoseClip, frame: int, width: int, height: int, style: Style = OFFICIAL) -> Box:
    """Return a box, cut to the canvas, that holds all that is drawn; its size is 0 if nothing is."""
    points = [track.points[frame][track.visible[frame]] for track in clip.tracks]
    pixels = np.concatenate(points or [np.empty((0, 2))]) * (width, height)
    if not len(pixels):
        return Box(0, 0, 0, 0)
    # A stick's angle is cut to whole degrees: its end misses the joint by 1/57 of half its length.
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    margin = style.width(2 * STICK_HALF_WIDTH) + (high - low).max() / 50
    edges = np.clip(np.concatenate([low - margin, high + margin]), 0, (width, height, width, height))
    return Box(*edges.round().astype(int).tolist())


def draw_person(canvas: np.ndarray, track: Track, frame: int, style: Style = OFFICIAL) -> None:
    """Draw one person of one frame onto `canvas`, uint8 [H, W, 3] RGB, in place."""
    pixels = np.clip(track.points[frame] * (canvas.shape[1], canvas.shape[0]), -FAR, FAR)
    visible = track.visible[frame]
    _draw_body(canvas, pixels[BODY].tolist(), visible[BODY].tolist(), style)
    if style.hands:
        for hand in (LEFT_HAND, RIGHT_HAND):
            whole = pixels[hand].astype(int)  # before the margin is tested, as upstream does
            inside = (whole >= HAND_MARGIN).all(axis=1)
            _draw_hand(canvas, whole.tolist(), (visible[hand] & inside).tolist(), style)


def _draw_body(canvas: np.ndarray, pixels: list, visible: list[bool], style: Style) -> None:
    limbs, joints = COLORS[style.palette, "limbs"], COLORS[style.palette, "joints"]
    half_width, radius = style.width(STICK_HALF_WIDTH), style.width(JOINT_RADIUS)
    cv2 = import_cv2()
    for (start, end), color in zip(LIMBS.tolist(), limbs, strict=True):
        if visible[start] and visible[end]:
            (x, y), (end_x, end_y) = pixels[start], pixels[end]
            length, angle = math.hypot(x - end_x, y - end_y), math.degrees(math.atan2(y - end_y, x - end_x))
            center = int((x + end_x) / 2), int((y + end_y) / 2)
            stick = cv2.ellipse2Poly(center, (int(length / 2), half_width), int(angle), 0, 360, 1)
            cv2.fillConvexPoly(canvas, stick, color)
    for (x, y), seen, color in zip(pixels, visible, joints, strict=True):
        if seen:
            cv2.circle(canvas, (int(x), int(y)), radius, color, thickness=-1)


def _draw_hand(canvas: np.ndarray, pixels: list, visible: list[bool], style: Style) -> None:
    lines, (dot,) = COLORS[style.palette, "hand lines"], COLORS[style.palette, "hand joints"]
    width, radius = style.width(HAND_LINE_WIDTH), style.width(JOINT_RADIUS)
    cv2 = import_cv2()
    # A line is cut near the canvas first, as OpenCV does itself from 4.12 on: all versions draw the same.
    around = (-width, -width, canvas.shape[1] + 2 * width, canvas.shape[0] + 2 * width)
    for (start, end), color in zip(HAND_EDGES.tolist(), lines, strict=True):
        if visible[start] and visible[end]:
            shown, first, last = cv2.clipLine(around, pixels[start], pixels[end])
            if shown:
                cv2.line(canvas, first, last, color, thickness=width)
    for point, seen in zip(pixels, visible, strict=True):
        if seen:
            cv2.circle(canvas, point, radius, dot, thickness=-1)


def shrink(canvas: np.ndarray, box: Box | None = None) -> np.ndarray:
    """Return the drawing [2H, 2W, 3] at [H, W, 3], bicubic with antialiasing, as PIL; outside the box it is black."""
    height, width = (side // OVERSAMPLING for side in canvas.shape[:2])
    small = np.zeros((height, width, 3), np.uint8)
    large = box or Box(0, 0, *canvas.shape[1::-1])
    left, top = (max(0, edge // OVERSAMPLING - FILTER_REACH) for edge in large[:2])
    right = min(width, -(-large.right // OVERSAMPLING) + FILTER_REACH)
    bottom = min(height, -(-large.bottom // OVERSAMPLING) + FILTER_REACH)
    if right > left and bottom > top:
        rows, columns = (slice(a * OVERSAMPLING, b * OVERSAMPLING) for a, b in ((top, bottom), (left, right)))
        part = Image.fromarray(canvas[rows, columns])
        # One side after the other: PIL's own order hangs on the shape, and rounding between the two on the order.
        for size in ((right - left, part.height), (right - left, bottom - top)):
            part = part.resize(size, Image.Resampling.BICUBIC)
        small[top:bottom, left:right] = part
    return small
