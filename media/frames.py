"""Frames as tensors: IMAGE [B, H, W, C] in 0..1, cropped and resized to the model's frame and to CLIP's input.

Source: SteadyDancer wan/image2video_dancer.py, generate(): images are resized onto the frame by plain bicubic. Unlike
upstream, one whose aspect differs by more than the flooring to 16 pixels is cropped about its center first.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .frame_size import crop_fraction
from .frame_source import FrameSource
from .quantize import quantize

CLIP_SIDE = 224  # pixels


def to_uint8(image: Tensor) -> np.ndarray:
    """Return floats in 0..1 as uint8 pixels of the same shape, rounded and clipped; NaN is 0."""
    return quantize(image.detach().cpu().float().numpy())


def to_float(pixels: np.ndarray | Tensor) -> Tensor:
    """Return uint8 pixels as float32 in 0..1 of the same shape."""
    tensor = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels  # never the default device
    return tensor.float() / 255


def video_to_uint8(video: Tensor) -> np.ndarray:
    """Return floats in -1..1, the range of the VAE, as uint8 pixels of the same shape, rounded and clipped."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()


def uint8_to_video(pixels: np.ndarray | Tensor) -> Tensor:
    """Return uint8 pixels as float32 in -1..1, the range of the VAE, of the same shape."""
    tensor = torch.from_numpy(pixels) if isinstance(pixels, np.ndarray) else pixels
    return tensor.float() / 127.5 - 1


def to_rgb(image: Tensor) -> Tensor:
    """Return IMAGE [B, H, W, 3] from gray [B, H, W, 1], RGB or RGBA (alpha dropped); ValueError for anything else."""
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"Found an image tensor of shape {tuple(image.shape)}; an IMAGE is [frames, height, width, channels] "
            "with 1, 3 or 4 channels. Connect the output of Load Image or of a video loader."
        )
    return image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image[..., :3]


def size_of(image: Tensor | FrameSource) -> tuple[int, int]:
    """Return (width, height) of an IMAGE [B, H, W, C]."""
    return image.shape[2], image.shape[1]


def fit_image(image: Tensor, width: int, height: int, kept: tuple[float, float] | None = None) -> Tensor:
    """Return `image` [B, h, w, C] in 0..1 as RGB [B, height, width, 3], cropped about its center.

    `kept` is the `crop_fraction`: its own, or another image's where both must stay in register. Bicubic without
    antialiasing or clamping, as upstream does, so sharp edges may overshoot 0..1 by a little.
    """
    image = crop(image, kept or crop_fraction(size_of(image), width, height))
    if image.shape[1:3] == (height, width):
        return image
    pixels = F.interpolate(image.movedim(-1, 1).float(), size=(height, width), mode="bicubic")
    return pixels.movedim(1, -1)


def clip_pixels(image: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Return `image` [B, H, W, 3] in 0..1 at CLIP vision's size, [B, 224, 224, 3], bicubic without antialiasing.

    With `size` (width, height) it is brought to that size first, with antialiasing, as upstream's PIL does with the
    pose frame. ComfyUI's preprocessing resizes nothing afterwards; it clamps to 0..1 and rounds to 8 bits.
    """
    if size and size != size_of(image):
        pixels = F.interpolate(image.movedim(-1, 1).float(), size=size[::-1], mode="bicubic", antialias=True)
        image = pixels.movedim(1, -1).clamp(0, 1)
    return fit_image(image, CLIP_SIDE, CLIP_SIDE, (1.0, 1.0))


def crop(image: Tensor, kept: tuple[float, float]) -> Tensor:
    """Return the fractions `kept` of the image's (width, height) about its center, as RGB [B, h, w, 3]."""
    image = to_rgb(image)
    h, w = image.shape[1:3]
    crop_w, crop_h = (max(1, round(side * part)) for side, part in zip((w, h), kept, strict=True))
    left, top = (w - crop_w) // 2, (h - crop_h) // 2
    return image[:, top : top + crop_h, left : left + crop_w]


def blank_video(known: Tensor, length: int) -> Tensor:
    """Return [length, H, W, 3]: the frames `known` [K, H, W, 3], then mid-gray, the VAE's zero."""
    video = torch.full((length, *known.shape[1:]), 0.5, dtype=known.dtype, device=known.device)
    video[: len(known)] = known
    return video
