"""How a clip moves, without a ground truth: smoothness, flicker, and how much it moves at all.

Our metrics, after VBench's (Huang et al. 2024) temporal flickering and motion smoothness. Differences: flicker is
measured on the half of the pixels that change least over the clip, where VBench needs still videos; the frame between
two others is predicted by their mean, where VBench uses a network. A frozen clip is perfect in both; `motion` shows it.

With I_t the frame t in 0..1, | | the mean of absolute differences over pixels and channels:
motion = 255 mean_t |I_t+1 - I_t|; flicker score = 1 - mean_t |I_t+1 - I_t| over the still half;
smoothness = 1 - mean over odd t of |I_t - (I_t-1 + I_t+1) / 2|.
"""

import torch
from torch import Tensor

from .frame_batches import batches


def measure_motion(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return motion and flicker [F - 1] of `frames` [F, H, W, 3], smoothness of odd frames between two; all float64."""
    still = still_half(frames).flatten()
    share = still / still.sum(dtype=torch.float64)
    moved, flicker, smooth = [], [], []
    for _, batch in batches(frames, overlap=1):
        steps = _steps(batch).flatten(1)  # N HW
        moved += [255 * steps.mean(dim=1)]
        flicker += [1 - steps @ share]
    for _, batch in batches(frames, overlap=2):
        middle, ends = batch[1:-1:2], (batch[:-2:2] + batch[2::2]) / 2
        smooth += [1 - (middle - ends).abs_().mean(dim=(1, 2, 3), dtype=torch.float64)]
    none = still.new_empty(0, dtype=torch.float64)
    return torch.cat([none, *moved]), torch.cat([none, *flicker]), torch.cat([none, *smooth])


def still_half(frames: Tensor) -> Tensor:
    """Return bool [H, W]: the half of the pixels that change least over the clip, more where many change alike."""
    total = torch.zeros(frames.shape[1:3], dtype=torch.float64, device="cpu")
    for _, batch in batches(frames, overlap=1):
        total += _steps(batch).sum(dim=0)
    return total <= total.median()


def _steps(batch: Tensor) -> Tensor:
    """Return float64 [N - 1, H, W]: how much each pixel changes from frame to frame, as a mean over its channels."""
    red, green, blue = (batch[1:] - batch[:-1]).abs_().unbind(-1)
    return (red + green + blue).double() / 3
