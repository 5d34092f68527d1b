"""The sound of a driving video, in time with its frames, for the soundtrack of the result.

AUDIO is {"waveform": float32 [1, C channels, T samples], "sample_rate": int in Hz}.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache

import av
import numpy as np
import torch
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from .audio_input import HIGHEST_RATE, to_audio
from .log import logger
from .media_file import (
    Gaps,
    Source,
    clock_start,
    decode,
    default_first,
    measure_extent,
    media_name,
    open_media,
    wind,
)
from .video_source import CHANNEL_LAYOUTS
from .video_stream import ImageStream, VideoStream, open_video

RUN_UP = 0.2  # seconds decoded ahead of the window: codecs need some packets before they sound right
JITTER = 0.05  # seconds by which a frame's time may differ from the end of the frame before it; above, it is a gap
UNKNOWN_LENGTH = 60.0
LONGEST_RESERVED = 600.0  # seconds reserved at most for what a file announces; a damaged header may claim years
PACKED = "flt"  # float32, channels side by side: PyAV 18 crashes on a frame of 8 planes, which is 7.1
PLANAR, MOST_PLANES = "fltp", 6  # float32, channel by channel, as most decoders give it


def read_audio(
    video, warn: Callable[[str], None] = logger.warning, stream: VideoStream | ImageStream | None = None
) -> dict | None:
    """Return the AUDIO of ComfyUI's VIDEO from its first frame shown to its end or that of its trim; None if silent.

    Sound that begins later than the pictures starts with silence. warn: called with what is wrong with the track.
    stream: of the video's frames, where there is one: a file is not opened again for its first picture.
    """
    if stream is None:
        stream = open_video(video)
    if isinstance(stream, VideoStream):
        return read_file_audio(stream.source, stream.begin, stream.stop, warn)
    audio = video.get_components().audio
    if audio is None or (isinstance(audio, Mapping) and not audio):
        return None
    try:
        audio = to_audio(audio)
    except ValueError as error:
        warn(f"Warning: the sound of the video is left out. {error}")
        return None
    waveform = audio["waveform"][:1].cpu().float()
    return {"waveform": waveform, "sample_rate": audio["sample_rate"]} if waveform.numel() else None


def read_file_audio(
    source: Source, begin: float, stop: float = math.inf, warn: Callable[[str], None] = logger.warning
) -> dict | None:
    """Return the AUDIO of a file between two times in seconds of its clock; None if there is no sound."""
    with open_media(source) as container:
        track = next((s for s in default_first(container.streams.audio) if s.codec_context is not None), None)
        if track is None:
            return None
        if begin > RUN_UP:
            wind(container, track, begin - RUN_UP)
        buffer = None
        for frame in _packed(container, track, media_name(source)):
            if frame.sample_rate > HIGHEST_RATE:
                claim = f"its sound claims {frame.sample_rate} samples per second"
                warn(f"Warning: {media_name(source)} is damaged: {claim}. The sound is left out.")
                return None
            buffer = buffer or _SampleBuffer(frame, begin, stop, container, lambda: measure_extent(source).pictures)
            if not buffer.put(frame):
                break
        if buffer is None:
            return None
        if note := buffer.gaps.note(media_name(source), "sound"):
            warn(f"Warning: {note}")
        return buffer.audio()


def _packed(container: InputContainer, track: av.AudioStream, name: str) -> Iterator[av.AudioFrame]:
    """Yield the track as float32 in its first frame's layout and rate; what the writer lacks (quad, 5.0) as stereo."""
    resamplers, target, as_it_is = {}, None, None
    for frame in decode(container, track, name):
        if len(frame.layout.channels) not in CHANNEL_LAYOUTS:
            frame = _mixed(frame)
        kind = frame.format.name, frame.layout.name, frame.sample_rate
        if target is None:
            target = kind[1:]
            as_it_is = PLANAR, *target, Fraction(1, max(frame.sample_rate, 1))
        if (*kind, frame.time_base) == as_it_is and len(frame.planes) <= MOST_PLANES:
            yield frame  # the resampler would only interleave it
            continue
        if kind not in resamplers:
            resamplers[kind] = AudioResampler(PACKED, *target)
        yield from resamplers[kind].resample(frame)


