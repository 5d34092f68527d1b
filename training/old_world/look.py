"""What a character and its surroundings look like: skin, hair, clothes, background, things in front, camera.

Cap, gloves and shoes have the same vivid colors everywhere (MARKERS); nothing else is as vivid, so that a simple
measurement finds head, hands and feet in any picture of this world.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ..world.look import Color

SKIN = ((247, 220, 200), (236, 196, 164), (214, 168, 132), (176, 128, 98), (134, 94, 72), (96, 68, 54))
HAIR = ((34, 28, 28), (72, 50, 38), (120, 90, 66), (196, 164, 110), (132, 88, 74), (170, 170, 176))
PATTERNS = ("plain", "stripes", "band", "badge", "halves")
DRIFT = (0.04, 0.02, 0.06)  # at most: pan in x and y, as fractions of the picture, and zoom, over two seconds
FRAMINGS = {"whole": (0.62, 0.84), "upper": (1.15, 1.4)}


@dataclass(frozen=True)
class Look:
    """A person's colors and clothes; cartoon characters have an outline."""

    skin: Color
    hair: Color
    shirt: Color
    second: Color
    trousers: Color
    pattern: str = "plain"
    long_hair: bool = False
    long_sleeves: bool = False
    skirt: bool = False
    cartoon: bool = False


@dataclass(frozen=True)
class Prop:
    """A thing in the background: kind, center x and y, width and height in parts of the picture, color."""

    kind: str
    box: tuple[float, float, float, float]
    color: Color


@dataclass(frozen=True)
class Scene:
    """A background and the place in it: ground and feet_x as fractions of the picture, scale in picture heights."""

    wall: tuple[Color, Color]
    floor: Color
    horizon: float
    ground: float
    feet_x: float
    scale: float
    props: tuple[Prop, ...] = ()
    occluder: Prop | None = None
    drift: tuple[float, float, float] = field(default=(0.0, 0.0, 0.0))


def draw_look(random: np.random.Generator, cartoon: bool | None = None) -> Look:
    """Return how somebody looks."""
    return Look(
        skin=SKIN[random.integers(len(SKIN))],
        hair=HAIR[random.integers(len(HAIR))],
        shirt=muted(random),
        second=muted(random),
        trousers=muted(random, 0.25, 0.6),
        pattern=str(random.choice(PATTERNS)),
        long_hair=bool(random.random() < 0.45),
        long_sleeves=bool(random.random() < 0.5),
        skirt=bool(random.random() < 0.25),
        cartoon=bool(random.random() < 0.2) if cartoon is None else cartoon,
    )


def draw_scene(random: np.random.Generator, framing: str | None = None) -> Scene:
    """Return a background and a place in it; `framing` is a key of FRAMINGS."""
    framing = framing or ("upper" if random.random() < 0.12 else "whole")
    scale = random.uniform(*FRAMINGS[framing])
    ground = random.uniform(0.9, 0.96) if framing == "whole" else random.uniform(1.25, 1.4) * scale / 1.15
    wall = muted(random, 0.55, 0.95)
    red, green, blue = (int(c * random.uniform(0.75, 0.95)) for c in wall)
    horizon = random.uniform(0.68, 0.82)
    floor, feet_x = muted(random, 0.35, 0.75), random.uniform(0.42, 0.58)
    props = tuple(_draw_prop(random, horizon) for _ in range(random.integers(0, 4)))
    occluder = None
    if framing == "whole" and random.random() < 0.1:
        x = random.choice((random.uniform(0.2, 0.4), random.uniform(0.6, 0.8)))
        occluder = Prop(
            "box", (x, 0.93, random.uniform(0.14, 0.26), random.uniform(0.14, 0.3)), muted(random, 0.3, 0.7)
        )
    drift = tuple(random.uniform(-1, 1, 3) * DRIFT) if random.random() < 0.08 else (0.0, 0.0, 0.0)
    return Scene((wall, (red, green, blue)), floor, horizon, ground, feet_x, scale, props, occluder, drift)


def placed(scene: Scene, feet_x: float, ground: float, scale: float) -> Scene:
    """Return the scene with the character elsewhere or of another size in it, and nothing in front."""
    return replace(scene, feet_x=feet_x, ground=ground, scale=scale, occluder=None, drift=(0.0, 0.0, 0.0))


def muted(random: np.random.Generator, low: float = 0.3, high: float = 0.95) -> Color:
    """Return a color of saturation below 0.45 and a value between low and high."""
    hsv = np.array([[[random.uniform(0, 180), 255 * random.uniform(0.0, 0.42), 255 * random.uniform(low, high)]]])
    return tuple(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist())


def _draw_prop(random: np.random.Generator, horizon: float) -> Prop:
    kind = str(random.choice(("frame", "disc", "shelf")))
    wide = random.uniform(0.1, 0.24)
    x, y = random.choice((random.uniform(0.05, 0.3), random.uniform(0.7, 0.95))), random.uniform(0.1, horizon - 0.2)
    if kind == "shelf":
        return Prop(kind, (x, horizon - 0.08, wide, random.uniform(0.16, 0.3)), muted(random, 0.3, 0.7))
    return Prop(kind, (x, y, wide, wide * random.uniform(0.8, 1.4)), muted(random))
