"""The first frame of the video against the photo: how near it is, and how to make it the photo itself.

The model and its VAE give the photo back only nearly; pasting it, with a short cross-fade, hides the step.
"""

import math

import torch
from torch import Tensor

from ...media.frame_source import FrameSource, Spliced
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


def exact_first_frame(images: FrameSource, photo: Tensor, crossfade: int) -> FrameSource:
    """Return `images` [F, H, W, C] in RGB with frame 0 as `photo` [B, h, w, C], fitted to the clip's size.

    Frame k of the next `crossfade` holds k / (crossfade + 1) of what was generated. A Tensor is copied, of another
    FrameSource only these frames. ValueError if `crossfade` < 0.
    """
    if crossfade < 0:
        raise ValueError(f"crossfade is {crossfade}; it is a number of frames, 0 or more.")
    head = images[: crossfade + 1]
    first, head = fit_photo(head, photo), to_rgb(head).clone()
    for k in range(len(head)):
        head[k] = torch.lerp(first, head[k], k / (crossfade + 1)) if k else first
    if not isinstance(images, Tensor):
        return Spliced(head, images, len(head))
    result = to_rgb(images).clone()
    result[: len(head)] = head
    return result
