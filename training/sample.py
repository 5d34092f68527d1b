"""The sample that the pack ships: a photo of somebody, somebody else who dances, and the skeletons of that dance.

All of it is of the drawn world, from seeds that are never trained on. Photo and driver have other bodies, other places
in the picture and other sizes; the skeletons are the photo's character doing the driver's dance, so they are the true
answer to the pair. Photo and skeletons shrink to exactly what the miniature knows.
"""

import io
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from ..dwpose.edit.augment import augment
from ..miniature import ENLARGED, SIDE
from .old_world.clips import Performance, draw_performance, film, fitted
from .old_world.look import placed
from .world.motion import FPS
from .world.store import HELD_OUT, skeletons

PHOTO_SEED, DRIVER_SEED, AUGMENT_SEED = HELD_OUT + 836, HELD_OUT + 686, 1234
DRIVER_PLACE = {"feet_x": 0.6, "ground": 0.94, "scale": 0.74}
DANCE_FRAMES, POSE_FRAMES = 161, 33
SOFTENING = 1.0  # pixels of the photo
AUDIO_RATE, BEAT_SECONDS, TONES_HZ = 48000, 0.5, (220.0, 330.0)
# One thread: x264 writes its thread count into the file, and other counts give other bytes.
X264_OPTIONS = {"crf": "12", "preset": "veryslow", "threads": "1"}


def driver() -> Performance:
    """Return who dances in the driving video, DANCE_FRAMES frames."""
    drawn = draw_performance(DRIVER_SEED, DANCE_FRAMES, kind="dance", framing="whole")
    return fitted(replace(drawn, scene=placed(drawn.scene, **DRIVER_PLACE)))


def answer() -> Performance:
    """Return the photo's character doing the driver's dance in the photo's room; its frame 0 is the photo."""
    drawn = draw_performance(PHOTO_SEED, DANCE_FRAMES, kind="dance", framing="whole")
    return fitted(replace(drawn, motion=driver().motion))


def photo_file() -> bytes:
    """Return the photo as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def photo() -> np.ndarray:
    """Return the photo, uint8 [H, W, 3], which shrinks to the very picture that the miniature knows.

    Images are shrunk by bicubic interpolation without antialiasing (media/frames.py), so the picture of
    full size is softened and what its small one then lacks is added.
    """
    large, small = (film(answer().at(slice(1)), size).frames[0].astype(np.float32) for size in (SIDE * ENLARGED, SIDE))
    soft = cv2.GaussianBlur(large, (0, 0), SOFTENING)
    lacking = small - cv2.resize(soft, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    soft += cv2.resize(lacking, large.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return soft.round().clip(0, 255).astype(np.uint8)


def dance_file() -> bytes:
    """Return the driving video as an MP4 file with a rhythm as its sound."""
    return video_file(film(driver(), SIDE * ENLARGED).frames, rhythm(DANCE_FRAMES / FPS))


def pose_file() -> bytes:
    """Return the skeletons of the dance's first POSE_FRAMES frames as an MP4 file with the rhythm."""
    poses = film(answer().at(slice(POSE_FRAMES)), SIDE).poses
    return video_file(_enlarged(skeletons(poses)), rhythm(POSE_FRAMES / FPS))


def negative_pose_file() -> bytes:
    """Return the same dance by a skeleton whose proportions jitter, as a silent MP4 file."""
    poses = film(answer().at(slice(POSE_FRAMES)), SIDE).poses
    return video_file(_enlarged(skeletons(augment(poses, AUGMENT_SEED))), None)


FILES = {
    "steadydancer_sample.png": photo_file,
    "steadydancer_sample_dance.mp4": dance_file,
    "steadydancer_sample_pose.mp4": pose_file,
    "steadydancer_sample_pose_negative.mp4": negative_pose_file,
}


def write_sample(folder: Path) -> list[Path]:
    """Write photo, driving video and skeletons into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        (folder / name).write_bytes(make())
    return [folder / name for name in FILES]


def rhythm(seconds: float) -> np.ndarray:
    """Return mono sound, float32 [1, samples] in -1..1: a short tone on every beat, two pitches in turn."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    beat, since = np.divmod(time, BEAT_SECONDS)
    pitch = np.asarray(TONES_HZ)[beat.astype(int) % len(TONES_HZ)]
    return (0.4 * np.exp(-12 * since) * np.sin(2 * np.pi * pitch * since))[None].astype(np.float32)


def video_file(pictures: Iterable[np.ndarray], sound: np.ndarray | None) -> bytes:
    """Return an MP4 file of frames uint8 [H, W, 3] at FPS, and of mono sound, float32 [1, samples]."""
    buffer, pictures = io.BytesIO(), list(pictures)
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FPS, options=X264_OPTIONS)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if sound is not None else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return buffer.getvalue()


def _enlarged(frames: np.ndarray) -> np.ndarray:
    """Return frames [F, H, W, 3] with every pixel as a square."""
    return frames.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
