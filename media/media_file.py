"""A media file or its bytes, opened and decoded, with errors that say what is wrong with it.

All times are in seconds from where the file's clock starts.
"""

import errno
import io
import math
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.error import EOFError as EndOfStreamError
from av.stream import Disposition

from .log import logger

Source = str | io.BytesIO
# FFmpeg's demuxers that read nothing but the file they are given. All others are refused: playlists and image
# sequences (hls, dash, concat, image2, vobsub) open other files, descriptions of streams (sdp, rtsp) the network, and
# a few (lavfi, tty) make pictures of any text.
DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,mxf,wtv,dv,nut,ivf,gif,apng,h264,hevc,m4v,mpegvideo,mjpeg,obu,"
    "yuv4mpegpipe,png_pipe,jpeg_pipe,webp_pipe,webp,webp_anim,bmp_pipe,tiff_pipe,jpegxl_pipe,jpegxl_anim,wav,w64,mp3,"
    "aac,flac,aiff,ac3,eac3,caf,amr"
)
MAX_PIXELS = 8192 * 4320  # of a picture. A file of 66 bytes may claim 16000x16000, which takes 5 GB
LARGEST_SIZE = "8192x4320 (8K)"
DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
OPEN_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", **DECODER_OPTIONS}
# PyAV before 17.1 ends the process where `options` meet a format that names its streams late, such as FLV. There the
# bound on pictures holds from the first decoded one on, not while FFmpeg probes the file.
AV_VERSION = tuple(int(number) for number in re.findall(r"\d+", av.__version__)[:2])
OPTIONS_NAME = "options" if AV_VERSION >= (17, 1) else "container_options"
NO_FORMAT = (
    "it is in none of the formats that are read (MP4, MOV, MKV, WebM, AVI, MPEG, WMV, GIF and others); playlists and "
    "streams are not followed"
)
JPEG_START = b"\xff\xd8\xff"
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of them leave the transparency out
SHORT_GAP = 2.0  # seconds for which a file may show one picture, or be silent, as often as it likes
FREE_GAPS = 120.0  # seconds of longer gaps that any file may have, such as titles and slides
BREAK_TOLERANCE = 0.5  # seconds of the announced length that may be missing before it is worth a warning
SLOWEST_RATE = 1.0  # pictures per second; an average below it is that of a file whose times jump, or of slides


@contextmanager
def open_media(source: Source) -> Generator[InputContainer]:
    """Open a media file, or its bytes, for reading; ValueError if it is none. Bytes may be opened several times."""
    if isinstance(source, io.BytesIO):
        data = source.getvalue()  # shared with `source`, as getbuffer() would not be
        size, file = len(data), io.BytesIO(data)
    else:
        file = f"file:{source}"  # a path such as http:... is looked for on disk too
        try:
            size = Path(source).stat().st_size
        except OSError as error:
            raise ValueError(unreadable(source, error.strerror)) from error
    if not size:
        raise ValueError(f"{media_name(source)} is empty (0 bytes). Export or upload it again.")
    try:
        container = _opened(file)
    except (av.FFmpegError, OSError) as error:
        reason = NO_FORMAT if error.errno == errno.EINVAL else error.strerror
        raise ValueError(unreadable(source, reason)) from error
    with container:
        yield container


def _opened(file: str | io.BytesIO) -> InputContainer:
    options: dict[str, Any] = {"metadata_errors": "replace", OPTIONS_NAME: OPEN_OPTIONS}
    try:
        return av.open(file, **options)
    except av.FFmpegError as error:
        # By the name of a JPEG above a few kilobytes FFmpeg takes its reader of image sequences, which is refused.
        if error.errno != errno.EINVAL or not isinstance(file, str):
            raise
        with Path(file.removeprefix("file:")).open("rb") as head:
            if head.read(len(JPEG_START)) != JPEG_START:
                raise
    return av.open(file, format="jpeg_pipe", **options)


def unreadable(source: Source, reason: str | None) -> str:
    return (
        f"{media_name(source)} cannot be read as a video: {reason}. It may be cut off, damaged or not a video at all. "
        "If it does not play in a browser either, download or export it again, as MP4."
    )


