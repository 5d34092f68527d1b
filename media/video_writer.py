"""Frames and sound to a file: MP4, WebM, GIF or animated WebP, through PyAV.

Frames go to the encoder one at a time, in the order of a list of indices: ping-pong and loops cost no copy of the clip.
The file is written under a hidden name and named when whole: there is never half a file, and none is replaced.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
from av.error import BlockingIOError as NotReadyError
from av.error import EOFError as EndOfStreamError
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

from .atomic_write import atomic_write_new
from .audio_input import to_audio
from .frames import to_rgb
from .log import logger
from .video_formats import (
    AUTO,
    DEFAULT_CRF,
    Encoder,
    SoundFormat,
    VideoFormat,
    check_size,
    choose_crf,
    choose_encoder,
    choose_pixel_format,
    format_named,
    frame_rate,
    has_encoder,
)
from .video_source import CHANNEL_LAYOUTS, Clip, Images, Sound, frame_order
from .video_webp import WebpAnimation

GIF_TIME_BASE = Fraction(1, 100)
RGB = av.VideoFormat("rgb24")
BT709 = 1  # of ITU-T H.273, for primaries and transfer
SHORT_CLIP = 4  # with fewer frames than its B-frame delay x265 leaves the decoding times of packets unset

OnFrame = Callable[[int, int], None]


class VideoWriteError(RuntimeError):
    """The file could not be written: where, why, and that the frames are not lost."""


class Settings(NamedTuple):
    """What to make of the frames.

    format: a key of FORMATS. crf: see choose_crf. pixel_format: see choose_pixel_format.
    ping_pong: F frames forward, then back without both ends, 2F - 2 in all.
    loop: 0 or more. A video holds the frames that often (0: once); GIF and WebP are played that often (0: without end).
    metadata: tags of the container, text by name; WebP stores "workflow" and "prompt" as EXIF, GIF none.
    """

    format: str = "MP4 H.264"
    crf: int = DEFAULT_CRF
    pixel_format: str = AUTO
    ping_pong: bool = False
    loop: int = 0
    metadata: Mapping[str, str] = {}


DEFAULTS = Settings()


def write_video(
    names: Iterable[Path],
    images: Images,
    fps: float,
    settings: Settings = DEFAULTS,
    audio: Mapping | None = None,
    on_frame: OnFrame | None = None,
) -> Path:
    """Write IMAGE [F, H, W, 1, 3 or 4] in 0..1 and AUDIO to a new file; return the name it got. Alpha is dropped.

    names: a list of paths in one folder, which must exist, or Numbered; the first that is free when all is written.
    audio: as to_audio takes it; item 0 of the batch, cut or padded to the video.
    on_frame: called as (steps done, all steps) after each frame; what it raises passes through, and no file is left.
    Raises ValueError for input that cannot be written, before any file is touched, and VideoWriteError when the disk or
    the encoder fails.
    """
    form, name = format_named(settings.format), settings.format
    encoder, crf = choose_encoder(name), choose_crf(name, settings.crf)
    pixel_format = choose_pixel_format(name, settings.pixel_format)
    rate = frame_rate(fps, name)
    rgb = to_rgb(images) if isinstance(images, Tensor) else images
    if 0 in rgb.shape:
        raise ValueError(f"There are no frames to write: the images have the shape {tuple(images.shape)}.")
    check_size(images.shape[2], images.shape[1], name)
    order = frame_order(len(rgb), settings.ping_pong, max(settings.loop, 1) if form.is_video else 1)
    clip = Clip(rgb, order, rate, pixel_format)
    sound = _sound(audio, form.sound) if audio is not None and form.sound else None
    _log_what_differs(images, settings, clip, audio)
    job = _Job(form, encoder, crf, clip, sound, settings.loop, settings.metadata, on_frame or (lambda *_: None))
    try:
        with atomic_write_new(names) as new:
            WRITERS.get(form.container, _write_streams)(new.part, job)
    except (OSError, av.FFmpegError) as error:
        raise write_failure(next(iter(names)), error) from error
    return new.path


def write_failure(path: str | os.PathLike, error: Exception) -> VideoWriteError:
    path = Path(path)
    reason = error.strerror if isinstance(error, OSError) else error
    return VideoWriteError(
        f"Could not write '{path.name}' in {path.parent}: {reason}. No half file was left there. ComfyUI still keeps "
        "the finished frames: free some space, allow writing to that folder or choose another format, then press Run "
        "again; nothing is sampled anew."
    )


class _Job(NamedTuple):
    form: VideoFormat
    encoder: Encoder
    crf: int | None
    clip: Clip
    sound: Sound | None
    loop: int
    metadata: Mapping[str, str]
    on_frame: OnFrame


def _sound(audio: Mapping, form: SoundFormat) -> Sound:
    audio = to_audio(audio)
    if not has_encoder(form.encoder):
        raise ValueError(
            f"The installed PyAV {av.__version__} lacks the audio encoder {form.encoder}. "
            "Disconnect audio, choose another format, or update PyAV: pip install -U av."
        )
    return Sound(audio["waveform"][0], audio["sample_rate"], form)


def _log_what_differs(images: Images, settings: Settings, clip: Clip, audio: Mapping | None) -> None:
    name, is_video = settings.format, format_named(settings.format).is_video
    if clip.pad_width or clip.pad_height:
        height, width = images.shape[1:3]
        sizes = f"{width}x{height} is padded to {clip.size[0]}x{clip.size[1]} by repeating the edge"
        logger.info("Video Combine: %s in %s needs even sizes; %s.", name, clip.format.name, sizes)
    if images.shape[-1] == 4:
        logger.info("Video Combine: the images have an alpha channel; it is dropped.")
    if audio is not None and not is_video:
        logger.info("Video Combine: %s carries no sound; the audio is left out.", name)
    if audio is not None and is_video and len(audio["waveform"]) > 1:
        logger.info("Video Combine: the audio is a batch of %d; the first is used.", len(audio["waveform"]))
    if settings.crf != DEFAULT_CRF and format_named(name).crf is None:
        logger.info("Video Combine: %s has no crf; %d is not used.", name, settings.crf)


@contextlib.contextmanager
def _output(part: Path, job: _Job, **options: str) -> Generator[av.container.OutputContainer]:
    """Open the container; when the body fails, its error counts and not the one of closing an unfinished file."""
    container = av.open(str(part), "w", format=job.form.container, options={**job.form.options, **options})
    whole = False
    try:
        yield container
        whole = True
    finally:
        with contextlib.nullcontext() if whole else contextlib.suppress(OSError, av.FFmpegError):
            container.close()


def _add_video(container: av.container.OutputContainer, job: _Job, **options: str) -> av.VideoStream:
    stream = container.add_stream(job.encoder.name, rate=job.clip.rate, options={**job.encoder.options, **options})
    video = cast(av.VideoStream, stream)
    (video.width, video.height), video.pix_fmt = job.clip.size, job.clip.format.name
    return video


def _write_streams(part: Path, job: _Job) -> None:
    with _output(part, job) as container:
        container.metadata.update(job.metadata)
        video = _add_video(container, job, crf=str(job.crf))
        context = video.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = BT709
        if job.form.codec_tag:
            context.codec_tag = job.form.codec_tag
        if len(job.clip) < SHORT_CLIP:
            context.max_b_frames = 0
        sound = None
        if job.sound:
            form, channels = job.sound.form, min(len(job.sound.waveform), 2)
            rate = job.sound.sample_rate if job.sound.sample_rate in form.rates else form.rates[0]
            stream = container.add_stream(form.encoder, rate=rate, layout=CHANNEL_LAYOUTS[channels])
            sound = cast(av.AudioStream, stream)
            sound.bit_rate = form.bits_per_channel * channels
        for position in range(len(job.clip)):
            container.mux(video.encode(job.clip.frame(position)))
            if sound and job.sound and (chunk := job.sound.chunk(position, job.clip.rate)):
                container.mux(sound.encode(chunk))
            job.on_frame(position + 1, len(job.clip))
        for stream in filter(None, (video, sound)):
            container.mux(stream.encode())


def _write_webp(part: Path, job: _Job) -> None:
    encoder = cast(av.VideoCodecContext, av.CodecContext.create(job.encoder.name, "w"))
    (encoder.width, encoder.height), encoder.pix_fmt = job.clip.size, job.clip.format.name
    encoder.time_base, encoder.options = 1 / job.clip.rate, {"quality": str(100 - (job.crf or 0))}
    with part.open("wb") as file:
        animation = WebpAnimation(file, *job.clip.size, job.loop, job.metadata)
        for position in range(len(job.clip)):
            start, stop = (round(p * 1000 / job.clip.rate) for p in (position, position + 1))
            for packet in encoder.encode(job.clip.frame(position)):
                animation.add(bytes(packet), stop - start)
            job.on_frame(position + 1, len(job.clip))
        animation.finish()


def _write_gif(part: Path, job: _Job) -> None:
    palette = _gif_palette(job)
    # GIF counts the repeats after the first showing: -1 is no such count, 0 is without end.
    loop = {0: 0, 1: -1}.get(job.loop, job.loop - 1)
    with _output(part, job, loop=str(loop)) as container:
        stream = _add_video(container, job)
        stream.codec_context.time_base = GIF_TIME_BASE
        for frame in _gif_frames(job, palette):
            frame.pts, frame.time_base = round((frame.pts or 0) / job.clip.rate / GIF_TIME_BASE), GIF_TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _gif_palette(job: _Job) -> av.VideoFrame:
    """Return the 256 colors for all frames, in a pass of its own: one pass for both would hold every frame."""
    graph = Graph()
    source, sink = _add_source(graph, *job.clip.size, RGB, job.clip.rate), graph.add("buffersink")
    maker = graph.add("palettegen", "stats_mode=full")
    source.link_to(maker)
    maker.link_to(sink)
    graph.configure()
    for position in range(len(job.clip)):
        source.push(job.clip.rgb_frame(position))
        list(_ready(sink))  # makes the filter take the frame; without it the graph would hold them all
        job.on_frame(position + 1, 2 * len(job.clip))
    source.push(None)
    return next(_ready(sink))


def _gif_frames(job: _Job, palette: av.VideoFrame) -> Iterator[av.VideoFrame]:
    """Yield the frames in the palette's colors; pts counts frames."""
    graph, clip = Graph(), job.clip
    source, sink = _add_source(graph, *clip.size, RGB, clip.rate), graph.add("buffersink")
    colors = _add_source(graph, palette.width, palette.height, palette.format, clip.rate)
    mapper = graph.add("paletteuse", "dither=sierra2_4a:diff_mode=rectangle")
    source.link_to(mapper, 0, 0)
    colors.link_to(mapper, 0, 1)
    mapper.link_to(sink)
    graph.configure()
    palette.pts, palette.time_base = 0, 1 / clip.rate
    colors.push(palette)
    colors.push(None)
    for position in range(len(clip)):
        source.push(clip.rgb_frame(position))
        yield from _ready(sink)
        job.on_frame(len(clip) + position + 1, 2 * len(clip))
    source.push(None)
    yield from _ready(sink)


def _add_source(graph: Graph, width: int, height: int, form: av.VideoFormat, rate: Fraction) -> FilterContext:
    return graph.add_buffer(width=width, height=height, format=form, time_base=1 / rate)


def _ready(sink: FilterContext) -> Iterator[av.VideoFrame]:
    """Yield what the graph can give now."""
    with contextlib.suppress(NotReadyError, EndOfStreamError):
        while True:
            yield cast(av.VideoFrame, sink.pull())


WRITERS = {"gif": _write_gif, "webp": _write_webp}
