"""The sound of a driving video, in time with its frames, for the soundtrack of the result.

AUDIO is {"waveform": float32 [1, C channels, T samples], "sample_rate": int in Hz}.
"""

import math
from collections.abc import Iterator

import av
import numpy as np
import torch
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from .media_file import Source, clock_start, decode, media_name, open_media, wind
from .video_source import CHANNEL_LAYOUTS
from .video_stream import VideoStream, in_memory

RUN_UP = 0.2  # seconds decoded ahead of the window: codecs need some packets before they sound right
JITTER = 0.05  # seconds by which a piece's time may differ from the end of the piece before it; above, it is a gap
UNKNOWN_LENGTH = 60.0
LONGEST_RESERVED = 600.0  # seconds reserved at most for what a file announces; a damaged header may claim years
PACKED = "flt"  # float32, channels side by side: PyAV 18 crashes on a frame of 8 planes, which is 7.1


def read_audio(video) -> dict | None:
    """Return the AUDIO of ComfyUI's VIDEO from its first frame shown to its end or that of its trim; None if silent.

    Sound that begins later than the pictures starts with silence. No picture but the first is decoded.
    """
    components = in_memory(video)
    if components is not None:
        return _first_of_batch(components.audio)
    stream = VideoStream(video.get_stream_source(), *video.get_active_trim_window())
    return read_file_audio(stream.source, stream.begin, stream.stop)


def read_file_audio(source: Source, begin: float, stop: float = math.inf) -> dict | None:
    """Return the AUDIO of a file between two times in seconds of its clock; None if there is no sound."""
    with open_media(source) as container:
        track = next((s for s in container.streams.audio if s.codec_context is not None), None)
        if track is None:
            return None
        if begin > RUN_UP:
            wind(container, track, begin - RUN_UP)
        tape = None
        for frame in _pieces(container, track, media_name(source)):
            tape = tape or _Tape(frame, begin, stop, container)
            if not tape.put(frame):
                break
        return tape.audio() if tape else None


def _first_of_batch(audio: dict | None) -> dict | None:
    if not audio or not audio["waveform"].numel():
        return None
    return {"waveform": audio["waveform"][:1].cpu().float(), "sample_rate": int(audio["sample_rate"])}


def _pieces(container: InputContainer, track: av.AudioStream, name: str) -> Iterator[av.AudioFrame]:
    """Yield the track as float32, all in the layout and rate of its first piece.

    Channels that the writer cannot keep (quad, 5.0) are mixed to stereo.
    """
    resamplers, target = {}, None
    for frame in decode(container, track, name):
        piece = frame if len(frame.layout.channels) in CHANNEL_LAYOUTS else _mixed(frame)
        kind = piece.format.name, piece.layout.name, piece.sample_rate
        target = target or kind[1:]
        if kind not in resamplers:
            resamplers[kind] = AudioResampler(PACKED, *target)
        yield from resamplers[kind].resample(piece)


def _mixed(frame: av.AudioFrame) -> av.AudioFrame:
    """Return a piece in stereo; where FFmpeg knows no mix, its first channel, which in ambisonic hears all sides."""
    try:
        return AudioResampler(PACKED, "stereo", frame.sample_rate).resample(frame)[0]
    except av.FFmpegError:
        packed = AudioResampler(frame.format.packed.name, frame.layout.name, frame.sample_rate).resample(frame)[0]
    mono = av.AudioFrame.from_ndarray(np.ascontiguousarray(_samples(packed)[:1]), packed.format.name, "mono")
    mono.sample_rate, mono.pts, mono.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mono


def _samples(piece: av.AudioFrame) -> np.ndarray:
    """Return the samples [C, T] of a packed piece."""
    return piece.to_ndarray().reshape(-1, len(piece.layout.channels)).T


class _Tape:
    """Samples [C, T] laid down at the times of their pieces; what no piece covers is silence."""

    def __init__(self, piece: av.AudioFrame, begin: float, stop: float, container: InputContainer):
        self.rate, self.begin = piece.sample_rate, begin + clock_start(container)
        announced = container.duration / av.time_base - begin if container.duration else UNKNOWN_LENGTH
        self.limit = (stop - begin) * self.rate
        capacity = min(self.limit, (min(max(announced, 0), LONGEST_RESERVED) + 1) * self.rate)
        self.samples = np.zeros((len(piece.layout.channels), math.ceil(capacity)), np.float32)
        self.end = None

    def put(self, piece: av.AudioFrame) -> bool:
        """Lay down one piece; return whether the window has room for another."""
        at, samples = self._position(piece), _samples(piece)
        if at >= self.limit:
            return False
        self.end = at + samples.shape[1]
        samples = samples[:, max(0, -at) : max(0, round(min(self.limit, self.end)) - at)]
        at = max(0, at)
        self._grow(at + samples.shape[1])
        self.samples[:, at : at + samples.shape[1]] = samples
        return self.end < self.limit

    def audio(self) -> dict | None:
        """Return what was laid down as AUDIO, None if nothing lies in the window."""
        end = round(max(0, min(self.end or 0, self.limit)))
        return {"waveform": torch.from_numpy(self.samples[:, :end])[None], "sample_rate": self.rate} if end else None

    def _position(self, piece: av.AudioFrame) -> int:
        """Return the sample of the tape at which a piece begins, below 0 if it begins before the window."""
        if piece.pts is None:
            return self.end or 0
        at = round((float(piece.pts * piece.time_base) - self.begin) * self.rate)
        follows = self.end is not None and abs(at - self.end) <= JITTER * self.rate
        return self.end if follows else at

    def _grow(self, end: int) -> None:
        missing = end - self.samples.shape[1]
        if missing > 0:
            room = max(missing, self.samples.shape[1] // 2)
            self.samples = np.pad(self.samples, ((0, 0), (0, room)))
