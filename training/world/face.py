"""A head as a ball whose face, hair and hat turn with it: every pixel knows its place on the head."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .canvas import OUTLINE, Canvas, shade
from .look import MARKERS, Color, Look, darker

CAP_SIZE = 1.08  # of the hat's ball
WHITE, PUPIL, MOUTH, TONGUE = (252, 250, 246), (48, 38, 44), (116, 64, 66), (214, 140, 136)
CHEEK, NOSE = (236, 160, 150), 0.86
HAT_EDGE = {"cap": 0.3, "beanie": 0.26}  # how far above the eyes' line a hat ends in front, in radii
HAT_TILT = {"cap": 0.16, "beanie": 0.22}  # how much lower it is behind


class HeadFrame(NamedTuple):
    """Center (x, y, z in pixels), radius in pixels, and the unit vectors of the head's left, down and front."""

    center: np.ndarray
    radius: float
    left: np.ndarray
    down: np.ndarray
    front: np.ndarray

    def at(self, left: float, down: float, front: float) -> np.ndarray:
        """Return a place in pixels from one in radii."""
        return self.center + self.radius * (left * self.left + down * self.down + front * self.front)


def head_frame(points: dict[str, np.ndarray], unit: float, radius: float) -> HeadFrame:
    """Return where a head is and how it is turned; `unit` pixels are one height of the character."""
    scale = np.array((1, 1, unit))
    across = (points["left_ear"] - points["right_ear"]) * scale
    down = (points["head"] - points["cap"]) * scale
    left, down = across / np.linalg.norm(across), down / np.linalg.norm(down)
    return HeadFrame(points["head"] * scale, radius * unit, left, down, np.cross(left, down))


class Ball(NamedTuple):
    """Pixels of a ball: slices, places in the head's frame in radii, normals, and cover from 0 to 1."""

    where: tuple[slice, slice]
    left: np.ndarray
    down: np.ndarray
    front: np.ndarray
    light: np.ndarray
    cover: np.ndarray
    rim: np.ndarray


def draw_head(canvas: Canvas, frame: HeadFrame, look: Look) -> None:
    """Draw head, face, hair and hat."""
    ears = [frame.at(side, 0.14, 0) for side in (-0.98, 0.98)]
    for ear in ears:
        canvas.ball(ear, 0.2 * frame.radius / canvas.unit, look.skin)
    for ball_center, radius in sorted(_hair_balls(frame, look), key=lambda ball: ball[0][2]):
        if ball_center[2] < frame.center[2] + 0.3 * frame.radius:
            canvas.ball(ball_center, radius * frame.radius / canvas.unit, look.hair)
    brim_in_front = frame.front[2] > -0.05
    if look.hat == "cap" and not brim_in_front:
        _brim(canvas, frame)
    ball = _ball(canvas, frame, 1.0)
    if ball is not None:
        _blend(canvas, ball, _face(ball, frame.radius, look), ball.cover, ball.rim)
    for ball_center, radius in _hair_balls(frame, look):
        if ball_center[2] >= frame.center[2] + 0.3 * frame.radius:
            canvas.ball(ball_center, radius * frame.radius / canvas.unit, look.hair)
    _hat(canvas, frame, look)
    if look.hat == "cap" and brim_in_front:
        _brim(canvas, frame)


def _ball(canvas: Canvas, frame: HeadFrame, size: float) -> Ball | None:
    radius = size * frame.radius
    found = canvas.box(frame.center[:2] - radius - canvas.outline, frame.center[:2] + radius + canvas.outline)
    if found is None:
        return None
    where, x, y = found
    right, down = np.broadcast_arrays((x - frame.center[0]) / radius, (y - frame.center[1]) / radius)
    distance = np.sqrt(right**2 + down**2)
    inside = np.maximum(distance, 1)
    right, down = right / inside, down / inside
    normal = np.stack([right, down, np.sqrt((1 - right**2 - down**2).clip(0, 1))], axis=-1)
    places = (normal @ axis.astype(np.float32) for axis in (frame.left, frame.down, frame.front))
    edge = (distance - 1) * radius
    return Ball(where, *places, shade(right, down), (0.5 - edge).clip(0, 1), (0.5 + canvas.outline - edge).clip(0, 1))


def _blend(canvas: Canvas, ball: Ball, color: np.ndarray, cover: np.ndarray, rim: np.ndarray) -> None:
    if canvas.outline:
        canvas.blend(ball.where, np.array(OUTLINE, np.float32), rim)
    canvas.blend(ball.where, color * ball.light[..., None], cover)


