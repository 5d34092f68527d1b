"""Frame 0 and the photo: how near they are, and how to make them equal.

SteadyDancer is trained to begin with the photo, but a VAE and a sampler lie between, so frame 0 is close and not the same.
F frames, H W pixels; images are [F, H, W, 3] in 0..1.
"""

import math

from torch import Tensor

from .pixels import fit_image, to_rgb


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio of two images in 0..1 of one shape, in dB; math.inf where they are equal."""
    if a.shape != b.shape:
        raise ValueError(f"Found images of shapes {tuple(a.shape)} and {tuple(b.shape)}; only equal shapes compare.")
    error = (a.double() - b.double()).square().mean().item()
    return -10 * math.log10(error) if error > 0 else math.inf


def fitted_photo(images: Tensor, photo: Tensor) -> Tensor:
    """Return `photo` [1, h, w, C] as the model saw it, [H, W, 3] of the clip's size, clamped to 0..1, on its device."""
    if not len(images) or not len(photo):
        raise ValueError("Found no frames or no photo; connect the decoded clip and the photo that it began with.")
    height, width = images.shape[1:3]
    return fit_image(photo[:1], width, height)[0].clamp(0, 1).to(images)


def exact_first_frame(images: Tensor, photo: Tensor, crossfade: int) -> Tensor:
    """Return a copy of `images` that begins with `photo` [1, h, w, C] itself.

    Frame 0 is the photo, resized as for the model; the next `crossfade` frames go over to the generated ones in equal steps
    (frame k keeps 1 - k / (crossfade + 1) of the photo). A fade longer than the clip is cut at the clip's end.
    """
    if crossfade < 0:
        raise ValueError(f"Found a cross-fade of {crossfade} frames; it must be 0 or more.")
    still = fitted_photo(images, photo)
    out = to_rgb(images).clone()
    for frame in range(min(crossfade + 1, len(out))):
        out[frame].lerp_(still, 1 - frame / (crossfade + 1))
    return out
