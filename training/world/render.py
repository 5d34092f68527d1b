"""A character from soft solids. Joints come as pixels of the large canvas."""

from functools import partial

import cv2
import numpy as np

from .body import Proportions
from .canvas import Canvas, Paint, Surface, layered
from .face import HeadFrame, draw_head, head_frame
from .look import MARKERS, Color, Look, darker

OVERSAMPLING = 2
LENS = 0.5  # pixels by which a camera softens every edge, standard deviation
OUTLINE_WIDTH = 0.014  # of the picture's height
# Radii in parts of the character's height, before girth.
ARM, FOREARM, PALM, THUMB, THIGH, SHIN, SHOE, CHEST, BELLY = 0.06, 0.058, 0.066, 0.032, 0.074, 0.066, 0.07, 0.125, 0.135
DEPTH = 0.78  # of the trunk, of its width
CREAM, LEFT_SIDE = (246, 240, 230), 0.84  # a cuff's color; the light of left limbs to that of right ones
HIP_SHADE = 0.1  # the normal down at which the trunk stops to darken, so that it goes over into the legs
BEHIND, BEFORE = -0.09, 0.1  # depth to the trunk, in heights, at which an arm passes behind it and before the head

Points = dict[str, np.ndarray]


def draw_shadow(canvas: Canvas, points: Points, ground: float) -> None:
    """Darken the ground below the feet, softly."""
    for side in ("right", "left"):
        foot = (points[f"{side}_ankle"] + points[f"{side}_toe"]) / 2
        reach = np.array((0.16, 0.05)) * canvas.unit
        lifted = max(0.0, (ground - points[f"{side}_ankle"][1]) / canvas.unit - 0.06)
        center = np.array((foot[0], ground - 0.012 * canvas.unit))
        found = canvas.box(center - 2 * reach, center + 2 * reach)
        if found is None:
            continue
        where, x, y = found
        away = ((x - center[0]) / reach[0]) ** 2 + ((y - center[1]) / reach[1]) ** 2
        strength = (0.3 / (1 + 8 * lifted)) * np.exp(-1.3 * away)
        canvas.blend(where, np.array((92, 84, 96), np.float32), strength)


def draw_character(canvas: Canvas, points: Points, body: Proportions, look: Look) -> None:
    """Draw a person, what is farther away first. points: x, y in pixels of the canvas and z in heights, [3] each."""
    frame = head_frame(points, canvas.unit, body.radius)
    chest = points["chest"][2]
    parts = [(0.0, partial(_trunk, Canvas(canvas.picture, canvas.unit), points, body, look))]
    if canvas.outline:  # once more, below the legs, which cover the outline where they begin
        parts.append((-1.7, partial(_trunk, canvas, points, body, look)))
    parts.append((2.0, partial(draw_head, canvas, frame, look)))
    parts.append((0.5 if frame.front[2] < 0 else -1.5, partial(_long_hair, canvas, frame, look)))
    for side in ("right", "left"):
        z = (points[f"{side}_elbow"][2] + points[f"{side}_wrist"][2]) / 2 - chest
        place = -2.0 if z < BEHIND else 3.0 if z > BEFORE else 1.0
        parts.append((place + 0.1 * z, partial(_arm, canvas, points, body, look, side)))
        z = (points[f"{side}_knee"][2] + points[f"{side}_ankle"][2]) / 2 - points["pelvis"][2]
        parts.append((-1.0 + 0.1 * z + 0.005 * (side == "left"), partial(_leg, canvas, points, body, look, side)))
    for _, draw in sorted(parts, key=lambda part: part[0]):
        draw()


def shrink(picture: np.ndarray) -> np.ndarray:
    """Return the large picture at its final size, uint8."""
    height, width = (side // OVERSAMPLING for side in picture.shape[:2])
    small = cv2.GaussianBlur(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), (0, 0), LENS)
    return small.round().clip(0, 255).astype(np.uint8)


def _after(place: float, pixels: float):
    """Return the share of a surface whose h is above `place`, over a length of `pixels`."""
    return lambda surface: (surface.h - place) * pixels + 0.5


