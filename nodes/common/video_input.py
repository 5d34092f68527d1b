"""A driving video as a node gets it: VIDEO or IMAGE, whole or from some second on."""

import math
from fractions import Fraction

from comfy_api.latest import Input, InputImpl, Types
from torch import Tensor

from ...media.video_stream import in_memory, open_file


def one_video(node: str, video: Input.Video | None, images: Tensor | None, source_fps: float) -> Input.Video:
    """Return the one that is connected as VIDEO, images at `source_fps`; ValueError for none and for both."""
    if video is not None and images is None:
        return video
    if images is not None and video is None:
        return InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(source_fps), None))
    found = "neither images nor video" if images is None else "both images and video"
    raise ValueError(f"{node} has {found} connected. Connect exactly one of the two.")


def skip_seconds(video: Input.Video, start: float) -> Input.Video:
    """Return the video without its first `start` seconds, trimmed as it was; ValueError if nothing is left."""
    if not start:
        return video
    components = in_memory(video)
    if components is None:
        return _from_file(video, start)
    first, frames = round(start * components.frame_rate), len(components.images)
    if first >= frames:
        raise ValueError(_too_late(start, frames / float(components.frame_rate)))
    audio = components.audio
    if audio and audio.keys() >= {"waveform", "sample_rate"}:
        waveform, rate = audio["waveform"], audio["sample_rate"]
        audio = Input.Audio(waveform=waveform[..., round(start * rate) :], sample_rate=rate)
    return InputImpl.VideoFromComponents(Types.VideoComponents(components.images[first:], components.frame_rate, audio))


def _from_file(video: Input.Video, start: float) -> Input.Video:
    stream = open_file(video)
    length = stream.stop - stream.start if math.isfinite(stream.stop) else stream.frames / stream.fps
    if start >= length:
        raise ValueError(_too_late(start, length))
    duration = length - start if math.isfinite(stream.stop) else 0
    return InputImpl.VideoFromFile(stream.source, start_time=stream.start + start, duration=duration)


def _too_late(start: float, length: float) -> str:
    return f"start_seconds is {start:g}, but the driving video lasts {length:.2f} s. Choose a smaller start_seconds."
