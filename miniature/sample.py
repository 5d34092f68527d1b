"""The sample that the miniature runs on: a drawn figure, a skeleton clip that makes it dance, and another dancer."""

import io
from collections.abc import Iterable
from fractions import Fraction

import av
import numpy as np

from . import drawing, skeleton

FRAMES, FPS, SEED = 33, 16, 7
DRIVING_SIZE, DRIVING_FRAMES, DRIVING_FPS = (288, 384), 62, 30
DRIVER_NECK, DRIVER_SCALE = (0.33, 0.3), 0.8  # where the driver stands and how large, in units of the picture's height
SAME_WITHIN = 1.0  # mean difference of two encodings of one clip, in 255ths
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
    return _video_file(map(drawing.draw_pose, skeleton.dance(FRAMES, FPS)), rhythm(FRAMES / FPS))


def negative_pose_file() -> bytes:
    """Return the same dance with a differently built body in every frame, as a silent MP4 file."""
    return _video_file(map(drawing.draw_pose, skeleton.augmented(skeleton.dance(FRAMES, FPS), SEED)), None)


def driving_file() -> bytes:
    """Return an MP4 of another person, smaller and elsewhere, who dances to the rhythm at 30 frames per second."""
    poses = skeleton.dance(DRIVING_FRAMES, DRIVING_FPS)
    poses = [DRIVER_NECK + DRIVER_SCALE * (pose - skeleton.NECK_POSITION) for pose in poses]
    pictures = (drawing.draw_figure(pose, DRIVING_SIZE, drawing.DRIVER, DRIVER_SCALE) for pose in poses)
    return _video_file(map(np.asarray, pictures), rhythm(DRIVING_FRAMES / DRIVING_FPS), DRIVING_SIZE, DRIVING_FPS)


def same_clip(one: bytes, other: bytes) -> bool:
    """Tell whether two video files show the same pictures and play the same sound, but for the encoder's rounding."""
    try:
        tracks = zip(_decoded(one), _decoded(other), strict=True)
        return all(a.shape == b.shape and np.abs(a - b).sum() <= SAME_WITHIN * a.size for a, b in tracks)
    except av.FFmpegError:
        return False


def _decoded(data: bytes) -> list[np.ndarray]:
    """Return all pictures of a video file in 0..255, then all its sound in 255ths of full scale, as float32."""
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode())
    pictures = [frame.to_ndarray(format="rgb24") for frame in frames if isinstance(frame, av.VideoFrame)]
    sound = [255 * frame.to_ndarray() for frame in frames if isinstance(frame, av.AudioFrame)]
    return [np.array(pictures, np.float32), np.concatenate(sound, 1) if sound else np.zeros(0, np.float32)]


def rhythm(seconds: float) -> np.ndarray:
    """Return mono sound, float32 [1, samples] in -1..1: a short tone on every beat, two pitches in turn."""
    time = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    beat, since = np.divmod(time, BEAT_SECONDS)
    pitch = np.asarray(TONES_HZ)[beat.astype(int) % len(TONES_HZ)]
    return (0.4 * np.exp(-12 * since) * np.sin(2 * np.pi * pitch * since))[None].astype(np.float32)


def _video_file(
    pictures: Iterable[np.ndarray], sound: np.ndarray | None, size: tuple[int, int] = drawing.SIZE, fps: int = FPS
) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options=X264_OPTIONS)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=AUDIO_RATE, layout="mono") if sound is not None else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            _mux_sound(container, audio, sound)
    return buffer.getvalue()


def _mux_sound(container: av.container.OutputContainer, stream: av.AudioStream, sound: np.ndarray) -> None:
    frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
