"""Decoded pictures as pixels: RGB as a player shows it, turned by the display matrix, its pixels made square.

What is transparent is black: people whom a matte has taken out are not to be found.
"""

import math

import av
import numpy as np
from av.video.reformatter import ColorRange, VideoReformatter

LARGEST_PIXEL_ASPECT = 8
# libswscale's bilinear, full chroma interpolation and accurate rounding; PyAV 16 has no names for the last two. Pixels
# equal ComfyUI's own IMAGE within rounding, where the plain conversion is up to 27 of 255 off at edges of color.
EXACT = 0x2 | 0x2000 | 0x40000
# libswscale's matrix by the color space's number in ITU-T H.273; all else is read as BT.601, as untagged files are.
BT601 = 5
MATRICES = {1: 1, 4: 4, 7: 7, 9: 9, 10: 9}  # BT.709, FCC, SMPTE 240M, and both kinds of BT.2020
# For 32 bits these decoders declare an alpha channel, though most writers leave it 0: Targa and screen recorders.
UNFILLED_ALPHA = ("targa", "wcmv", "mscc", "srgc", "fmvc", "rscc")
BI_RGB = "\0\0\0\0"  # tag of raw pixels in AVI; of 32 bits it does not say whether the last 8 are an alpha channel


class FrameConverter:
    """Converts the pictures of one stream to uint8 [H, W, 3], RGB.

    first: the stream's first picture, whose display matrix counts for all. size: (width, height) in pixels to bring a
    picture to before it is turned; shown_size: afterwards. unfilled: whether an alpha of 0 all over the first picture
    counts as no alpha.
    """

    def __init__(self, first: av.VideoFrame, size: tuple[int, int], unfilled: bool):
        self.size = size
        self._matrix = _display_matrix(first)
        self.shown_size = size[::-1] if _lies_on_its_side(self._matrix) else size
        self._reformatter = VideoReformatter()
        self.transparent = has_alpha(first) and not (unfilled and not self._alpha(first).any())

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        pixels = self._converted(frame, "rgb24")
        if self.transparent and has_alpha(frame):
            alpha = self._alpha(frame)
            if alpha.min() < 255:
                pixels = ((pixels.astype(np.uint16) * alpha[..., None] + 127) // 255).astype(np.uint8)
        return _upright(pixels, self._matrix)

    def _alpha(self, frame: av.VideoFrame) -> np.ndarray:
        return self._converted(frame, "rgba")[..., 3]

    def _converted(self, frame: av.VideoFrame, pixel_format: str) -> np.ndarray:
        frame.colorspace = MATRICES.get(frame.colorspace, BT601)  # PyAV 17 refuses frames whose tag it cannot convert
        return self._reformatter.reformat(
            frame,
            *self.size,
            pixel_format,
            interpolation=EXACT,
            src_colorspace=frame.colorspace,
            dst_colorspace=BT601,
            src_color_range=frame.color_range,
            dst_color_range=ColorRange.JPEG,
        ).to_ndarray()


def has_alpha(frame: av.VideoFrame) -> bool:
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def may_be_unfilled(codec: av.VideoCodecContext) -> bool:
    """Return whether FFmpeg declares an alpha channel for a stream that its writer may not have filled."""
    return codec.name in UNFILLED_ALPHA or (codec.name == "rawvideo" and codec.codec_tag == BI_RGB)


def pixel_aspect(stream: av.VideoStream) -> float:
    """Return the width of a pixel by its height; what no camera makes counts as square."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 1 / LARGEST_PIXEL_ASPECT <= aspect <= LARGEST_PIXEL_ASPECT else 1.0


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """Return a, b, c, d of: shown x = a x + c y, shown y = b x + d y.

    To be asked of one frame only: side_data and its frame hold each other until Python's garbage collector runs.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV knows no name for newer kinds of side data, such as a photo's EXIF
        turned = math.radians(-frame.rotation)
        x, y = round(math.cos(turned)), round(math.sin(turned))
        return x, y, -y, x
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return a, b, c, d


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Return pixels [H, W, 3] turned and mirrored as the display matrix says, to the nearest right angle."""
    a, b, c, d = matrix
    if _lies_on_its_side(matrix):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def _lies_on_its_side(matrix: tuple[int, int, int, int]) -> bool:
    return abs(matrix[1]) > abs(matrix[0])