def _face(ball: Ball, pixels: float, look: Look) -> np.ndarray:
    color = np.broadcast_to(np.array(look.skin, np.float32), (*ball.light.shape, 3)).copy()

    def spot(left: float, down: float, wide: float, high: float, over: Color, strength=1.0, lower=False) -> None:
        reach = np.hypot((ball.left - left) / wide, (ball.down - down) / high)
        alpha = ((1 - reach) * min(wide, high) * pixels + 0.5).clip(0, 1) * (ball.front > 0.05)
        if lower:
            alpha = alpha * ((ball.down - down) * pixels + 0.5).clip(0, 1)
        color[:] += strength * alpha[..., None] * (np.array(over, np.float32) - color)

    for side in (-1, 1):
        spot(side * 0.56, 0.4, 0.18, 0.13, CHEEK, 0.55)
        spot(side * 0.34, 0.04, 0.17, 0.23, WHITE)
        spot(side * 0.33, 0.06, 0.125, 0.175, PUPIL)
        spot(side * 0.33 - 0.04, -0.02, 0.055, 0.065, WHITE)
        spot(side * 0.36, -0.25, 0.16, 0.05, darker(look.hair, 0.8))
    spot(0, 0.27, 0.09, 0.07, darker(look.skin, NOSE))
    if look.smile:
        spot(0, 0.44, 0.25, 0.24, MOUTH, lower=True)
        spot(0, 0.62, 0.12, 0.07, TONGUE, 0.8)
    else:
        spot(0, 0.42, 0.24, 0.17, MOUTH, lower=True)
        spot(0, 0.38, 0.22, 0.13, look.skin, lower=True)
    hair = np.maximum(0.1 - ball.front + 0.25 * (ball.down < -0.2), -0.16 - 0.3 * np.abs(ball.left) - ball.down)
    if look.hairstyle == "short":
        hair = np.minimum(hair, 0.62 - ball.down)
    color += (hair * pixels + 0.5).clip(0, 1)[..., None] * (np.array(look.hair, np.float32) - color)
    return color


def _hair_balls(frame: HeadFrame, look: Look) -> Iterator[tuple[np.ndarray, float]]:
    """Yield center and radius (in radii) of the parts of a hairstyle that stand out from the head."""
    places: dict[str, tuple[tuple[float, float, float, float], ...]] = {
        "bob": ((0.72, 0.45, -0.1, 0.46), (0, 0.35, -0.5, 0.75)),
        "long": ((0.78, 0.55, -0.2, 0.42), (0, 0.4, -0.5, 0.75)),
        "buns": ((1.0, -0.5, -0.25, 0.4),),
        "curls": ((0.88, 0.0, -0.15, 0.34), (0.85, 0.45, -0.2, 0.36), (0, 0.45, -0.65, 0.6)),
    }
    for left, down, front, radius in places.get(look.hairstyle, ()):
        for side in (-1, 1) if left else (1,):
            yield frame.at(side * left, down, front), radius


def _hat(canvas: Canvas, frame: HeadFrame, look: Look) -> None:
    if look.hat == "beanie":
        canvas.ball(frame.at(0, -1.16, -0.1), 0.24 * frame.radius / canvas.unit, (248, 238, 240))
    ball = _ball(canvas, frame, CAP_SIZE)
    if ball is None:
        return
    inside = -ball.down - HAT_EDGE[look.hat] - HAT_TILT[look.hat] * ball.front
    share = (inside * CAP_SIZE * frame.radius + 0.5).clip(0, 1)
    color = np.broadcast_to(np.array(MARKERS["head"], np.float32), (*share.shape, 3))
    if look.hat == "beanie":
        cuff = ((0.24 - inside) * frame.radius + 0.5).clip(0, 1)[..., None]
        color = color + cuff * (np.array(darker(MARKERS["head"], 0.82), np.float32) - color)
    rim = ball.rim * ((inside * CAP_SIZE * frame.radius + canvas.outline) + 0.5).clip(0, 1)
    _blend(canvas, ball, color, ball.cover * share, rim)


def _brim(canvas: Canvas, frame: HeadFrame) -> None:
    color, unit = darker(MARKERS["head"], 0.85), frame.radius / canvas.unit
    solids = []
    for reach, wide, radius in ((0.92, 0.58, 0.14), (1.16, 0.52, 0.15), (1.36, 0.34, 0.14)):
        right, left = (frame.at(side * wide, -0.5 + 0.14 * (reach - 0.95), reach) for side in (-1, 1))
        solids.append((right, left, (radius * unit, radius * unit), color))
    canvas.capsules(*solids)
