"""Frames in the place of an IMAGE that are drawn or read when they are taken: memory for those, not for the clip."""

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor


class FrameSource(Protocol):
    """An IMAGE [F, H, W, 3] in 0..1 as far as its shape and slices of its frames go; a Tensor is one too."""

    @property
    def shape(self) -> torch.Size: ...
    def __len__(self) -> int: ...
    def __getitem__(self, frames, /) -> Tensor: ...


class LazyFrames(ABC):
    """A FrameSource that is read frame by frame, in any order. shape: [F, H, W, 3]."""

    shape: torch.Size

    @abstractmethod
    def frame(self, index: int) -> Tensor:
        """Return frame `index`, from 0, as float32 [H, W, 3]."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, frames: int | slice, /) -> Tensor:
        chosen = range(len(self))[frames]
        if isinstance(chosen, int):
            return self.frame(chosen)
        taken = torch.empty((len(chosen), *self.shape[1:]), dtype=torch.float32, device="cpu")
        for frame, index in zip(taken, chosen, strict=True):
            frame.copy_(self.frame(index))
        return taken


class Spliced(LazyFrames):
    """The frames `head` [K, H, W, 3] in memory, then those of `clip` from `start` on, up to `stop`."""

    def __init__(self, head: Tensor, clip: FrameSource, start: int, stop: int | None = None):
        self._head, self._clip, self._rest = head, clip, range(len(clip))[start:stop]
        self.shape = torch.Size((len(head) + len(self._rest), *clip.shape[1:]))

    def frame(self, index: int) -> Tensor:
        behind = index - len(self._head)
        return self._head[index] if behind < 0 else self._clip[self._rest[behind]]