def _arm(canvas: Canvas, points: Points, body: Proportions, look: Look, side: str) -> None:
    shoulder, elbow, wrist, hand, thumb = (
        points[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist", "hand", "thumb")
    )
    sleeve, skin = _on_side(look.shirt, side), _on_side(look.skin, side)
    if look.top == "overalls":
        sleeve = _on_side(look.second, side)
    length = float(np.linalg.norm((elbow - shoulder)[:2])) + 1
    upper: Paint = sleeve if look.long_sleeves else layered(sleeve, (_after(0.7, length), skin))
    lower = layered(sleeve if look.long_sleeves else skin, (_after(0.72, length), _on_side(CREAM, side)))
    arm, forearm, glove = ARM * body.girth, FOREARM * body.girth, MARKERS[f"{side}_hand"]
    palm = wrist + 0.35 * (hand - wrist)
    canvas.capsules((shoulder, elbow, (arm, forearm), upper), (elbow, wrist, (forearm, forearm), lower))
    canvas.capsules((palm, thumb, (THUMB, THUMB), glove), (palm, hand, (PALM, 0.95 * PALM), glove))


def _leg(canvas: Canvas, points: Points, body: Proportions, look: Look, side: str) -> None:
    hip, knee, ankle, toe = (points[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle", "toe"))
    cloth, skin = _on_side(look.trousers, side), _on_side(look.skin, side)
    upper, lower = {"trousers": (cloth, cloth), "shorts": (cloth, skin), "skirt": (skin, skin)}[look.bottom]
    length = float(np.linalg.norm((ankle - knee)[:2])) + 1
    sock: Paint = lower if look.bottom == "trousers" else layered(lower, (_after(0.6, length), _on_side(CREAM, side)))
    thigh, shin = THIGH * body.girth, SHIN * body.girth
    canvas.capsules((knee, ankle, (shin, shin), sock), (hip, knee, (thigh, 1.06 * shin), upper))
    shoe = layered(MARKERS[f"{side}_foot"], (lambda surface: (surface.down - 0.62) * 6, CREAM))
    canvas.capsule(ankle, toe, (SHOE, 0.95 * SHOE), shoe)


def _trunk(canvas: Canvas, points: Points, body: Proportions, look: Look) -> None:
    neck, pelvis = points["neck"], points["pelvis"]
    across = (points["left_shoulder"] - points["right_shoulder"]) * (1, 1, canvas.unit)
    across = across / np.linalg.norm(across)
    width = body.girth * float(np.hypot(across[0], DEPTH * across[2]))
    top = neck + 0.42 * (pelvis - neck)
    paint = _clothes(look, across)
    canvas.capsule(top, pelvis + 0.12 * (neck - pelvis), (CHEST * width, BELLY * width), paint, lowest=HIP_SHADE)
    if look.bottom == "skirt":
        knees = (points["right_knee"] + points["left_knee"]) / 2
        hem, waist = pelvis + 0.75 * (knees - pelvis), pelvis + 0.28 * (neck - pelvis)
        spread = float(np.abs(points["right_knee"][0] - points["left_knee"][0])) / canvas.unit
        canvas.capsule(waist, hem, (0.86 * BELLY * width, 0.14 + 0.3 * spread), look.trousers, cut=(0.0, 1.0))


def _clothes(look: Look, across: np.ndarray) -> Paint:
    """Return the paint of the trunk; `across` is its unit vector to its left."""
    front, turned = across[0], across[2]

    def around(surface: Surface) -> np.ndarray:
        """Return how far to the left of the chest's middle, in radii; beyond 1 on the back."""
        out = np.sqrt((1 - surface.across**2).clip(0, 1))
        left = -surface.across * front + out * turned
        return np.where(-surface.across * -turned + out * front > 0, left, 9)

    def below(surface: Surface) -> np.ndarray:
        return (surface.h - 0.62 + 0.45 * surface.down) * 12

    def stripes(surface: Surface) -> np.ndarray:
        return np.sin((surface.h * 0.55 + surface.down * 0.5) * 13) * 3

    def band(surface: Surface) -> np.ndarray:
        return (0.2 - np.abs(surface.h * 0.5 + surface.down * 0.5 - 0.12)) * 14

    def heart(surface: Surface) -> np.ndarray:
        x, y = np.abs(around(surface)) / 0.42, 0.1 - (surface.h * 0.5 + surface.down * 0.5 - 0.05) / 0.4
        return (1 - np.hypot(x, 1.2 * y - 0.6 * np.sqrt(x.clip(0, 2)))) * 5

    def star(surface: Surface) -> np.ndarray:
        x, y = around(surface) / 0.46, (surface.h * 0.5 + surface.down * 0.5 - 0.02) / 0.42
        angle = np.arctan2(x, -y)
        return (1 - np.hypot(x, y) * (1.25 - 0.35 * np.cos(5 * angle))) * 5

    def pocket(surface: Surface) -> np.ndarray:
        y = surface.h * 0.5 + surface.down * 0.5
        return np.minimum(0.52 - np.abs(around(surface)) - 0.3 * (0.35 - y), 0.17 - np.abs(y - 0.33)) * 14

    def bib(surface: Surface) -> np.ndarray:
        y = surface.h * 0.5 + surface.down * 0.5
        return np.maximum(np.minimum(0.55 - np.abs(around(surface)), y + 0.12), y - 0.3) * 12

    patterns = {
        "plain": (), "stripes": ((stripes, look.second),), "band": ((band, look.second),),
        "heart": ((heart, look.second),), "star": ((star, look.second),),
        "hoodie": ((pocket, darker(look.shirt, 0.87)),), "overalls": ((bib, look.trousers),),
    }  # fmt: skip
    shirt: Color = look.second if look.top == "overalls" else look.shirt
    lower = () if look.bottom == "skirt" and look.top != "overalls" else ((below, look.trousers),)
    return layered(shirt, *patterns[look.top], *lower)


def _long_hair(canvas: Canvas, frame: HeadFrame, look: Look) -> None:
    if look.hairstyle == "long":
        radius = frame.radius / canvas.unit
        canvas.capsule(frame.at(0, 0.2, -0.45), frame.at(0, 1.25, -0.6), (0.86 * radius, 0.62 * radius), look.hair)


def _on_side(color: Color, side: str) -> Color:
    return darker(color, LEFT_SIDE) if side == "left" else color
