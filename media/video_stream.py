"""A driving video frame by frame at a constant rate, so that memory does not grow with its length.

A frame is uint8 [H, W, 3], RGB, as a player shows it: turned by the display matrix, pixels made square. Output frame k
is the picture that is on screen at k / fps seconds, by the pictures' own times: a dance lasts as long as it did,
whatever the rate of the source and even if that varies. All times are in seconds from where the file's clock starts.
"""

import hashlib
import inspect
import io
import itertools
import math
import re
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from torch import Tensor

from .frame_converter import FrameConverter, may_be_unfilled, pixel_aspect
from .frame_size import MODEL_FPS
from .frames import to_rgb, to_uint8
from .log import logger
from .media_file import (
    BREAK_TOLERANCE,
    LARGEST_SIZE,
    MAX_PIXELS,
    Clock,
    Extent,
    Source,
    clock_start,
    decode,
    decoder_of,
    measure_extent,
    media_name,
    open_media,
    rate_of,
    seconds,
    unreadable,
    video_of,
    wind,
)
from .picture_size import size_by_header
from .tone_map import tone_mapped
from .video_webp import animation_rate

COARSEST_CLOCK = 0.001  # seconds to which containers round the times of pictures; a coarser clock counts frames
DECODER_THREADS = 4
# Where FFmpeg gives a track the duration of the whole file, or a guess by the number of bytes.
WITHOUT_TRACK_DURATIONS = ("matroska,webm", "flv", "nut", "asf", "wtv", "mpeg", "mpegvideo")
MATROSKA_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # of one stream; the container's is that of the longest one
HASH_CHUNK = 1 << 20
STILL_NOTE = "The video is a single picture: one frame, no motion."


def resample_indices(frames: int, source_fps: float, fps: float) -> list[int]:
    """Return which of `frames` images at `source_fps` is each frame at `fps`; fps 0 takes every image once."""
    if not 0 < source_fps < math.inf:
        raise ValueError(f"source_fps is {source_fps}. It must be above 0: the rate at which the images play.")
    rate = _at_least_0("fps", fps) or source_fps
    count = max(1, math.floor(frames / source_fps * rate + 0.5)) if frames > 1 else frames
    return [min(math.floor(k * source_fps / rate + 1e-6), frames - 1) for k in range(count)]


