"""Frames in small pieces: what is measured needs a few of them as floats at a time, never a second copy of the clip."""

import importlib
from collections.abc import Iterator

import torch
from torch import Tensor

from ..media.frames import to_float

PIECE = 4  # frames held as floats at a time; even, so that odd frames stay odd in a piece


class NotMeasured(ValueError):
    """A figure that this clip cannot have; the text says why, without a subject and a full stop."""


def torchmetrics_module(name: str):
    """Return torchmetrics.NAME, imported now: it takes seconds. NotMeasured if torchmetrics cannot be imported."""
    try:
        return importlib.import_module(f"torchmetrics.{name}")
    except ImportError as error:
        raise NotMeasured(
            f"torchmetrics cannot be imported ({error}); install it with pip into ComfyUI's Python and restart ComfyUI"
        ) from error


def unit(frames: Tensor) -> Tensor:
    """Return frames, uint8 or floats, as float32 on the CPU in 0..1; NaN counts as 0."""
    if frames.dtype == torch.uint8:
        return to_float(frames.cpu())
    return frames.detach().cpu().float().nan_to_num(0.0).clamp(0, 1)


def pieces(frames: Tensor, overlap: int = 0, size: int = PIECE) -> Iterator[tuple[int, Tensor]]:
    """Yield the index of a piece's first frame, and the piece as `unit` frames with `overlap` frames of the next."""
    for start in range(0, max(len(frames) - overlap, 0), size):
        yield start, unit(frames[start : start + size + overlap])


def check_frames(frames: Tensor, what: str = "The clip") -> None:
    """Raise ValueError unless `frames` are [F, H, W, 3] with at least one frame."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(
            f"{what} has shape {tuple(frames.shape)}; frames are [frames, height, width, 3] and at least one is "
            "needed. Connect the decoded frames of a video."
        )
