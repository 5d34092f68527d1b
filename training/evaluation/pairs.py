"""Pairs of a photo of one person and a video of another, with the true answer: the first doing the second's motion.

Seeds lie above those of training. Kinds of misalignment, in equal numbers: `build`, two very different bodies in the
same place; `place`, the driver far smaller and elsewhere in the picture; `start`, the photo shows another pose than the
video's first; `framing`, the photo shows the upper half, the video the whole body.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...dwpose.poses import PoseClip
from ..world.clips import Clip, Performance
from ..world.store import HELD_OUT
from .worlds import NEW, World

FIRST_SEED = HELD_OUT + 100_000
KINDS = ("build", "place", "start", "framing")
CARTOON_EVERY = 4
FRAMES = 17  # of what is measured


@dataclass(frozen=True)
class Pair:
    """photo uint8 [H, W, 3] and its poses; the driving clip; the true answer, whose first frame is the photo; height:
    the photo's person standing, in pixels."""

    name: str
    category: str
    misalignment: str
    photo: np.ndarray
    photo_poses: PoseClip
    driver: Clip
    truth: Clip
    height: float


def make_pairs(count: int, frames: int, size: int, kinds: tuple[str, ...] = KINDS, world: World = NEW) -> list[Pair]:
    """Return `count` pairs, the kinds in turn."""
    return [make_pair(index, kinds[index % len(kinds)], frames, size, world) for index in range(count)]


def make_pair(index: int, kind: str, frames: int, size: int, world: World = NEW) -> Pair:
    """Return the pair of a number and a kind of misalignment."""
    seed, cartoon = FIRST_SEED + 2 * index, index // len(KINDS) % CARTOON_EVERY == 0
    random = np.random.default_rng(seed)
    draw_performance, film, placed = world.clips.draw_performance, world.clips.film, world.look.placed
    framing = "upper" if kind == "framing" else "whole"
    person = draw_performance(seed, frames, framing=framing, cartoon=cartoon)
    driver = draw_performance(seed + 1, frames, kind="dance", framing="whole")
    person = replace(person, scene=placed(person.scene, person.scene.feet_x, person.scene.ground, person.scene.scale))
    driver = replace(driver, scene=placed(driver.scene, driver.scene.feet_x, driver.scene.ground, driver.scene.scale))
    person, driver = _misaligned(world, person, driver, kind, random)
    answer = replace(person, motion=driver.motion)
    answer = answer if kind == "framing" else world.clips.fitted(answer)
    truth, photo = film(answer, size), None
    if kind == "start":
        photo = film(replace(answer, motion=world.motion.draw_motion(random, 1, "dance")), size)
        truth = Clip(np.concatenate([photo.frames, truth.frames[1:]]), truth.poses, truth.marks)
    photo = photo or Clip(truth.frames[:1], truth.poses.at(slice(0, 1)), {})
    category = "cartoon" if cartoon else "upper body" if framing == "upper" else "whole body"
    height = answer.scene.scale * size
    return Pair(f"{index:03d}-{kind}", category, kind, photo.frames[0], photo.poses, film(driver, size), truth, height)


def _misaligned(
    world: World, person: Performance, driver: Performance, kind: str, random: np.random.Generator
) -> tuple[Performance, Performance]:
    fitted, ranges = world.clips.fitted, world.body.RANGES
    if kind == "build":
        out = []
        for performance, way in ((person, 1), (driver, -1)):  # long legs and a small head, then the reverse
            ends = {part: ranges[part][0] + sign * way * ranges[part][1] for part, sign in (("leg", 1), ("head", -1))}
            out.append(fitted(replace(performance, body=replace(performance.body, **ends))))
        return out[0], out[1]
    if kind == "place":
        scale = driver.scene.scale * random.uniform(0.5, 0.65)
        scene = world.look.placed(driver.scene, random.choice((0.3, 0.7)), random.uniform(0.7, 0.85), scale)
        return person, fitted(replace(driver, scene=scene))
    return person, driver
