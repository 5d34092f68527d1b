"""Pictures of a character in a room, drawn large and shrunk. Joints come as pixels of the large canvas."""

from functools import partial

import cv2
import numpy as np

from ..world.look import MARKERS, Color
from .body import Proportions
from .look import Look, Prop, Scene

OVERSAMPLING = 3
SUBPIXEL_BITS = 4
EYE, OUTLINE, MOUTH = (36, 26, 26), (30, 24, 30), (128, 84, 78)
LENS = 0.55  # pixels by which a camera softens every edge, standard deviation
OUTLINE_WIDTH = 0.008  # of the picture's height
# Widths in parts of the character's height, before girth.
ARM, FOREARM, GLOVE, THIGH, SHIN, SHOE, TORSO = 0.058, 0.05, 0.092, 0.084, 0.064, 0.074, 0.07
SLIM = {"arm": 0.5, "leg": 0.6, "torso": 0.9}  # how much of the girth each takes

Points = dict[str, np.ndarray]


class Canvas:
    """A large picture and the size of a character on it in pixels."""

    def __init__(self, picture: np.ndarray, unit: float, outline: float = 0.0):
        self.picture, self.unit, self.outline = picture, unit, outline

    def line(self, a: np.ndarray, b: np.ndarray, width: float, color: Color) -> None:
        """Draw a limb with round ends; width in parts of the character's height."""
        for extra, paint in self._passes(color):
            thickness = max(1, round(width * self.unit + 2 * extra))
            cv2.line(self.picture, _fixed(a), _fixed(b), paint, thickness, cv2.LINE_AA, SUBPIXEL_BITS)

    def polygon(self, corners: list[np.ndarray], color: Color, rounding: float = 0.0) -> None:
        """Fill a polygon whose edge is `rounding` parts of the character's height wide and round."""
        points = np.array([_fixed(corner) for corner in corners])
        for extra, paint in self._passes(color):
            cv2.fillConvexPoly(self.picture, cv2.convexHull(points), paint, cv2.LINE_AA, SUBPIXEL_BITS)
            width = max(1, round(rounding * self.unit + 2 * extra))
            cv2.polylines(self.picture, [points], True, paint, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def ellipse(self, center: np.ndarray, radii: tuple[float, float], color: Color, angle: float = 0, arc=(0, 360)):
        """Fill an ellipse, or its part from arc[0] to arc[1] degrees; radii in parts of the character's height."""
        for extra, paint in self._passes(color):
            axes = tuple(round((r * self.unit + extra) * 2**SUBPIXEL_BITS) for r in radii)
            cv2.ellipse(self.picture, _fixed(center), axes, angle, *arc, paint, -1, cv2.LINE_AA, SUBPIXEL_BITS)

    def dot(self, center: np.ndarray, radius: float, color: Color) -> None:
        """Fill a small disc without an outline."""
        pixels = round(radius * self.unit * 2**SUBPIXEL_BITS)
        cv2.circle(self.picture, _fixed(center), pixels, color, -1, cv2.LINE_AA, SUBPIXEL_BITS)

    def _passes(self, color: Color) -> list[tuple[float, Color]]:
        return ([(self.outline, OUTLINE)] if self.outline else []) + [(0.0, color)]


def draw_background(scene: Scene, width: int, height: int) -> np.ndarray:
    """Return the empty room, uint8 [height, width, 3]."""
    rows = np.arange(height)[:, None, None] / height
    wall, shade = (np.array(color, float) for color in scene.wall)
    room = np.broadcast_to(wall + (shade - wall) * rows / scene.horizon, (height, width, 3)).copy()
    room[round(scene.horizon * height) :] = scene.floor
    picture = np.ascontiguousarray(room.clip(0, 255).astype(np.uint8))
    for prop in scene.props:
        draw_prop(picture, prop)
    return picture


def draw_prop(picture: np.ndarray, prop: Prop) -> None:
    """Draw a thing of the room in place."""
    size = np.array(picture.shape[1::-1])
    center, half = np.array(prop.box[:2]) * size, np.array(prop.box[2:]) * size / 2
    dark = tuple(int(0.7 * c) for c in prop.color)
    low, high = _fixed(center - half), _fixed(center + half)
    if prop.kind == "disc":
        radius = int(half[0] * 2**SUBPIXEL_BITS)
        cv2.circle(picture, _fixed(center), radius, prop.color, -1, cv2.LINE_AA, SUBPIXEL_BITS)
        return
    cv2.rectangle(picture, low, high, prop.color, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    cv2.rectangle(picture, low, high, dark, max(1, picture.shape[0] // 96), cv2.LINE_AA, SUBPIXEL_BITS)
    if prop.kind == "shelf":
        left, right = (np.array((center[0] + sign * half[0], center[1])) for sign in (-1, 1))
        cv2.line(picture, _fixed(left), _fixed(right), dark, max(1, picture.shape[0] // 96), cv2.LINE_AA, SUBPIXEL_BITS)


def draw_character(canvas: Canvas, points: Points, body: Proportions, look: Look) -> None:
    """Draw a person, what is farther away first. points: x, y in pixels of the canvas and z, [3] each."""
    parts = [(0.0, partial(_torso, canvas, points, body, look)), (0.004, partial(_head, canvas, points, body, look))]
    for side in ("right", "left"):
        z = points[f"{side}_elbow"][2] + points[f"{side}_wrist"][2] - 2 * points["chest"][2]
        parts.append((z / 2 + 0.02, partial(_arm, canvas, points, body, look, side)))
        z = points[f"{side}_knee"][2] - points["pelvis"][2]
        parts.append((min(z, 0) - 0.05 + 0.04 * z, partial(_leg, canvas, points, body, look, side)))
    for _, draw in sorted(parts, key=lambda part: part[0]):
        draw()


def shrink(picture: np.ndarray) -> np.ndarray:
    """Return the large picture at its final size."""
    height, width = (side // OVERSAMPLING for side in picture.shape[:2])
    return cv2.GaussianBlur(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), (0, 0), LENS)


def _arm(canvas: Canvas, points: Points, body: Proportions, look: Look, side: str) -> None:
    girth = 1 + SLIM["arm"] * (body.girth - 1)
    shoulder, elbow, wrist, hand = (points[f"{side}_{j}"] for j in ("shoulder", "elbow", "wrist", "hand"))
    canvas.line(elbow, wrist, FOREARM * girth, look.shirt if look.long_sleeves else look.skin)
    canvas.line(shoulder, elbow, ARM * girth, _darker(look.shirt))
    canvas.line(wrist, hand, GLOVE, MARKERS[f"{side}_hand"])


def _leg(canvas: Canvas, points: Points, body: Proportions, look: Look, side: str) -> None:
    girth = 1 + SLIM["leg"] * (body.girth - 1)
    hip, knee, ankle, toe = (points[f"{side}_{j}"] for j in ("hip", "knee", "ankle", "toe"))
    thigh, shin = (_darker(look.skin), look.skin) if look.skirt else (look.trousers, _darker(look.trousers, 0.9))
    canvas.line(knee, ankle, SHIN * girth, shin)
    canvas.line(hip, knee, THIGH * girth, thigh)
    canvas.line(ankle, toe, SHOE, MARKERS[f"{side}_foot"])


def _torso(canvas: Canvas, points: Points, body: Proportions, look: Look) -> None:
    girth = 1 + SLIM["torso"] * (body.girth - 1)
    shoulders, hips = ([points[f"{s}_{j}"] for s in ("right", "left")] for j in ("shoulder", "hip"))
    if look.skirt:
        knees = [points[f"{s}_hip"] + 0.75 * (points[f"{s}_knee"] - points[f"{s}_hip"]) for s in ("left", "right")]
        canvas.polygon([*hips, *knees], look.trousers, 1.5 * TORSO * girth)
    canvas.line(points["neck"], points["head"], 0.045, look.skin)
    canvas.polygon([*shoulders, *hips[::-1]], look.shirt, TORSO * girth)
    _pattern(canvas, shoulders, hips, look, TORSO * girth)


def _pattern(canvas: Canvas, shoulders: list, hips: list, look: Look, width: float) -> None:
    def across(part: float) -> list[np.ndarray]:
        return [shoulder + part * (hip - shoulder) for shoulder, hip in zip(shoulders, hips, strict=True)]

    plain = Canvas(canvas.picture, canvas.unit)
    if look.pattern == "stripes":
        for part in (0.1, 0.45, 0.8):
            plain.line(*across(part), 0.5 * width, look.second)
    elif look.pattern == "band":
        plain.line(*across(0.55), width, look.second)
    elif look.pattern == "halves":
        plain.polygon([*across(0.55), *hips[::-1]], look.second, width)
    elif look.pattern == "badge":
        plain.ellipse(np.mean([*across(0.35)], axis=0), (0.045, 0.045), look.second)


def _head(canvas: Canvas, points: Points, body: Proportions, look: Look) -> None:
    r, center = body.head, points["head"]
    axis = points["cap"][:2] - center[:2]
    tilt = float(np.degrees(np.arctan2(axis[0], -axis[1])))
    facing = points["nose"][2] - center[2] > 0
    if look.long_hair and facing:
        canvas.ellipse(center - 0.35 * (points["cap"] - center), (1.08 * r, 1.3 * r), look.hair, tilt)
    canvas.ellipse(center, (0.86 * r, r), look.skin if facing else look.hair, tilt)
    if facing:
        for eye in ("right_eye", "left_eye"):
            if points[eye][2] > center[2]:
                canvas.dot(points[eye], 0.13 * r, EYE)
        canvas.dot(0.5 * (points["nose"] + center) - 0.55 * (points["cap"] - center), 0.12 * r, MOUTH)
    elif look.long_hair:
        canvas.ellipse(center - 0.5 * (points["cap"] - center), (1.05 * r, 1.25 * r), look.hair, tilt)
    canvas.ellipse(center + 0.2 * (points["cap"] - center), (1.0 * r, 0.98 * r), MARKERS["head"], tilt, (180, 360))


def _darker(color: Color, by: float = 0.86) -> Color:
    red, green, blue = color
    return int(by * red), int(by * green), int(by * blue)


def _fixed(point) -> tuple[int, int]:
    return round(float(point[0]) * 2**SUBPIXEL_BITS), round(float(point[1]) * 2**SUBPIXEL_BITS)
