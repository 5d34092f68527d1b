"""The formats that Video Combine writes, as one table, and the checks of what each allows.

No tensor and no file is touched here: everything that can be refused is refused before the first frame is encoded.
"""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

import av
from av.codec.codec import UnknownCodecError

AUTO = "auto"
DEFAULT_CRF = -1
NTSC_RATES = (24, 30, 48, 60, 120)  # each plays at n * 1000 / 1001 frames per second when written as 23.976, 29.97, ...


class Encoder(NamedTuple):
    name: str
    options: Mapping[str, str]


class SoundFormat(NamedTuple):
    """An FFmpeg audio encoder; `rates` in Hz, the first one is used when the sound has none of them."""

    encoder: str
    rates: tuple[int, ...]
    bits_per_channel: int


class CrfRange(NamedTuple):
    """The lowest, highest and default crf of a format; higher is a smaller and coarser file."""

    lowest: int
    highest: int
    default: int


class VideoFormat(NamedTuple):
    """One row of the table; `encoders` and `pixel_formats` in order of preference.

    min_side: the fewest pixels in width and in height that the encoder is safe with.
    max_fps: browsers show animated pictures slower than asked above it (frames of 10 ms or less last 100 ms).
    """

    container: str  # the name of the muxer and of the file extension
    encoders: tuple[Encoder, ...]
    pixel_formats: tuple[str, ...]
    crf: CrfRange | None
    min_side: int = 1
    max_fps: int = 240
    sound: SoundFormat | None = None
    codec_tag: str = ""
    options: Mapping[str, str] = {}

    @property
    def is_video(self) -> bool:
        """False for the animated pictures (GIF, WebP), which browsers show as images and which carry no sound."""
        return self.sound is not None


YUV = ("yuv420p", "yuv422p", "yuv444p")
YUV_10_BIT = ("yuv420p10le", "yuv422p10le", "yuv444p10le")
AAC = SoundFormat("aac", (48000, 44100), 96000)
OPUS = SoundFormat("libopus", (48000,), 80000)
# Without use_metadata_tags MP4 drops the tags "workflow" and "prompt".
MP4_OPTIONS = {"movflags": "use_metadata_tags+faststart"}

X264 = Encoder("libx264", {"preset": "medium"})
X265 = Encoder("libx265", {"preset": "medium", "x265-params": "log-level=error"})
VP9 = Encoder("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"})
# SVT-AV1's presets 8 and above tint flat 10-bit frames (gray 128 decodes as 109, 108, 147); preset 6 does not.
SVT_AV1 = Encoder("libsvtav1", {"preset": "6"})
AOM_AV1 = Encoder("libaom-av1", {"b": "0", "cpu-used": "6", "row-mt": "1"})

FORMATS = {
    "MP4 H.264": VideoFormat("mp4", (X264,), YUV + YUV_10_BIT, CrfRange(0, 51, 19), sound=AAC, options=MP4_OPTIONS),
    # x265's look-ahead (cuTree) writes past its memory in clips up to 48 pixels wide, which ends the process.
    "MP4 H.265": VideoFormat(
        "mp4", (X265,), YUV + YUV_10_BIT, CrfRange(0, 51, 22), 64, sound=AAC, codec_tag="hvc1", options=MP4_OPTIONS
    ),
    "WebM VP9": VideoFormat("webm", (VP9,), YUV, CrfRange(0, 63, 28), sound=OPUS),
    "WebM AV1": VideoFormat(
        "webm", (SVT_AV1, AOM_AV1), ("yuv420p", "yuv420p10le"), CrfRange(1, 63, 28), sound=OPUS, min_side=4
    ),
    "GIF": VideoFormat("gif", (Encoder("gif", {}),), ("pal8",), None, max_fps=50),
    "WebP": VideoFormat("webp", (Encoder("libwebp", {}),), ("bgra",), CrfRange(0, 100, 20), max_fps=90),
}
PIXEL_FORMATS = (AUTO, *YUV, *YUV_10_BIT)


def format_named(name: str) -> VideoFormat:
    if name not in FORMATS:
        raise ValueError(f"There is no video format '{name}'. Choose one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def frame_rate(fps: float, name: str) -> Fraction:
    """Return `fps` (0 < fps <= the format's max_fps) as the fraction that players expect: 29.97 -> 30000/1001."""
    if not math.isfinite(fps) or fps <= 0:
        raise ValueError(f"fps is {fps}; a video needs a number above 0. Connect the fps of Extract Poses, or give 16.")
    limit = format_named(name).max_fps
    if fps > limit:
        raise ValueError(
            f"fps is {fps:g}, but {name} goes up to {limit} frames per second. Lower fps or choose another format."
        )
    for nominal in NTSC_RATES:
        if abs(fps - nominal * 1000 / 1001) < 0.005:
            return Fraction(nominal * 1000, 1001)
    return Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)


def check_size(width: int, height: int, name: str) -> None:
    """Raise ValueError if frames of this size, in pixels, are too small for the format."""
    smallest = format_named(name).min_side
    if min(width, height) < smallest:
        raise ValueError(
            f"The frames are {width}x{height} pixels, but {name} needs at least {smallest}x{smallest}. "
            "Choose another format or larger frames."
        )


def choose_pixel_format(name: str, pixel_format: str) -> str:
    """Return the pixel format to encode in; "auto" is the format's first. ValueError naming the valid ones."""
    valid = format_named(name).pixel_formats
    if pixel_format == AUTO:
        return valid[0]
    if pixel_format not in valid:
        choices = ", ".join((AUTO, *(p for p in valid if p in PIXEL_FORMATS)))
        raise ValueError(f"{name} cannot be written in the pixel format {pixel_format}. Choose one of: {choices}.")
    return pixel_format


def choose_crf(name: str, crf: int) -> int | None:
    """Return the crf to encode with, -1 being the default; None for GIF. ValueError naming the range."""
    limits = format_named(name).crf
    if limits is None:
        return None
    if crf == DEFAULT_CRF:
        return limits.default
    if not limits.lowest <= crf <= limits.highest:
        raise ValueError(
            f"crf is {crf}, but {name} takes {limits.lowest} to {limits.highest}, or {DEFAULT_CRF} for its default, "
            f"which is {limits.default}."
        )
    return crf


def choose_encoder(name: str) -> Encoder:
    """Return the first encoder of the format that this PyAV holds; ValueError naming those looked for."""
    encoders = format_named(name).encoders
    for encoder in encoders:
        if has_encoder(encoder.name):
            return encoder
    wanted = " or ".join(encoder.name for encoder in encoders)
    raise ValueError(
        f"{name} needs the encoder {wanted}, which the installed PyAV {av.__version__} lacks. "
        "Choose another format, or update PyAV: pip install -U av."
    )


def has_encoder(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except UnknownCodecError:
        return False
    return True
