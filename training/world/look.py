"""What a character and its surroundings look like: palette, clothes, hair, setting, camera.

Hat, gloves and shoes have the same vivid colors everywhere (MARKERS); nothing else is as vivid, so that a simple
measurement finds head, hands and feet in any picture of this world.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

Color = tuple[int, int, int]
MARKERS: dict[str, Color] = {
    "head": (225, 30, 195), "right_hand": (235, 40, 30), "left_hand": (40, 80, 240),
    "right_foot": (250, 200, 10), "left_foot": (25, 180, 60),
}  # fmt: skip
SKIN = ((252, 224, 204), (244, 206, 176), (226, 180, 144), (196, 146, 112), (154, 108, 82), (118, 82, 64))
HAIR = ((52, 44, 50), (84, 60, 50), (134, 98, 74), (212, 176, 120), (158, 104, 86), (186, 184, 192))
# Shirt, second color of the shirt, trousers or skirt.
PALETTES: tuple[tuple[Color, Color, Color], ...] = (
    ((244, 236, 220), (120, 160, 176), (84, 104, 140)), ((142, 186, 182), (246, 238, 224), (92, 96, 120)),
    ((232, 178, 150), (250, 236, 220), (108, 120, 150)), ((170, 156, 206), (240, 232, 246), (96, 88, 128)),
    ((240, 214, 150), (250, 244, 228), (112, 128, 120)), ((150, 190, 222), (246, 248, 250), (72, 88, 120)),
    ((206, 150, 150), (246, 228, 222), (104, 84, 92)), ((164, 192, 146), (244, 240, 220), (124, 104, 88)),
    ((250, 246, 238), (214, 152, 140), (94, 110, 136)), ((96, 118, 152), (232, 224, 208), (188, 172, 146)),
    ((226, 196, 206), (250, 244, 246), (134, 120, 156)), ((120, 148, 128), (236, 226, 196), (90, 84, 84)),
    ((238, 190, 132), (118, 134, 142), (84, 94, 104)), ((184, 214, 206), (238, 170, 150), (104, 128, 136)),
    ((208, 196, 232), (140, 126, 180), (82, 86, 118)), ((250, 228, 180), (206, 140, 120), (130, 96, 86)),
    ((136, 160, 196), (242, 214, 170), (98, 90, 100)), ((222, 222, 226), (136, 142, 156), (86, 90, 106)),
    ((188, 134, 120), (244, 226, 204), (82, 100, 104)), ((206, 222, 170), (132, 160, 120), (104, 96, 80)),
    ((244, 204, 190), (166, 120, 128), (122, 110, 142)), ((148, 208, 204), (250, 250, 240), (206, 182, 148)),
    ((106, 96, 132), (216, 196, 222), (168, 158, 178)), ((234, 226, 200), (160, 176, 140), (136, 112, 92)),
    ((176, 198, 226), (108, 128, 168), (226, 216, 198)), ((216, 168, 186), (244, 220, 226), (116, 128, 164)),
    ((126, 134, 146), (230, 196, 140), (76, 80, 92)), ((246, 240, 246), (172, 150, 200), (120, 104, 150)),
    ((198, 176, 140), (246, 238, 220), (92, 108, 92)), ((160, 212, 176), (244, 250, 240), (94, 120, 132)),
)  # fmt: skip
TOPS = ("plain", "stripes", "band", "heart", "star", "hoodie", "overalls")
BOTTOMS, BOTTOM_SHARES = ("trousers", "shorts", "skirt"), (0.45, 0.3, 0.25)
HAIRSTYLES = ("short", "bob", "long", "buns", "curls")
HATS = ("cap", "beanie")
SETTINGS = ("studio", "park", "beach", "room", "stage", "snow")
TINT = 8  # by which a palette's colors vary
DRIFT, DRIFT_SHARE = (0.03, 0.015, 0.04), 0.02  # at most: pan in x and y, and zoom, over two seconds
OCCLUDER_SHARE, UPPER_SHARE = 0.03, 0.08
FRAMINGS = {"whole": (0.76, 0.88), "upper": (1.2, 1.4)}


@dataclass(frozen=True)
class Look:
    """A person's colors and clothes; cartoon characters have an outline."""

    skin: Color
    hair: Color
    shirt: Color
    second: Color
    trousers: Color
    top: str = "plain"
    bottom: str = "trousers"
    hairstyle: str = "short"
    hat: str = "cap"
    long_sleeves: bool = False
    smile: bool = True
    cartoon: bool = False


@dataclass(frozen=True)
class Scene:
    """A setting and the place in it: ground and feet_x as fractions of the picture, scale in picture heights; its
    things follow from `seed`; `occluder` is the x of a bush in front."""

    setting: str
    seed: int
    ground: float
    feet_x: float
    scale: float
    occluder: float | None = None
    drift: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_look(random: np.random.Generator, cartoon: bool | None = None) -> Look:
    """Return how somebody looks."""
    colors = PALETTES[random.integers(len(PALETTES))]
    shirt, second, trousers = (varied(random, color) for color in colors)
    return Look(
        skin=SKIN[random.integers(len(SKIN))],
        hair=HAIR[random.integers(len(HAIR))],
        shirt=shirt,
        second=second,
        trousers=trousers,
        top=str(random.choice(TOPS)),
        bottom=str(random.choice(BOTTOMS, p=BOTTOM_SHARES)),
        hairstyle=str(random.choice(HAIRSTYLES)),
        hat=str(random.choice(HATS, p=(0.65, 0.35))),
        long_sleeves=bool(random.random() < 0.5),
        smile=bool(random.random() < 0.6),
        cartoon=bool(random.random() < 0.2) if cartoon is None else cartoon,
    )


def draw_scene(random: np.random.Generator, framing: str | None = None) -> Scene:
    """Return a setting and a place in it; `framing` is a key of FRAMINGS."""
    framing = framing or ("upper" if random.random() < UPPER_SHARE else "whole")
    scale = random.uniform(*FRAMINGS[framing])
    ground = random.uniform(0.91, 0.95) if framing == "whole" else 0.14 + scale * random.uniform(0.98, 1.02)
    setting, seed = str(random.choice(SETTINGS)), int(random.integers(2**31))
    feet_x = random.uniform(0.44, 0.56)
    occluder = None
    if framing == "whole" and random.random() < OCCLUDER_SHARE:
        occluder = float(random.choice((random.uniform(0.02, 0.2), random.uniform(0.8, 0.98))))
    drift = tuple(random.uniform(-1, 1, 3) * DRIFT) if random.random() < DRIFT_SHARE else (0.0, 0.0, 0.0)
    return Scene(setting, seed, ground, feet_x, scale, occluder, drift)


def placed(scene: Scene, feet_x: float, ground: float, scale: float) -> Scene:
    """Return the scene with the character elsewhere or of another size in it, and nothing in front."""
    return replace(scene, feet_x=feet_x, ground=ground, scale=scale, occluder=None, drift=(0.0, 0.0, 0.0))


def varied(random: np.random.Generator, color: Color, tint: float = TINT) -> Color:
    """Return a color near `color`, of a saturation below 0.48."""
    near = (np.array(color) + random.uniform(-tint, tint, 3)).clip(0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(near[None, None], cv2.COLOR_RGB2HSV)
    hsv[..., 1] = hsv[..., 1].clip(0, 122)
    red, green, blue = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def darker(color: Color, by: float = 0.85) -> Color:
    """Return the color with its light times `by`, which may be above 1."""
    red, green, blue = (min(255, int(by * part)) for part in color)
    return red, green, blue