class ImageStream:
    """An IMAGE batch [B, H, W, C] as a stream like VideoStream; what is transparent in RGBA images is black."""

    def __init__(self, images: Tensor, source_fps: float = MODEL_FPS, fps: float = MODEL_FPS):
        self.images, self.source_fps = to_rgb(images), float(source_fps)
        self.alpha = images[..., 3] if images.shape[-1] == 4 else None
        if 0 in self.images.shape:
            raise ValueError(f"There are no frames to read: the images have the shape {tuple(images.shape)}.")
        self._indices = resample_indices(len(images), self.source_fps, fps)
        self.fps, self.frames = float(fps) or self.source_fps, len(self._indices)
        self.height, self.width = self.images.shape[1:3]
        self.note, self.break_note = STILL_NOTE if len(images) == 1 else "", ""

    def __iter__(self) -> Generator[np.ndarray, None, None]:
        for index in self._indices:
            pixels = self.images[index].detach().cpu().float()
            if self.alpha is not None:
                pixels = pixels * self.alpha[index].detach().cpu().float().clamp(0, 1)[..., None]
            yield to_uint8(pixels)

    def displayed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pixels of a frame as a screen shows them: these are meant for one."""
        return pixels

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(repr((tuple(self.images.shape), self.source_fps)).encode())
        for image in itertools.chain(self.images, () if self.alpha is None else self.alpha):
            digest.update(image.detach().cpu().float().contiguous().numpy())
        return digest.hexdigest()


class Picture(NamedTuple):
    """A decoded picture, and the seconds between which it is on screen."""

    time: float
    end: float
    frame: av.VideoFrame


class VideoStream:
    """A video file, or its bytes, from `start` seconds on for `duration` (0: to the end) at `fps` (0: its own rate).

    width, height: pixels of the frames. fps: their rate. source_fps: the file's average rate. frames: how many there
    will be, by what the file says of itself. note: what the user should know, or ""; break_note: the same, known when
    the end was reached. begin, stop: the times of the first frame and of the window's end. Each iteration opens the
    file anew and closes it with its last frame. opened: the file, where it is open already.
    Raises ValueError for a file that shows no picture in the window.
    """

    def __init__(
        self,
        source: Source,
        start: float = 0.0,
        duration: float = 0.0,
        fps: float = MODEL_FPS,
        opened: InputContainer | None = None,
    ):
        self.source, self.start = source, _at_least_0("start", start)
        self.stop = self.start + (_at_least_0("duration", duration) or math.inf)
        with nullcontext(opened) if opened else open_media(source) as container:
            self._inspect(container, fps)

    def _inspect(self, container: InputContainer, fps: float) -> None:
        """Take from a file's header and first picture what its frames will be; see the class."""
        stream = video_of(container, self.source)
        self.source_fps = rate_of(stream) or MODEL_FPS
        length, aspect = _length(container, stream), pixel_aspect(stream)
        unfilled, self._transfer = may_be_unfilled(stream.codec_context), stream.codec_context.color_trc
        size = stream.width, stream.height
        tick = float(seconds(1, stream.time_base))
        self.fps = _at_least_0("fps", fps) or self.source_fps
        # At its own rate every picture is meant once, even if its time trembles: the nearest one counts.
        rounding = tick / 2 if tick <= COARSEST_CLOCK else 0.0
        self._tolerance = rounding + 1e-6 if fps else 0.5 / self.source_fps
        self._seeks, self.break_note = self.start > 0, ""
        self._extent = Extent(length, length, False) if length else measure_extent(self.source)
        first = self._first_picture(container)
        if first is None:
            raise ValueError(_nothing_shown(self.source, self.start, self._extent.pictures, *size))
        size = max(1, round(first.frame.width * aspect)), first.frame.height  # in square pixels
        if math.prod(size) > MAX_PIXELS:
            raise ValueError(_too_large(self.source, *size))
        self._converter = FrameConverter(first.frame, size, unfilled)
        self.width, self.height = self._converter.shown_size
        self.begin = max(self.start, first.time)
        shown = min(self.stop, self._extent.pictures) - self.begin
        self.frames = 1 if self.note else max(1, math.floor(shown * self.fps + 0.5))

    def __iter__(self) -> Generator[np.ndarray, None, None]:
        with open_media(self.source) as container:
            pictures, last = self._at_rate(self._shown(self._decoded(container))), None
            for last in itertools.islice(pictures, 1) if self.note else pictures:
                yield self._converter.rgb(last.frame)
        self._note_break(last.end if last else self.begin)

    def displayed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pixels of a frame as a screen of standard range shows them: HDR is tone-mapped."""
        return tone_mapped(pixels, self._transfer)

    def fingerprint(self) -> str:
        """Return a hash of the file's bytes, the window, and whether its own rate is kept, which chooses otherwise."""
        digest = hashlib.blake2b(repr((self.start, self.stop, self._tolerance)).encode())
        with _raw(self.source) as file:
            while chunk := file.read(HASH_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _first_picture(self, container: InputContainer) -> Picture | None:
        """Return what is shown first, None for nothing; reads from the beginning where winding lands too late."""
        pictures = self._decoded(container)
        head = list(itertools.islice(pictures, 2))
        self.note = STILL_NOTE if len(head) == 1 and head[0].time <= self._tolerance else ""
        first = next(self._shown(itertools.chain(head, pictures)), None)
        if self._seeks and (first is None or first.time > self.start + self._tolerance):
            self._seeks = False
            with open_media(self.source) as again:
                return self._first_picture(again)
        return first

    def _decoded(self, container: InputContainer) -> Iterator[Picture]:
        """Yield every picture from the start of the window, or from somewhat before it."""
        stream = video_of(container, self.source)
        # Frame threads go on between calls; closing them while FFmpeg logs to Python (av.logging.set_level) never ends.
        decoder = decoder_of(stream)
        decoder.thread_type, decoder.thread_count = "SLICE", DECODER_THREADS
        clock = Clock(container, stream, 1 / self.source_fps)
        self._gaps = clock.gaps
        if self._seeks:
            wind(container, stream, self.start)
        for frame in decode(container, stream, media_name(self.source), decoder):
            time = clock.time(frame)
            yield Picture(time, time + clock.step, frame)

    def _shown(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the pictures that are on screen in the window; each ends where the next one begins."""
        before = None
        for picture in pictures:
            if before is not None and picture.time > self.start + self._tolerance:
                yield before._replace(end=min(picture.time, self.stop))
            if picture.time >= self.stop:
                return
            before = picture
        if before is not None and before.end > self.start:
            yield before._replace(end=min(before.end, self.stop))

    def _at_rate(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the picture on screen as each output frame begins, if the clip reaches the middle of that frame."""
        count, waiting = 0, None
        for picture in pictures:
            end = picture.end - self.begin
            if waiting and count - 0.5 <= end * self.fps:
                yield waiting
                waiting = None
            while count / self.fps < end - self._tolerance:
                count += 1
                if count - 0.5 <= end * self.fps:
                    yield picture
                else:
                    waiting = picture
        if waiting and count == 1:
            yield waiting

    def _note_break(self, end: float) -> None:
        self.break_note = self._gaps.note(media_name(self.source), "pictures")
        expected = min(self._extent.announced, self.stop)
        if not (self.note or self.break_note or self._extent.whole) and expected - end > BREAK_TOLERANCE:
            ends = f"its pictures end at {end:.2f} s of {expected:.2f} s"
            self.break_note = f"{media_name(self.source)} breaks off: {ends}. What could be read is used."
        if self.break_note:
            logger.warning("%s", self.break_note)


def open_video(video, fps: float = MODEL_FPS) -> VideoStream | ImageStream:
    """Return ComfyUI's VIDEO as a stream, trimmed as it is: a file is read from disk, images are taken as they lie."""
    components = in_memory(video)
    if components is not None:
        return ImageStream(components.images, float(components.frame_rate), fps)
    return open_file(video, fps)


def open_file(video, fps: float = MODEL_FPS) -> VideoStream:
    source = video.get_stream_source()
    with open_media(source) as opened:  # first: ComfyUI opens whatever it is to count a trim from the end
        return VideoStream(source, *video.get_active_trim_window(), fps, opened)


def in_memory(video):
    """Return the components of a VIDEO that is no file, else None: its get_stream_source is abstract, and encodes."""
    owner = next(kind for kind in type(video).__mro__ if "get_stream_source" in vars(kind))
    return video.get_components() if inspect.isabstract(owner) else None


def _length(container: InputContainer, stream: av.VideoStream) -> float | None:
    """Return the time at which the pictures end as the file announces it of them, None if it does not."""
    start = float(seconds(stream.start_time or 0, stream.time_base))
    if stream.duration and container.format.name not in WITHOUT_TRACK_DURATIONS:
        return start + float(seconds(stream.duration, stream.time_base)) - clock_start(container)
    if tag := MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, rest = map(float, tag.groups())
        since = start if "_STATISTICS_TAGS" in stream.metadata else 0.0  # mkvmerge counts from the first picture
        return since + 3600 * hours + 60 * minutes + rest - clock_start(container)
    return None


def _nothing_shown(source: Source, start: float, length: float, width: int, height: int) -> str:
    with _raw(source) as file:
        rate = animation_rate(file)
    if rate:
        return (
            f"{media_name(source)} is an animated WebP, which cannot be read as a video. Load it with Load Image and "
            f"connect the images to Extract Poses with source_fps {rate:.4g}. For a video input put Create Video with "
            f"fps {rate:.4g} between."
        )
    if not width:  # FFmpeg gives no size for pictures above the limit
        with _raw(source) as file:
            width, height = size_by_header(file) or (0, 0)
    if width * height > MAX_PIXELS:
        return _too_large(source, width, height)
    if start and length <= start:
        lasts = f"lasts {length:.2f} s" if length else "ends earlier"
        return f"The part of {media_name(source)} to be used starts at {start:.2f} s, but the video {lasts}. Trim less."
    limit = "" if width else f" of up to {LARGEST_SIZE}"
    return unreadable(source, f"no picture{limit} could be decoded from {start:.2f} s on")


def _raw(source: Source) -> BinaryIO:
    return io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else Path(source).open("rb")


def _too_large(source: Source, width: int, height: int) -> str:
    return (
        f"{media_name(source)} has pictures of {width}x{height} pixels. Up to {LARGEST_SIZE} can be read: export the "
        "video smaller. SteadyDancer works at about 1024x576."
    )


def _at_least_0(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}. It must be a number from 0 on.")
    return float(value)
