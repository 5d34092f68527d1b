"""Frame sizes and pixels at the edge of the model.

Source: SteadyDancer wan/image2video_dancer.py, generate(): the frame keeps the photo's aspect at a given area, each
side is floored to a multiple of 16 pixels (8 of the VAE times 2 of the patch), and images are stretched onto it with
plain bicubic interpolation. Difference from upstream: an image whose aspect differs from the frame's by more than
that flooring is cropped about its centre first, so that nobody is stretched.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE_STEP = 16
DEFAULT_AREA = 1024 * 576
MAX_ASPECT_DIFFERENCE = 0.08
CLIP_SIDE = 224  # pixels


def default_size(image_width: int, image_height: int, area: int = DEFAULT_AREA) -> tuple[int, int]:
    """Return (width, height) in pixels: the image's aspect at `area` pixels, each side a multiple of 16."""
    aspect = image_height / image_width
    width, height = (int(math.sqrt(area * r) // SIZE_STEP) * SIZE_STEP for r in (1 / aspect, aspect))
    return max(width, SIZE_STEP), max(height, SIZE_STEP)


def valid_length(frames: int) -> int:
    """Return the largest 4n+1 that is not above `frames`: the clip lengths that the causal VAE can hold."""
    return (frames - 1) // 4 * 4 + 1


def latent_frames(frames: int) -> int:
    """Return how many latent frames the causal VAE makes of `frames`: one of the first, one of each four after it."""
    return (frames + 3) // 4


def aspect_difference(size_a: tuple[int, int], size_b: tuple[int, int]) -> float:
    """Return how far two (width, height) are from one shape: 0 is equal, 0.1 is one tenth wider or narrower."""
    ratio = (size_a[0] * size_b[1]) / (size_a[1] * size_b[0])
    return max(ratio, 1 / ratio) - 1


def to_rgb(image: Tensor) -> Tensor:
    """Return IMAGE [B, H, W, 3] from grey [B, H, W, 1], RGB or RGBA (alpha dropped); ValueError for anything else."""
    if image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"Found an image tensor of shape {tuple(image.shape)}; an IMAGE is [frames, height, width, channels] "
            "with 1, 3 or 4 channels. Connect the output of Load Image or of a video loader."
        )
    return image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image[..., :3]


def size_of(image: Tensor) -> tuple[int, int]:
    """Return (width, height) of an IMAGE [B, H, W, C]."""
    return image.shape[2], image.shape[1]


def kept_part(image_size: tuple[int, int], width: int, height: int) -> tuple[float, float]:
    """Return the parts of an image's (width, height) that a frame of that size shows: 1 is all, the rest is cropped.

    A difference of shape that the flooring to 16 pixels can make is stretched, not cropped.
    """
    w, h = image_size
    if aspect_difference((w, h), (width, height)) <= MAX_ASPECT_DIFFERENCE:
        return 1.0, 1.0
    return min(1.0, h * width / (height * w)), min(1.0, w * height / (width * h))


def fit_image(image: Tensor, width: int, height: int, kept: tuple[float, float] | None = None) -> Tensor:
    """Return `image` [B, h, w, C] in 0..1 as RGB [B, height, width, 3], cropped about its centre to its `kept_part`.

    `kept` is another image's, where both must stay in register. Bicubic without antialiasing or clamping, as upstream
    does, so sharp edges may overshoot 0..1 by a little.
    """
    image = crop(image, kept or kept_part(size_of(image), width, height))
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
    """Return the parts `kept` of the image's (width, height) about its centre, as RGB [B, h, w, 3]."""
    image = to_rgb(image)
    h, w = image.shape[1:3]
    crop_w, crop_h = (max(1, round(side * part)) for side, part in zip((w, h), kept, strict=True))
    left, top = (w - crop_w) // 2, (h - crop_h) // 2
    return image[:, top : top + crop_h, left : left + crop_w]


def blank_video(known: Tensor, length: int) -> Tensor:
    """Return [length, H, W, 3]: the frames `known` [K, H, W, 3], then mid-grey, the VAE's zero."""
    video = torch.full((length, *known.shape[1:]), 0.5, dtype=known.dtype, device=known.device)
    video[: len(known)] = known
    return video
