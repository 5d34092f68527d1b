"""Frames against the ground truth: PSNR and SSIM, frame by frame.

SSIM: Wang et al. 2004, Gaussian window of 11 pixels, sigma 1.5, on each channel. PSNR of 8-bit pictures stays below 60
dB unless they are equal; equal frames count as 100 dB, so that a mean over frames stays a number.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..dwpose.packages.opencv import import_cv2
from ..media.frames import fit_image
from ..steadydancer_core.long_video.first_frame import fit_photo
from .extra_packages import MissingPackage
from .frame_batches import batches, each_frame, unit
from .metrics import NotMeasured

EQUAL_DB = 100.0
SSIM_WINDOW = 11  # pixels
SSIM_SIGMA = 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2  # what keeps SSIM's two quotients steady, for values in 0..1
CENTER = np.float32(0.5)


def frame_psnr(frames: Tensor, ground_truth: Tensor) -> Tensor:
    """Return float64 [F], the PSNR of each frame in dB, at most 100; both [F, H, W, 3] of one size and length."""
    errors = [np.square(a - b).mean(dtype=np.float64) for a, b in _pairs(frames, ground_truth)]
    return (-10 * torch.tensor(errors, dtype=torch.float64).log10()).clamp(max=EQUAL_DB)


def frame_ssim(frames: Tensor, ground_truth: Tensor) -> Tensor:
    """Return float64 [F], the SSIM of each frame, 1 for equal frames; NotMeasured for frames below 11x11 pixels."""
    height, width = frames.shape[1:3]
    if min(height, width) < SSIM_WINDOW:
        raise NotMeasured(f"frames of {width}x{height} are smaller than SSIM's window of {SSIM_WINDOW}x{SSIM_WINDOW}")
    return torch.tensor([_ssim(a, b) for a, b in _pairs(frames, ground_truth)], dtype=torch.float64)


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return the SSIM of two pictures, float32 [H, W, C] in 0..1, mirrored beyond their edges.

    Variances are those of the values less 0.5: E[x^2] - E[x]^2 of bright even areas is lost in float32 otherwise, which
    costs up to 3e-4. What is left is below 1e-5 of the same in float64.
    """
    try:
        cv2 = import_cv2()
    except ValueError as error:
        raise MissingPackage(str(error)) from error
    window = cv2.getGaussianKernel(SSIM_WINDOW, SSIM_SIGMA, cv2.CV_32F)

    def blurred(values: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(values, -1, window, window)

    x, y = a - CENTER, b - CENTER
    mean_x, mean_y = blurred(x), blurred(y)
    variances = blurred(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    covariance = blurred(x * y) - mean_x * mean_y
    mean_x += CENTER
    mean_y += CENTER
    similarity = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    similarity /= (mean_x * mean_x + mean_y * mean_y + C1) * (variances.clip(min=0) + C2)
    return float(similarity.mean(dtype=np.float64))


def fitted_photo(frames: Tensor, photo: Tensor) -> Tensor:
    """Return the first image of `photo` [B, h, w, C] as [1, H, W, 3] in the size of the frames."""
    return fit_photo(unit(frames[:1]), unit(photo[:1]))[None]


def fitted_ground_truth(frames: Tensor, ground_truth: Tensor) -> Tensor:
    """Return the true frames in the size of `frames`: unchanged if they have it, else cropped and resized."""
    height, width = frames.shape[1:3]
    if ground_truth.shape[1:3] == (height, width):
        return ground_truth
    return torch.cat([fit_image(batch, width, height).clamp(0, 1) for _, batch in batches(ground_truth)])


def _pairs(frames: Tensor, ground_truth: Tensor) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for a, b in zip(each_frame(frames), each_frame(ground_truth), strict=True):
        yield a.numpy(), b.numpy()
