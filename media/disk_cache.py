"""Results kept on disk: at most `limit_bytes` of files in one folder, the least recently used of which go first.

A file is its content and a checksum of it, and appears whole or not at all. The cache never fails a run: what cannot be
read, or has changed on disk, counts as a miss and is removed; what cannot be written is left out; each with a warning.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from .atomic_write import atomic_write
from .byte_size import size_text
from .log import logger

KEY = re.compile(r"[0-9a-f]{16,128}")
CHECKSUM_BYTES = 32

Content = TypeVar("Content")


class DiskCache:
    """Files `<key><suffix>` in `folder`. A limit of 0 turns the cache off."""

    def __init__(self, folder: Path, suffix: str, limit_bytes: int):
        self.folder, self.suffix, self.limit_bytes = Path(folder), suffix, limit_bytes

    @property
    def is_on(self) -> bool:
        """Whether anything is kept at all."""
        return self.limit_bytes > 0

    def fits(self, size: int) -> bool:
        """Return whether a content of `size` bytes could be kept if it were the only one."""
        return size + CHECKSUM_BYTES <= self.limit_bytes

    def load(self, key: str, unpack: Callable[[memoryview], Content]) -> Content | None:
        """Return what `unpack` makes of the content under `key`, None if there is none.

        unpack: raises ValueError or KeyError for a content that it does not know.
        """
        path = self.path(key)
        if not self.is_on or not os.path.isfile(path):  # noqa: PTH113  never raises
            return None
        try:
            stored = memoryview(path.read_bytes())
            content, checksum = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
            if checksum_of(content) != checksum:
                raise ValueError("its checksum differs")
            found = unpack(content)
        except (OSError, ValueError, KeyError) as error:
            logger.warning("The cached file %s cannot be used (%s); its content is made anew.", path, error)
            _remove(path)
            return None
        with contextlib.suppress(OSError):  # marks it as used; a read-only folder still serves
            os.utime(path)
        return found

    def save(self, key: str, content: bytes | memoryview, keep: Collection[str] = ()) -> bool:
        """Keep `content` under `key` in place of files unused longest, but none of the keys `keep`; return success."""
        path = self.path(key)
        if not self.is_on:
            return False
        data = memoryview(content).cast("B")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._make_space(data.nbytes + CHECKSUM_BYTES, key, keep):
                return False
            with atomic_write(path) as part, part.open("wb") as file:
                file.write(data)
                file.write(checksum_of(data))
        except OSError as error:
            logger.warning("A result could not be kept in %s (%s). The run goes on without.", self.folder, error)
            return False
        return True

    def path(self, key: str) -> Path:
        """Return where the content under `key` lies, whether it is there or not."""
        if not KEY.fullmatch(key):
            raise ValueError(f"'{key}' is not a key of a disk cache, which is 16 to 128 hexadecimal digits.")
        return self.folder / (key + self.suffix)

    def _make_space(self, size: int, key: str, keep: Collection[str]) -> bool:
        """Remove files until `size` bytes fit under `key`; none if those of `keep` leave too little space."""
        files = []
        for path in self.folder.glob("*" + self.suffix):
            with contextlib.suppress(FileNotFoundError):  # another process may remove files meanwhile
                found = path.stat()
                files.append((found.st_mtime_ns, path.name, found.st_size, path))
        kept = {key + self.suffix for key in keep}
        files = sorted(file for file in files if file[1] != key + self.suffix)
        excess = sum(file[2] for file in files) + size - self.limit_bytes
        removable = [file for file in files if file[1] not in kept]
        if excess > sum(file[2] for file in removable):
            limit, more = size_text(self.limit_bytes), size_text(size)
            logger.warning("%s may hold %s, too little for %s more: this result is not kept.", self.folder, limit, more)
            return False
        for _, _, bytes_freed, path in removable:
            if excess <= 0:
                break
            _remove(path)
            excess -= bytes_freed
        return True


def checksum_of(content: memoryview) -> bytes:
    """Return the checksum that ends a file of this content."""
    return hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