def media_name(source: Source) -> str:
    return "The video" if isinstance(source, io.BytesIO) else f"'{Path(source).name}'"


def clock_start(container: InputContainer) -> float:
    """Return the container's time in seconds that counts as 0; sound may begin earlier, by the encoder's delay."""
    return max(0.0, (container.start_time or 0) / av.time_base)


def seconds(ticks: int, time_base: Fraction | None) -> Fraction:
    """Return a time of a stream or frame in seconds; FFmpeg gives both a time base once a file is open."""
    return ticks * cast(Fraction, time_base)


def wind(container: InputContainer, stream: av.VideoStream | av.AudioStream, time: float) -> None:
    """Go to the last place before `time` from which `stream` can be decoded; stay where that is impossible."""
    try:
        container.seek(math.floor((time + clock_start(container)) / seconds(1, stream.time_base)), stream=stream)
    except av.FFmpegError as error:
        logger.info("Cannot wind to %.2f s (%s); reading on from the beginning.", time, error.strerror)


def decode(container: InputContainer, stream, name: str, decoder=None) -> Iterator[Any]:
    """Yield every frame that can be decoded, by `decoder` or else the stream's own; the first that cannot is logged."""
    decoder = decoder or stream.codec_context
    warned = False
    for packet in _packets(container, name, stream):
        try:
            yield from decoder.decode(packet)
        except EndOfStreamError:
            return
        except av.FFmpegError as error:
            if not warned:
                _log_damage(name, packet, error)
            warned = True


def _packets(container: InputContainer, name: str, *streams) -> Iterator[av.Packet | None]:
    """Yield the packets of `streams` (none: of all) up to a break in the file, then None, which empties the decoder."""
    packet = None
    try:
        for packet in container.demux(*streams):
            yield packet
    except av.FFmpegError as error:
        _log_damage(name, packet, error)
    yield None


def _log_damage(name: str, packet: av.Packet | None, error: av.FFmpegError) -> None:
    where = f" at {float(seconds(packet.pts, packet.time_base)):.2f} s" if packet and packet.pts is not None else ""
    logger.warning("%s is damaged%s (%s). What can be read is used.", name, where, error.strerror)


