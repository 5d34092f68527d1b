"""Frames in small batches: a metric needs a few of them as floats at a time, never a second copy of the clip."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ..media.frames import to_float

BATCH_FRAMES = 4  # even, so that odd frames stay odd in a batch


def unit(frames: Tensor) -> Tensor:
    """Return frames, uint8 or floats, as float32 on the CPU in 0..1; NaN counts as 0."""
    if frames.dtype == torch.uint8:
        return to_float(frames.cpu())
    return frames.detach().cpu().float().nan_to_num(0.0).clamp_(0, 1)


def batches(frames: Tensor, overlap: int = 0, size: int = BATCH_FRAMES) -> Iterator[tuple[int, Tensor]]:
    """Yield the index of a batch's first frame, and the batch as `unit` frames with `overlap` frames of the next."""
    for start in range(0, max(len(frames) - overlap, 0), size):
        yield start, unit(frames[start : start + size + overlap])


def each_frame(frames: Tensor) -> Iterator[Tensor]:
    """Yield the frames one by one as `unit` frames [H, W, 3]."""
    for _, batch in batches(frames):
        yield from batch


def check_frames(frames: Tensor, what: str = "The clip") -> None:
    """Raise ValueError unless `frames` are [F, H, W, 3] with at least one frame."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(
            f"{what} has shape {tuple(frames.shape)}; frames are [frames, height, width, 3] and at least one is "
            "needed. Connect the decoded frames of a video."
        )
