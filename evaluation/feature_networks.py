"""Networks that turn pictures or clips into features, from ONNX files that the user names.

The contract. One input, float32 RGB in -1..1, of any name: a picture network takes [N, 3, height, width], a clip
network [N, 3, frames, height, width]. N is free or 1; a size that the file leaves open is 224 pixels, a length 16
frames. The first output, flattened behind N, holds the features. What else a network wants (ImageNet's mean, an order
of the axes) belongs into the file.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from .shared_pieces import unit

OPEN_SIDE, OPEN_LENGTH = 224, 16
SHAPES = {4: "[N, 3, height, width]", 5: "[N, 3, frames, height, width]"}


class Network(Protocol):
    """A network on ONNX Runtime, as dwpose's Session."""

    inputs: Mapping[str, tuple[int | None, ...]]

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs in their order."""


class PictureFeatures:
    """Features of pictures; `size` is (height, width) of what the network takes. ValueError for another network."""

    def __init__(self, network: Network):
        self.network = network
        self.name, shape = _only_input(network, 4)
        self.size = shape[2] or OPEN_SIDE, shape[3] or OPEN_SIDE

    def __call__(self, picture: Tensor) -> np.ndarray:
        """Return float64 [D] of a picture [1, height, width, 3] in 0..1."""
        return _features(self.network, self.name, picture.movedim(-1, 1))


class ClipFeatures:
    """Features of clips of `length` frames at `size` (height, width). ValueError for another network."""

    def __init__(self, network: Network):
        self.network = network
        self.name, shape = _only_input(network, 5)
        self.length = shape[2] or OPEN_LENGTH
        self.size = shape[3] or OPEN_SIDE, shape[4] or OPEN_SIDE

    def __call__(self, frames: Tensor) -> np.ndarray:
        """Return float64 [N, D]: features of N clips out of `frames` [F, H, W, 3], one starting every half length.

        No row if there are fewer frames than one clip needs.
        """
        starts = range(0, len(frames) - self.length + 1, max(1, self.length // 2))
        rows = [self._one(frames[start : start + self.length]) for start in starts]
        return np.stack(rows) if rows else np.empty((0, 0))

    def _one(self, frames: Tensor) -> np.ndarray:
        pixels = F.interpolate(unit(frames).movedim(-1, 1), size=self.size, mode="bilinear", antialias=True)
        return _features(self.network, self.name, pixels.movedim(0, 1)[None])


def check_pictures(network: Network) -> None:
    """Raise ValueError unless the network takes pictures."""
    _only_input(network, 4)


def check_clips(network: Network) -> None:
    """Raise ValueError unless the network takes clips."""
    _only_input(network, 5)


def _only_input(network: Network, axes: int) -> tuple[str, tuple[int | None, ...]]:
    found = list(network.inputs.items())
    shapes = [shape for _, shape in found]
    fits = len(shapes) == 1 and len(shapes[0]) == axes and shapes[0][1] in (3, None) and shapes[0][0] in (1, None)
    if not fits:
        what = ", ".join(f"{name} {[size or 'any' for size in shape]}" for name, shape in found)
        raise ValueError(
            f"This network takes {what}; needed is one input {SHAPES[axes]}, RGB in -1..1. Choose another ONNX file, "
            "or export it with that input."
        )
    return found[0]


def _features(network: Network, name: str, pixels: Tensor) -> np.ndarray:
    """Return float64 [D] of pixels [1, 3, ...] in 0..1."""
    feed = np.ascontiguousarray((pixels.float().clamp(0, 1) * 2 - 1).numpy())
    return np.asarray(network.run({name: feed})[0], np.float64).reshape(-1)
