"""The sample that the miniature runs on: a drawn figure and the skeleton clip that makes it dance."""

import io
from fractions import Fraction

import av
import numpy as np

from . import drawing, skeleton

FRAMES, FPS, SEED = 33, 16, 7
AUDIO_RATE, BEAT_SECONDS, TONES_HZ = 48000, 0.5, (220.0, 330.0)
# One thread: x264 writes its thread count into the file, and other counts give other bytes.
X264_OPTIONS = {"crf": "12", "preset": "medium", "threads": "1"}


def photo_file() -> bytes:
    """Return the standing figure as a PNG file."""
    buffer = io.BytesIO()
    drawing.draw_figure(skeleton.pose_at(0)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def pose_file() -> bytes:
    """Return the dance as an MP4 file with a rhythm as its sound; frame 0 is the figure's own pose."""
    return _video_file(skeleton.dance(FRAMES, FPS), rhythm(FRAMES / FPS))


def negative_pose_file() -> bytes:
    """Return the same dance with a differently built body in every frame, as a silent MP4 file."""
    return _video_file(skeleton.augmented(skeleton.dance(FRAMES, FPS), SEED), None)


def rhythm(seconds: float) -> np.ndarray:
    """Return mono sound, float32 [1, samples] in -1..1: a short tone on every beat, two pitches in turn."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    beat, since = np.divmod(time, BEAT_SECONDS)
    pitch = np.asarray(TONES_HZ)[beat.astype(int) % len(TONES_HZ)]
    return (0.4 * np.exp(-12 * since) * np.sin(2 * np.pi * pitch * since))[None].astype(np.float32)


def _video_file(poses: list[np.ndarray], sound: np.ndarray | None) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FPS, options=X264_OPTIONS)
        video.width, video.height, video.pix_fmt = *drawing.SIZE, "yuv420p"
        audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if sound is not None else None
        for pose in poses:
            container.mux(video.encode(av.VideoFrame.from_ndarray(drawing.draw_pose(pose), format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            _mux_sound(container, audio, sound)
    return buffer.getvalue()


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, sound: np.ndarray) -> None:
    frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
