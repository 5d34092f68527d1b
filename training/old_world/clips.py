"""Clips of the drawn world: who (body and look), where (scene), what (motion), each from its own seed."""

from dataclasses import dataclass, replace

import numpy as np

from ..world.clips import MARKED, Clip, through_camera
from ..world.keypoints import keypoints
from .body import Proportions, draw_proportions, joints
from .look import Look, Scene, draw_look, draw_scene
from .motion import Motion, draw_motion
from .render import OUTLINE_WIDTH, OVERSAMPLING, Canvas, draw_background, draw_character, draw_prop, shrink

MARGIN = 0.04  # of the picture, that a character's hands and head keep from its edge


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
    low, high = all_points[..., 0].min() - 0.04, all_points[..., 0].max() + 0.04
    top = all_points[..., 1].min() - 0.03
    scale = min(scene.scale, (1 - 2 * MARGIN) / (high - low), (scene.ground - MARGIN) / -top)
    feet = np.clip(scene.feet_x, MARGIN - scale * low, 1 - MARGIN - scale * high)
    return replace(performance, scene=replace(scene, scale=float(scale), feet_x=float(feet)))


def make_clip(seed: int, frames: int, size: int = 96, **choices) -> Clip:
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
    background, pictures = draw_background(scene, large, large), []
    for frame, view in enumerate(views):
        picture = through_camera(background, view)
        unit = scene.scale * large * view[2]
        canvas = Canvas(picture, unit, OUTLINE_WIDTH * large if look.cartoon else 0.0)
        draw_character(canvas, {name: place[frame] for name, place in points.items()}, body, look)
        if scene.occluder:
            draw_prop(picture, scene.occluder)
        pictures.append(shrink(picture))
    small = {name: place * (1 / OVERSAMPLING, 1 / OVERSAMPLING, 1) for name, place in points.items()}
    marks = {part: small[joint][:, :2] for part, joint in MARKED.items()}
    return Clip(np.stack(pictures), keypoints(small, size, size), marks)
