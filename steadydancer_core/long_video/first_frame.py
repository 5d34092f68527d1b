"""The first frame of the video against the photo: how near it is, and how to make it the photo itself.

The model and its VAE give the photo back only nearly; pasting it, with a short cross-fade, hides the step.
"""

import math

import torch
from torch import Tensor

from ...media.frames import fit_image, to_rgb


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of two images of one shape, values 0..1; equal images: math.inf."""
    if a.shape != b.shape:
        raise ValueError(f"Images of different shapes have no PSNR: {tuple(a.shape)} and {tuple(b.shape)}.")
    error = (a.cpu().double() - b.cpu().double()).square().mean().item()  # Apple's GPU knows no float64
    return math.inf if error == 0 else -10 * math.log10(error)


def fit_photo(images: Tensor, photo: Tensor) -> Tensor:
    """Return the first image of `photo` [B, h, w, C] as a frame [H, W, 3] of the clip `images` [F, H, W, C], 0..1."""
    if images.ndim != 4 or not len(images) or not len(photo):
        raise ValueError(
            f"The clip has shape {tuple(images.shape)} and the photo {tuple(photo.shape)}; each needs at least one "
            "image. Connect the decoded frames and the photo that the video was made from."
        )
    height, width = images.shape[1:3]
    return fit_image(photo[:1], width, height)[0].clamp(0, 1).to(images)


def exact_first_frame(images: Tensor, photo: Tensor, crossfade: int) -> Tensor:
    """Return a copy of `images` [F, H, W, C] in RGB whose frame 0 is `photo` [B, h, w, C], fitted to the clip's size.

    Frame k of the next `crossfade` holds k / (crossfade + 1) of what was generated. ValueError if `crossfade` < 0.
    """
    if crossfade < 0:
        raise ValueError(f"crossfade is {crossfade}; it is a number of frames, 0 or more.")
    first = fit_photo(images, photo)
    result = to_rgb(images).clone()
    for k in range(min(crossfade + 1, len(result))):
        result[k] = torch.lerp(first, result[k], k / (crossfade + 1)) if k else first
    return result