def video_of(container: InputContainer, source: Source) -> av.VideoStream:
    """Return the moving pictures of a file; the cover of a song is none."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        found = "only sound" if container.streams.audio else "neither pictures nor sound"
        raise ValueError(f"{media_name(source)} holds {found}. Load a file that shows the dance, such as an MP4.")
    for stream in default_first(streams):
        if stream.codec_context is not None:
            stream.codec_context.options = DECODER_OPTIONS
            return stream
    raise ValueError(
        f"The installed PyAV {av.__version__} has no decoder for the pictures of {media_name(source)}. "
        "Convert the file to MP4 with H.264, or update PyAV: pip install -U av."
    )


def decoder_of(stream: av.VideoStream) -> av.VideoCodecContext:
    """Return the decoder of a stream: one that decodes the transparency too where the file declares some."""
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if name is None or tags.get("alpha_mode") != "1":
        return stream.codec_context
    try:
        decoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
    except UnknownCodecError:
        logger.warning("The installed PyAV has no decoder %s: the transparency of a video is not seen.", name)
        return stream.codec_context
    decoder.options = DECODER_OPTIONS
    return decoder


def default_first(streams: Iterable) -> list:
    """Return the tracks with those first that the file marks as its default."""
    return sorted(streams, key=lambda stream: not stream.disposition & Disposition.default)


def rate_of(stream: av.VideoStream) -> float | None:
    """Return the pictures per second, by their average; by their least distance where times jump."""
    average = float(stream.average_rate or 0)
    return average if average >= SLOWEST_RATE else float(stream.guessed_rate or average) or None


class Gaps:
    """The gaps in the times of a file, in seconds: which to keep, and how much was left out.

    Gaps of more than 2 s are kept for two minutes in all, and for as long again as was decoded: what a small file
    claims costs neither time nor memory.
    """

    def __init__(self):
        self.decoded = self.kept = self.left_out = 0.0
        self.first: float | None = None

    def keeps(self, gap: float) -> bool:
        """Return whether to keep a gap. What a long one takes is not there for the next."""
        if gap <= SHORT_GAP:
            return True
        kept = self.kept + gap <= FREE_GAPS + self.decoded
        if kept:
            self.kept += gap
        return kept

    def leave_out(self, seconds: float, time: float) -> None:
        self.left_out += seconds
        self.first = time if self.first is None else self.first

    def note(self, name: str, what: str) -> str:
        """Return what was left out of the "pictures" or the "sound", "" if nothing was."""
        if self.first is None:
            return ""
        jumps = f"the times of its {what} jump ahead by {self.left_out:.0f} s in all, first at {self.first:.2f} s"
        advice = "The gaps are left out. If the result looks or sounds wrong, export the video again."
        return f"{name} is damaged: {jumps}. {advice}"


class Clock:
    """Times at which the pictures of a stream are shown, also where the file gives none or contradicts itself."""

    def __init__(self, container: InputContainer, stream: av.VideoStream, step: float):
        self.tick, self.step = float(seconds(1, stream.time_base)), step
        self.shift = -clock_start(container)
        self.last: float | None = None
        self.gaps = Gaps()
        self.decoding_order = container.format.name == "avi"  # has no other times; FFmpeg's pts are not in order

    def time(self, frame: av.VideoFrame | av.Packet) -> float:
        """Return the time of the next picture, never before the last one's. `step` is how long it stays by itself."""
        expected = 0.0 if self.last is None else self.last + min(self.step, SHORT_GAP)
        stamp = frame.dts if self.decoding_order else frame.pts
        time = expected if stamp is None else stamp * self.tick + self.shift
        # Clips put together without a common clock run back; a damaged clock runs far ahead.
        if self.last is not None:
            if time < self.last or not self.gaps.keeps(time - self.last):
                if time > expected:
                    self.gaps.leave_out(time - expected, expected)
                self.shift += expected - time
                time = expected
            self.gaps.decoded += min(time - self.last, SHORT_GAP)
        duration = (frame.duration or 0) * self.tick
        if 0 < duration <= FREE_GAPS:
            self.step = duration
        self.last = time
        return time


class Extent(NamedTuple):
    """How far the packets of a file reach, in seconds.

    pictures: where the pictures end. announced: the length that the file gives for all of its tracks, 0.0 for none.
    whole: whether any track lasts that long.
    """

    pictures: float
    announced: float
    whole: bool


def measure_extent(source: Source) -> Extent:
    """Return how far the packets of a file reach; none is decoded."""
    with open_media(source) as container:
        stream = video_of(container, source)
        clock = Clock(container, stream, 1 / (rate_of(stream) or SLOWEST_RATE))
        reordered, clock.decoding_order = not clock.decoding_order, True
        ticks = [float(track.time_base or 0) for track in container.streams]
        latest = end = 0.0
        leading = []  # pts of packets before the first dts, which FFmpeg estimates where the file (Matroska) has none
        for packet in _packets(container, media_name(source)):
            if packet is None or not packet.size:
                continue
            index, pts = packet.stream_index, packet.pts
            if pts is not None:
                latest = max(latest, (pts + (packet.duration or 0)) * ticks[index])
            if index != stream.index:
                continue
            if clock.last is None and packet.dts is None and pts is not None:
                leading.append(pts)
                continue
            time, ahead = clock.time(packet), 0.0
            if reordered and pts is not None and packet.dts is not None:  # pictures are decoded before they are shown
                ahead = min(max(0.0, (max([pts, *leading]) - packet.dts) * clock.tick), FREE_GAPS)
                leading = []
            end = max(end, time + ahead + clock.step)
        if leading:
            end = max(end, min(max(leading) * clock.tick + clock.shift, FREE_GAPS) + clock.step)
        announced = (container.duration or 0) / av.time_base
        # Some writers announce the time of the last picture on a clock that starts late, others the time since then.
        reached = latest - clock_start(container)
        whole = reached >= announced - BREAK_TOLERANCE or abs(latest - announced) <= BREAK_TOLERANCE
        return Extent(end, announced, whole)
