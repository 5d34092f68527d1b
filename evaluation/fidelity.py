"""Frames against the ground truth: PSNR and SSIM, frame by frame, by torchmetrics.

SSIM: Wang et al. 2004, Gaussian window of 11 pixels, sigma 1.5, on each channel. PSNR of 8-bit pictures stays below 60
dB unless they are equal; equal frames count as 100 dB, so that a mean over frames stays a number.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..media.frames import fit_image
from ..steadydancer_core.long_video.first_frame import fit_photo
from .extra_packages import TORCHMETRICS, import_from
from .frame_batches import batches, unit
from .metrics import NotMeasured

IMAGE_METRICS = "functional.image"
EQUAL_DB = 100.0
SSIM_WINDOW = 11  # pixels


def frame_psnr(frames: Tensor, ground_truth: Tensor) -> Tensor:
    """Return float64 [F], the PSNR of each frame in dB, at most 100; both [F, H, W, 3] of one size and length."""
    metrics = import_from(TORCHMETRICS, IMAGE_METRICS)

    def psnr(a: Tensor, b: Tensor) -> Tensor:
        return metrics.peak_signal_noise_ratio(a.double(), b.double(), data_range=1.0, reduction="none", dim=(1, 2, 3))

    return _frame_by_frame(psnr, frames, ground_truth).clamp(max=EQUAL_DB)


def frame_ssim(frames: Tensor, ground_truth: Tensor) -> Tensor:
    """Return float64 [F], the SSIM of each frame, 1 for equal frames; NotMeasured for frames below 11x11 pixels."""
    metrics = import_from(TORCHMETRICS, IMAGE_METRICS)
    height, width = frames.shape[1:3]
    if min(height, width) < SSIM_WINDOW:
        raise NotMeasured(f"frames of {width}x{height} are smaller than SSIM's window of {SSIM_WINDOW}x{SSIM_WINDOW}")

    def ssim(a: Tensor, b: Tensor) -> Tensor:
        return metrics.structural_similarity_index_measure(a, b, data_range=1.0, reduction="none").reshape(-1)

    return _frame_by_frame(ssim, frames, ground_truth)


def fitted_photo(frames: Tensor, photo: Tensor) -> Tensor:
    """Return the first image of `photo` [B, h, w, C] as [1, H, W, 3] in the size of the frames."""
    return fit_photo(unit(frames[:1]), unit(photo[:1]))[None]


def fitted_ground_truth(frames: Tensor, ground_truth: Tensor) -> Tensor:
    """Return the true frames in the size of `frames`: unchanged if they have it, else cropped and resized."""
    height, width = frames.shape[1:3]
    if ground_truth.shape[1:3] == (height, width):
        return ground_truth
    return torch.cat([fit_image(batch, width, height).clamp(0, 1) for _, batch in batches(ground_truth)])


def _frame_by_frame(score: Callable[[Tensor, Tensor], Tensor], frames: Tensor, ground_truth: Tensor) -> Tensor:
    scores = [
        score(a.movedim(-1, 1), b.movedim(-1, 1))
        for (_, a), (_, b) in zip(batches(frames), batches(ground_truth), strict=True)
    ]
    return torch.cat(scores).double()
