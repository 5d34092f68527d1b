"""Weights by name, wherever they lie: what a loader and a converter need to know about a file or a folder of shards."""

from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class TensorInfo(NamedTuple):
    """What a header tells of a tensor before it is read."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    nbytes: int


class WeightSource(Protocol):
    """Named tensors that are read one at a time; nothing but headers is in memory before `read`.

    title: what the user calls it, the name of the file or folder; tensors in the order of the file; metadata as
    written by whoever made the file.
    """

    title: str
    paths: tuple[Path, ...]
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]

    def read(self, name: str) -> Tensor:
        """Return one tensor on the CPU in the file's dtype."""
        ...
