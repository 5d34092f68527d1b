"""Skeleton frames as the model was trained on: drawn at twice the frame's size, then shrunk; no face and no feet.

Source: SteadyDancer preprocess/util.py draw_bodypose(), draw_handpose() and pose_align.py, pixel for pixel. Upstream
swaps red and blue after drawing, and dims the canvas of limbs; here they are drawn dim, to the same colors.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .large_canvas import LargeCanvas
from .packages.opencv import import_cv2
from .poses import BODY, LEFT_HAND, RIGHT_HAND, PoseClip, Track
from .skeleton import HAND_COLORS, HAND_EDGES, HAND_JOINT_COLOR, JOINT_COLORS, LIMB_BRIGHTNESS, LIMBS

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
    canvas = LargeCanvas(width, height)
    for frame in range(clip.frames):
        picture = np.zeros((height, width, 3), np.uint8)
        draw_frame(clip, frame, picture, canvas, style)
        yield picture


def draw_frame(clip: PoseClip, frame: int, picture: np.ndarray, canvas: LargeCanvas, style: Style = OFFICIAL) -> None:
    """Draw one frame to `picture`, black [height, width, 3] of uint8 or of floats in 0..1, by way of `canvas`."""
    for track in clip.tracks:
        draw_person(canvas.drawing, track, frame, style)
    canvas.move_to(picture)


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