def _mixed(frame: av.AudioFrame) -> av.AudioFrame:
    """Return a frame in stereo; where FFmpeg knows no mix, its first channel, which in ambisonic hears all sides."""
    try:
        return AudioResampler(PACKED, "stereo", frame.sample_rate).resample(frame)[0]
    except av.FFmpegError:
        packed = AudioResampler(frame.format.packed.name, frame.layout.name, frame.sample_rate).resample(frame)[0]
    mono = av.AudioFrame.from_ndarray(np.ascontiguousarray(_samples(packed)[:1]), packed.format.name, "mono")
    mono.sample_rate, mono.pts, mono.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mono


def _samples(frame: av.AudioFrame) -> np.ndarray:
    """Return the samples [C, T] of a frame."""
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels)).T


class _SampleBuffer:
    """Samples [C, T] at the times of their frames, silence between, in any case until `pictures_end()` in seconds."""

    def __init__(
        self,
        frame: av.AudioFrame,
        begin: float,
        stop: float,
        container: InputContainer,
        pictures_end: Callable[[], float],
    ):
        self.rate, self.begin, self.zero = frame.sample_rate, begin, begin + clock_start(container)
        self.pictures_end, self.gaps = cache(pictures_end), Gaps()
        announced = container.duration / av.time_base - begin if container.duration else UNKNOWN_LENGTH
        self.limit = (stop - begin) * self.rate
        capacity = min(self.limit, (min(max(announced, 0), LONGEST_RESERVED) + 1) * self.rate)
        self.samples = np.zeros((len(frame.layout.channels), math.ceil(capacity)), np.float32)
        self.end = None

    def put(self, frame: av.AudioFrame) -> bool:
        """Add one frame; return whether another fits into the window."""
        at, samples = self._position(frame), _samples(frame)
        if at >= self.limit:
            return False
        self.end = at + samples.shape[1]
        self.gaps.decoded += samples.shape[1] / self.rate
        samples = samples[:, max(0, -at) : max(0, round(min(self.limit, self.end)) - at)]
        at = max(0, at)
        missing = at + samples.shape[1] - self.samples.shape[1]
        if missing > 0:
            self.samples = np.pad(self.samples, ((0, 0), (0, max(missing, self.samples.shape[1] // 2))))
        self.samples[:, at : at + samples.shape[1]] = samples
        return self.end < self.limit

    def audio(self) -> dict | None:
        """Return the samples as AUDIO, None if the window holds none."""
        end = round(max(0, min(self.end or 0, self.limit)))
        return {"waveform": torch.from_numpy(self.samples[:, :end])[None], "sample_rate": self.rate} if end else None

    def _position(self, frame: av.AudioFrame) -> int:
        """Return the sample at which a frame begins, below 0 if it begins before the window."""
        end = self.end or 0
        if frame.time is None:
            return end
        at = round((frame.time - self.zero) * self.rate)
        gap = at - end
        if self.end is None and gap <= 0:
            return at
        if gap < -JITTER * self.rate or not self._keeps(gap / self.rate, at / self.rate):
            self.zero += gap / self.rate  # clips put together without a common clock, or a damaged clock
            return end
        return end if self.end is not None and gap <= JITTER * self.rate else at

    def _keeps(self, gap: float, time: float) -> bool:
        """Return whether it is silent for `gap` seconds before `time` of the window; else the clock is damaged."""
        kept = self.gaps.keeps(gap) or self.begin + time <= self.pictures_end()
        if not kept:
            self.gaps.leave_out(gap, self.begin + time - gap)
        return kept
