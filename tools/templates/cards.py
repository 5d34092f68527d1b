"""Draw the cards of the templates: what the pose stage really makes of a photo and a dance.

    COMFYUI_PATH=... python -m tools.templates.cards [TEMPLATE ...]

Photos and dance are pictures of ComfyUI's own templates (MIT License; see NOTICE), from the packages that every ComfyUI
installs; for the templates with the miniature they are the bundled sample. No card shows a generated video, and that of
the template Finish is drawn by hand.
"""

import importlib.metadata
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from steadydancer_pack import miniature
from steadydancer_pack.dwpose.bright_skeleton import draw_bright
from steadydancer_pack.dwpose.detect.blazepose import BlazePose
from steadydancer_pack.dwpose.pipeline import PoseOptions, compute_poses
from steadydancer_pack.media.frames import to_float
from steadydancer_pack.media.video_stream import ImageStream

from .names import (
    CHECK_THE_DANCE,
    FAST_4_STEPS,
    FIX_BY_HAND,
    LONG_VIDEO,
    LOW_VRAM,
    MANY_PHOTOS,
    OFFICIAL_QUALITY,
    OWN_POSE_VIDEO,
    QUICK_START,
    READY_SKELETONS,
    SEVERAL_PEOPLE,
    STAGE_BY_STAGE,
)

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
MAN, VIOLINIST = "utility_sdpose_ood_video_to_pose_map-2.webp", "utility_sdpose_multi_person_video-1.webp"
DANCER = "video_wan21_scail2_character_replacement-2.webp"  # in a photo of her own
FRAMES = 8  # of the dance, enough to smooth the first one
DANCE, FPS = "video_wan_dancer-1.webp", 15.0
DRAWN, DRAWN_DANCE = "steadydancer_sample.png", "steadydancer_sample_dance.mp4"
SIDE, INSET, BAR, QUALITY = 640, 210, 118, 82
INK, PAPER = (255, 255, 255), (20, 20, 26)


class Card(NamedTuple):
    """title and use: what is written on it. photos: beside each other. frame: where the dance begins, as drawn."""

    title: str
    use: str
    photos: tuple[str, ...]
    frame: int
    dance: str = DANCE


CARDS = {
    QUICK_START: Card("Quick start", "drawn characters, no download", (DRAWN,), 30, DRAWN_DANCE),
    CHECK_THE_DANCE: Card("Check the dance", "your photo, your video, no download", (MAN,), 34),
    FAST_4_STEPS: Card("Fast", "4 steps, 14B files", (MAN,), 20),
    OFFICIAL_QUALITY: Card("Official quality", "40 steps, 14B files", (MAN,), 28),
    LOW_VRAM: Card("Low VRAM", "GGUF, 14B files", (VIOLINIST,), 34),
    LONG_VIDEO: Card("Long video", "any length, chunk after chunk, 14B files", (VIOLINIST,), 20),
    OWN_POSE_VIDEO: Card("Own pose video", "ready skeletons, 14B files", (MAN,), 24),
    FIX_BY_HAND: Card("Fix a dance by hand", "drag the joints, no download", (VIOLINIST,), 30),
    SEVERAL_PEOPLE: Card("Several people", "everyone dances, 14B files", (MAN, VIOLINIST), 28),
    MANY_PHOTOS: Card("One dance, many photos", "14B files", (MAN, DANCER, VIOLINIST), 34),
    READY_SKELETONS: Card("Ready skeletons", "drawn characters, no download", (DRAWN,), 60, DRAWN_DANCE),
    STAGE_BY_STAGE: Card("Stage by stage", "drawn characters, no download", (DRAWN,), 90, DRAWN_DANCE),
}


def main() -> int:
    detector = BlazePose()
    for name in sys.argv[1:] or CARDS:
        card = CARDS[name]
        frames = itertools.islice(frames_of(card.dance), card.frame, card.frame + FRAMES)
        part = np.stack([np.array(picture) for picture in frames])
        video = ImageStream(to_float(part), FPS, FPS)
        photos, inset = [], part[0].copy()
        for photo in card.photos:
            still = next(frames_of(photo))
            poses = compute_poses(ImageStream(to_float(np.array(still))[None]), video, detector, PoseOptions(), None)
            enlarged = np.array(still.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
            draw_bright(enlarged, poses.clip.tracks[0], 0)
            photos.append(Image.fromarray(enlarged))
        draw_bright(inset, poses.dance.tracks[0], 0)
        draw(card, photos, Image.fromarray(inset)).save(WORKFLOWS / f"{name}.jpg", quality=QUALITY)
    return 0


def frames_of(name: str) -> Iterator[Image.Image]:
    """Yield the frames of a file of the bundled sample, or of a picture of ComfyUI's templates, RGB."""
    if name == DRAWN_DANCE:
        with av.open(str(miniature.shipped(name))) as file:
            yield from (frame.to_image() for frame in file.decode(video=0))
        return
    if name == DRAWN:
        with Image.open(miniature.shipped(name)) as picture:
            yield picture.convert("RGB")
        return
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if file.name == name:
                with Image.open(str(file.locate())) as picture:
                    for index in range(getattr(picture, "n_frames", 1)):
                        picture.seek(index)
                        yield picture.convert("RGB")
                return
    raise ValueError(f"ComfyUI's template {name} is in none of the installed packages.")


def draw(card: Card, photos: list[Image.Image], inset: Image.Image) -> Image.Image:
    """Return the card: the photos, the frame of the dance in a corner, and the words on a bar below."""
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    width = SIDE // len(photos)
    for place, photo in enumerate(photos):
        picture.paste(ImageOps.fit(photo, (width, SIDE - BAR), centering=(0.5, 0.0)), (place * width, 0))
    corner = ImageOps.expand(inset.resize((INSET, INSET), Image.Resampling.LANCZOS), 4, INK)
    picture.paste(corner, (12, SIDE - BAR - corner.height - 12))
    pen = ImageDraw.Draw(picture)
    pen.text((20, SIDE - BAR + 8), card.title, INK, ImageFont.load_default(52))
    pen.text((20, SIDE - BAR + 72), card.use, INK, ImageFont.load_default(30))
    return picture


if __name__ == "__main__":
    raise SystemExit(main())
