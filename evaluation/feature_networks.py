"""Networks that turn pictures or clips into features, from ONNX files that the user names.

The contract. One input, float32 RGB in -1..1, of any name: a picture network takes [N, 3, height, width], a clip
network [N, 3, frames, height, width]. N is free or 1; a size that the file leaves open is 224 pixels, a length 16
frames. The first output, flattened behind N, holds the features. Everything else, such as ImageNet's mean or another
order of the axes, belongs in the file.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from ..dwpose.detect.runtime import CPU, Session, open_session
from .frame_batches import unit

OPEN_SIDE, OPEN_LENGTH = 224, 16
PICTURE_AXES, CLIP_AXES = 4, 5
SHAPES = {PICTURE_AXES: "[N, 3, height, width]", CLIP_AXES: "[N, 3, frames, height, width]"}


class PictureFeatures:
    """Features of pictures; `size` is (height, width) of what the network takes. ValueError for another network."""

    def __init__(self, path: Path | str):
        self.network = open_session(path, CPU, check=partial(check_input, PICTURE_AXES))
        ((self.name, shape),) = self.network.inputs.items()
        self.size = shape[2] or OPEN_SIDE, shape[3] or OPEN_SIDE

    def __call__(self, picture: Tensor) -> np.ndarray:
        """Return float64 [D] of a picture [1, height, width, 3] in 0..1."""
        return _features(self.network, self.name, picture.movedim(-1, 1))


class ClipFeatures:
    """Features of clips of `length` frames at `size` (height, width). ValueError for another network."""

    def __init__(self, path: Path | str):
        self.network = open_session(path, CPU, check=partial(check_input, CLIP_AXES))
        ((self.name, shape),) = self.network.inputs.items()
        self.length = shape[2] or OPEN_LENGTH
        self.size = shape[3] or OPEN_SIDE, shape[4] or OPEN_SIDE

    def __call__(self, frames: Tensor) -> np.ndarray:
        """Return float64 [N, D] of N clips out of `frames` [F, H, W, 3], one from every half length on; N may be 0."""
        rows = []
        for start in range(0, len(frames) - self.length + 1, max(1, self.length // 2)):
            clip = unit(frames[start : start + self.length]).movedim(-1, 1)
            pixels = F.interpolate(clip, size=self.size, mode="bilinear", antialias=True)
            rows.append(_features(self.network, self.name, pixels.movedim(0, 1)[None]))
        return np.stack(rows) if rows else np.empty((0, 0))


def check_input(axes: int, network: Session) -> None:
    """Raise ValueError unless the network takes pictures (4 axes) or clips (5)."""
    shapes = list(network.inputs.values())
    fits = len(shapes) == 1 and len(shapes[0]) == axes and shapes[0][1] in (3, None) and shapes[0][0] in (1, None)
    if not fits:
        what = ", ".join(f"{name} {[size or 'any' for size in shape]}" for name, shape in network.inputs.items())
        raise ValueError(
            f"This network takes {what}; needed is one input {SHAPES[axes]}, RGB in -1..1. Choose another ONNX file, "
            "or export it with that input."
        )


def _features(network: Session, name: str, pixels: Tensor) -> np.ndarray:
    """Return float64 [D] of pixels [1, 3, ...] in 0..1."""
    feed = np.ascontiguousarray((pixels.float().clamp(0, 1) * 2 - 1).numpy())
    return np.asarray(network.run({name: feed})[0], np.float64).reshape(-1)
