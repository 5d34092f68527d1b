"""Clips of the drawn world: who (body and look), where (scene), what (motion), each from its own seed."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from ...dwpose.poses import PoseClip
from .body import Proportions, draw_proportions, joints
from .canvas import Canvas
from .keypoints import keypoints
from .look import Look, Scene, draw_look, draw_scene
from .motion import Motion, draw_motion
from .render import OUTLINE_WIDTH, OVERSAMPLING, draw_character, draw_shadow, shrink
from .scenery import draw_background, draw_bush

MARGIN = 0.02  # of the picture, that a character keeps from its edge
HAND, HAT = 0.06, 0.05  # by which they reach beyond their joints, in parts of the character's height
MARKED = {
    "head": "cap",
    "right_hand": "right_hand",
    "left_hand": "left_hand",
    "right_foot": "right_toe",
    "left_foot": "left_toe",
}


class Clip(NamedTuple):
    """frames uint8 [F, H, W, 3] RGB; poses of the one character; marks: part of MARKED to pixels [F, 2]."""

    frames: np.ndarray
    poses: PoseClip
    marks: dict[str, np.ndarray]


@dataclass(frozen=True)
class Performance:
    """Somebody doing something somewhere."""

    body: Proportions
    look: Look
    scene: Scene
    motion: Motion

    def at(self, frames: slice | np.ndarray) -> "Performance":
        """Return the performance at these of its frames only."""
        return replace(self, motion={name: values[frames] for name, values in self.motion.items()})


def draw_performance(
    seed: int, frames: int, kind: str | None = None, framing: str | None = None, cartoon: bool | None = None
) -> Performance:
    """Return a performance that follows from `seed`, with the character inside the picture if its framing allows it."""
    random = np.random.default_rng(seed)
    body, look, scene = draw_proportions(random), draw_look(random, cartoon), draw_scene(random, framing)
    performance = Performance(body, look, scene, draw_motion(random, frames, kind))
    return performance if scene.ground > 1 else fitted(performance)


def fitted(performance: Performance) -> Performance:
    """Return the performance with the character moved and made smaller until it stays inside the picture."""
    scene = performance.scene
    space = joints(performance.body, performance.motion)
    all_points = np.stack(list(space.values()))
    low, high = all_points[..., 0].min() - HAND, all_points[..., 0].max() + HAND
    top = min(all_points[..., 1].min() - HAND, (space["head"][:, 1]).min() - performance.body.radius - HAT)
    scale = min(scene.scale, (1 - 2 * MARGIN) / (high - low), (scene.ground - MARGIN) / -top)
    feet = np.clip(scene.feet_x, MARGIN - scale * low, 1 - MARGIN - scale * high)
    return replace(performance, scene=replace(scene, scale=float(scale), feet_x=float(feet)))


def make_clip(seed: int, frames: int, size: int = 128, **choices) -> Clip:
    """Return the clip of `draw_performance(seed, frames, **choices)`, size x size pixels."""
    return film(draw_performance(seed, frames, **choices), size)


def film(performance: Performance, size: int) -> Clip:
    """Return the performance as a clip of size x size pixels."""
    body, look, scene, motion = performance.body, performance.look, performance.scene, performance.motion
    large, frames = size * OVERSAMPLING, len(motion["yaw"])
    # the camera's pan in x and y, as fractions of the picture, and its zoom
    views = np.arange(frames)[:, None] / 32 * scene.drift + (0, 0, 1)
    x, y, zoom = views.T
    points = {}
    for name, place in joints(body, motion).items():
        across = (scene.feet_x + scene.scale * place[:, 0] - 0.5) * zoom + 0.5 + x
        down = (scene.ground + scene.scale * place[:, 1] - 0.5) * zoom + 0.5 + y
        points[name] = np.stack([across * large, down * large, place[:, 2]], axis=1)
    background, pictures = draw_background(scene, large), []
    for frame, view in enumerate(views):
        picture = through_camera(background, view)
        unit = scene.scale * large * view[2]
        canvas = Canvas(picture, unit, OUTLINE_WIDTH * large if look.cartoon else 0.0)
        here = {name: place[frame] for name, place in points.items()}
        draw_shadow(canvas, here, ((scene.ground - 0.5) * view[2] + 0.5 + view[1]) * large)
        draw_character(canvas, here, body, look)
        if scene.occluder is not None:
            draw_bush(canvas, scene.occluder)
        pictures.append(shrink(picture))
    small = {name: place * (1 / OVERSAMPLING, 1 / OVERSAMPLING, 1) for name, place in points.items()}
    marks = {part: small[joint][:, :2] for part, joint in MARKED.items()}
    return Clip(np.stack(pictures), keypoints(small, size, size), marks)


def through_camera(background: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Return a copy of the background, panned in x and y and zoomed by `view`."""
    x, y, zoom = view.tolist()
    if (x, y, zoom) == (0, 0, 1):
        return background.copy()
    large = background.shape[0]
    move = np.array([[zoom, 0, large * (0.5 - 0.5 * zoom + x)], [0, zoom, large * (0.5 - 0.5 * zoom + y)]])
    return cv2.warpAffine(background, move, (large, large), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
