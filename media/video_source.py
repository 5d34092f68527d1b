"""What a video file is made of, handed out frame by frame, each with the sound that belongs to it.

Shapes: images [F frames, H, W, 3], waveform [C channels, T samples].
"""

from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from torch import Tensor

from .frame_source import FrameSource
from .log import logger
from .quantize import WHITE_8_BIT, quantize_to
from .side_by_side import SideBySide
from .streamed_frames import StreamedFrames
from .video_formats import SoundFormat

Images = FrameSource | SideBySide | StreamedFrames  # [F, H, W, 3]

CHANNEL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
WHITE_16_BIT = 255 << 8  # FFmpeg takes this, not 65535, for the white of rgb48: 940 of 10 bits, not 943


def frame_order(frames: int, ping_pong: bool = False, repeats: int = 1) -> list[int]:
    """Return the indices of the frames in the order they are shown, `repeats` times over."""
    back = range(frames - 2, 0, -1) if ping_pong else ()
    return [*range(frames), *back] * repeats


class Clip:
    """The frames as they are shown: indices into the one IMAGE, each turned into pixels when its turn comes."""

    def __init__(self, images: Images, order: list[int], rate: Fraction, pixel_format: str):
        self.images, self.order, self.rate = images, order, rate
        self.format, self._reformatter = av.VideoFormat(pixel_format), VideoReformatter()
        deep = self.format.components[0].bits > 8
        self._white, self._rgb_name = (WHITE_16_BIT, "rgb48le") if deep else (WHITE_8_BIT, "rgb24")
        height, width = images.shape[1:3]
        self.pad_width = width % (2 // self.format.chroma_width(2))
        self.pad_height = height % (2 // self.format.chroma_height(2))
        self.size = width + self.pad_width, height + self.pad_height

    def __len__(self) -> int:
        return len(self.order)

    def frame(self, position: int) -> av.VideoFrame:
        """Return the frame shown at `position` in the encoder's pixel format; YUV is bt709 in limited range."""
        if self.format.is_rgb:
            return self._reformatter.reformat(self.rgb_frame(position), format=self.format.name)
        return self._reformatter.reformat(
            self._write(position, self._converted),
            format=self.format.name,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )

    def rgb_frame(self, position: int) -> av.VideoFrame:
        """Return the frame shown at `position` as 8-bit RGB, or 16-bit RGB when the encoder takes more than 8."""
        return self._write(position, av.VideoFrame(*self.size, self._rgb_name))

    @cached_property
    def _converted(self) -> av.VideoFrame:
        """The RGB of each YUV frame in turn: fresh memory for every frame takes as long as the arithmetic."""
        return av.VideoFrame(*self.size, self._rgb_name)

    def _write(self, position: int, frame: av.VideoFrame) -> av.VideoFrame:
        """Write the image shown at `position`, its edges repeated where the frame is larger, to an RGB frame."""
        plane: Any = frame.planes[0]  # a buffer, which PyAV's types do not say
        width, height = self.size
        words = np.frombuffer(plane, np.uint8 if self._white == WHITE_8_BIT else "<u2").reshape(height, -1)
        levels = words[:, : 3 * width].reshape(height, width, 3)
        self._write_levels(self.order[position], levels[: height - self.pad_height, : width - self.pad_width])
        if self.pad_width:
            levels[:, -1] = levels[:, -2]
        if self.pad_height:
            levels[-1] = levels[-2]
        frame.pts, frame.time_base = position, 1 / self.rate
        return frame

    def _write_levels(self, index: int, levels: np.ndarray) -> None:
        """Write image `index` as whole numbers from 0 to white to `levels` [H, W, 3]."""
        image = self.images[index]
        if isinstance(image, np.ndarray):
            np.multiply(image, self._white // WHITE_8_BIT, out=levels, dtype=levels.dtype)
            return
        if not quantize_to(levels, image.detach().cpu().float().numpy(), self._white):
            logger.warning("Video Combine: frame %d holds invalid numbers (NaN); they are written as black.", index)


class Sound(NamedTuple):
    """The soundtrack, waveform [C, T], cut into the chunks that belong to the frames. form: what it is written as."""

    waveform: Tensor
    sample_rate: int
    form: SoundFormat

    def chunk(self, position: int, rate: Fraction) -> av.AudioFrame | None:
        """Return the samples that sound while frame `position` is shown, then silence; None for no samples at all."""
        start, stop = (round(p * self.sample_rate / rate) for p in (position, position + 1))
        if start == stop:
            return None
        samples = self.waveform[:, start:stop].detach().cpu().float().numpy()  # C T
        samples = np.pad(np.clip(np.nan_to_num(samples), -1, 1), ((0, 0), (0, stop - start - samples.shape[1])))
        # Packed, because PyAV 18 miscounts the planes of 8 channels.
        packed = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "flt", CHANNEL_LAYOUTS[len(samples)])
        frame.sample_rate, frame.pts, frame.time_base = self.sample_rate, start, Fraction(1, self.sample_rate)
        return frame
