"""Finished chunks of a long video on disk, so that a run that was stopped goes on where it ended.

A chunk is one .safetensors file named by its key: its frames in half precision, and a checksum. The store never fails a
run: what cannot be read counts as not there, what cannot be written is left out, both with a warning. Chunks stay after
the video is complete, until others need the room: the same dance with more frames goes on from them.
"""

import contextlib
import os
import re
import time
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...media.atomic_write import UNFINISHED, atomic_write
from ...media.log import logger

SUFFIX = ".safetensors"
UNFINISHED_SECONDS = 3600
KEY = re.compile(r"[0-9a-f]{64}")
# What safetensors and the checks below raise for a file that was cut, overwritten, or made by another version.
DAMAGE = (OSError, ValueError, KeyError, SafetensorError)


def as_stored(frames: Tensor) -> Tensor:
    """Return `frames` as the store gives them back: rounded to half precision, a 16th of an 8-bit step near white."""
    return frames.half().to(frames.dtype)


class ChunkStore:
    """Chunks in `folder` by key, at most `limit_bytes` in all: those unused longest go first. 0 turns the store off."""

    def __init__(self, folder: Path, limit_bytes: int):
        self.folder, self.limit_bytes = Path(folder), limit_bytes

    @property
    def is_on(self) -> bool:
        """Whether anything is kept at all."""
        return self.limit_bytes > 0

    def load(self, key: str, shape: tuple[int, ...]) -> Tensor | None:
        """Return the frames of `shape` [F, H, W, 3] under `key`, None if there are none. A damaged file is removed."""
        path = self._path(key)
        if not self.is_on or not os.path.isfile(path):  # noqa: PTH113  never raises
            return None
        try:
            frames = _read(path, shape)
        except DAMAGE as error:
            logger.warning("The finished chunk %s cannot be used (%s); it is sampled anew.", path, error)
            _remove(path)
            return None
        with contextlib.suppress(OSError):  # marks it as used; a read-only folder still serves
            os.utime(path)
        return frames

    def save(self, key: str, frames: Tensor, keep: Collection[str] = ()) -> bool:
        """Keep `frames` [F, H, W, 3] under `key` and make room without touching the chunks `keep`; return success."""
        if not self.is_on:
            return False
        path = self._path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._drop_unfinished()
            if not self._make_room(frames.numel() * torch.half.itemsize, {*keep, key}):
                return False
            with atomic_write(path) as part:
                _write(part, frames)
        except (OSError, SafetensorError) as error:
            logger.warning("A finished chunk could not be kept in %s (%s). The run goes on.", self.folder, error)
            return False
        return True

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"'{key}' is no key of the chunk store. Make keys with chunk_key().")
        return self.folder / (key + SUFFIX)

    def _make_room(self, size: int, keep: Collection[str]) -> bool:
        """Remove the chunks unused longest until `size` bytes fit; remove none if those of `keep` leave no room."""
        files = sorted(self._files("*" + SUFFIX), key=lambda file: (file[1].st_mtime_ns, file[0].name))
        sizes = {path: found.st_size for path, found in files}
        others = [path for path in sizes if path.stem not in keep]
        excess = sum(sizes.values()) + size - self.limit_bytes
        if excess > sum(sizes[path] for path in others):
            logger.warning(
                "The chunk store may hold %.1f GB, too little for this video: this chunk is not kept.",
                self.limit_bytes / 1e9,
            )
            return False
        for path in others:
            if excess <= 0:
                break
            _remove(path)
            excess -= sizes[path]
        return True

    def _drop_unfinished(self) -> None:
        """Remove what a run left that was ended while it wrote."""
        for part, found in self._files("*" + UNFINISHED):
            if time.time() - found.st_mtime > UNFINISHED_SECONDS:
                _remove(part)

    def _files(self, pattern: str) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield the files that are there; another run may remove some meanwhile."""
        for path in self.folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                yield path, path.stat()


def _write(path: Path, frames: Tensor) -> None:
    stored = frames.to("cpu", torch.half).contiguous()
    save_file({"frames": stored}, path, metadata={"crc32": str(_checksum(stored))})


def _read(path: Path, shape: tuple[int, ...]) -> Tensor:
    with safe_open(path, framework="pt") as file:
        frames, checksum = file.get_tensor("frames").clone(), (file.metadata() or {})["crc32"]
    if frames.dtype != torch.half or tuple(frames.shape) != tuple(shape):
        raise ValueError(f"{frames.dtype} {tuple(frames.shape)} instead of {torch.half} {tuple(shape)}")
    if str(_checksum(frames)) != checksum:
        raise ValueError("its checksum differs")
    return frames


def _checksum(frames: Tensor) -> int:
    return zlib.crc32(frames.reshape(-1).view(torch.uint8).numpy())


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
