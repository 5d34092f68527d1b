"""Frames in the place of an IMAGE that are made while they are written: memory for one of them, not for the clip."""

from collections.abc import Iterator

import numpy as np
import torch


class StreamedFrames:
    """`count` frames, uint8 [H, W, 3] RGB of `size` (width, height), each to be asked for once and in order."""

    def __init__(self, frames: Iterator[np.ndarray], count: int, size: tuple[int, int]):
        self._frames, self._next = frames, 0
        self.shape = torch.Size((count, size[1], size[0], 3))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        if index != self._next:
            raise ValueError(f"Frame {self._next} comes next, not frame {index}: streamed frames are read in order.")
        self._next += 1
        return next(self._frames)
