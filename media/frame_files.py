"""Frames on disk in half precision, read one at a time: a clip of any length takes no memory.

A file holds frames of one size, one behind the other, then a CRC-32 of each.
"""

import math
import os
import shutil
import weakref
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .atomic_write import atomic_write
from .byte_size import size_text
from .frame_source import LazyFrames

SUFFIX = ".frames"
HALF, CRC = np.dtype(np.float16), np.dtype("<u4")


class FrameFileError(RuntimeError):
    """Frames that were on disk cannot be written or read again: where and why."""


def pack(frames: Tensor) -> memoryview:
    """Return the content of a file of `frames` [F, H, W, 3], rounded to half precision."""
    size = frames[0].numel() * HALF.itemsize if len(frames) else 0
    content = np.empty(len(frames) * (size + CRC.itemsize), np.uint8)
    pixels, sums = content[: len(frames) * size], content[len(frames) * size :]
    torch.from_numpy(pixels.view(HALF)).view(frames.shape).copy_(frames)
    sums.view(CRC)[:] = [zlib.crc32(frame.data) for frame in pixels.reshape(len(frames), size)]
    return content.data


def unpack(content: memoryview, shape: tuple[int, ...]) -> Tensor:
    """Return the frames of `shape` that were packed; ValueError if the content has another size."""
    pixels = len(content) - shape[0] * CRC.itemsize
    return torch.from_numpy(np.frombuffer(content[: max(0, pixels)], HALF).reshape(shape).copy())


class FrameFiles(LazyFrames):
    """A clip in files of its own in `folder`, which is made for it and removed with the last object that reads it.

    new: how many frames must be written, beside those that have a file already. FrameFileError if the disk is too full.
    check: called before each frame is read; what it raises ends the work of whoever reads.
    """

    def __init__(self, folder: Path, height: int, width: int, new: int = 0, check: Callable[[], None] = lambda: None):
        self.folder, self._places, self._check = folder, [], check
        self.shape = torch.Size((0, height, width, 3))
        folder.mkdir(parents=True)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        need, free = new * height * width * 3 * HALF.itemsize, shutil.disk_usage(folder).free
        if need > free:
            raise FrameFileError(
                f"The frames of the video need {size_text(need)} on disk; {folder} has {size_text(free)} free. Free "
                "some space there, or make the video smaller or shorter."
            )

    def add(self, frames: Tensor, count: int, packed: Path | None = None) -> None:
        """Append the first `count` of `frames` [F, H, W, 3]; FrameFileError if they cannot be written.

        packed: a file that holds `frames` already. It gets a second name where the disk allows, and no copy.
        """
        path = self.folder / f"{len(self):07}{SUFFIX}"
        if packed is None or not _linked(packed, path):
            try:
                with atomic_write(path) as part:
                    part.write_bytes(pack(frames))
            except OSError as error:
                raise FrameFileError(
                    f"The frames of the video could not be written to {self.folder}: {error.strerror or error}. Free "
                    "some space there and run again: finished chunks that are kept are not sampled anew."
                ) from error
        self._places += [(path, index, len(frames)) for index in range(count)]
        self.shape = torch.Size((len(self._places), *self.shape[1:]))

    def frame(self, index: int) -> Tensor:
        """Return a frame; FrameFileError if its file is gone or damaged."""
        self._check()
        path, place, count = self._places[index]
        size = math.prod(self.shape[1:]) * HALF.itemsize
        try:
            with path.open("rb") as file:
                pixels = np.fromfile(file, np.uint8, size, offset=place * size)
                (crc,) = np.fromfile(file, CRC, 1, offset=(count - place - 1) * size + place * CRC.itemsize)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
        if zlib.crc32(pixels.data) != crc:
            raise _unreadable(path, "its checksum differs")
        return torch.from_numpy(pixels.view(HALF)).view(self.shape[1:]).float()


def _linked(packed: Path, path: Path) -> bool:
    """Give the file `packed` the name `path` too; return False where that cannot be done, as on another disk."""
    try:
        os.link(packed, path)
    except OSError:
        return False
    return True


def _unreadable(path: Path, reason: Exception | str) -> FrameFileError:
    return FrameFileError(
        f"Frame file {path} cannot be read ({reason}). Clear ComfyUI's node cache and run again: finished chunks that "
        "are kept are not sampled anew."
    )
