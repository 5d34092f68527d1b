"""The files of a run at any place: a folder of this machine, or an fsspec URL such as s3://bucket/folder.

A single file is written whole or not at all. Paths are relative to the place, with "/" between folders.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from ...media.atomic_write import atomic_write

SETTLE_SECONDS = 0.5


class ResultFiles(Protocol):
    """What the farm does with files; OSError where something cannot be read or written."""

    place: str

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, None if there is none."""

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of those files that are there."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file and the folders above it; it replaces one that is there."""

    def create(self, path: str, content: bytes) -> bool:
        """Write a file unless there is one; return whether it was written."""

    def remove(self, path: str) -> None:
        """Remove a file; nothing happens if there is none."""


def open_place(place: str) -> ResultFiles:
    """Return the files at a folder or URL; ValueError where fsspec or its driver for the URL is missing."""
    scheme, _, rest = place.partition("://")
    if not rest:
        return LocalFiles(Path(place))
    if scheme == "file":
        return LocalFiles(Path(rest))
    try:
        import fsspec

        system, folder = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"{place} cannot be used ({error}). Install evaluation/farm/requirements.txt and the package for this kind "
            "of address (s3fs for s3://, gcsfs for gs://), or give a folder."
        ) from None
    return RemoteFiles(place, system, folder)


class LocalFiles:
    """A folder of this machine, or a network drive."""

    def __init__(self, folder: Path):
        self.folder, self.place = folder, str(folder)

    def read(self, path: str) -> bytes | None:
        try:
            return (self.folder / path).read_bytes()
        except FileNotFoundError:
            return None

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: content for path in paths if (content := self.read(path)) is not None}

    def write(self, path: str, content: bytes) -> None:
        with atomic_write(self._made(path)) as part:
            part.write_bytes(content)

    def create(self, path: str, content: bytes) -> bool:
        try:
            with atomic_write(self._made(path), overwrite=False) as part:
                part.write_bytes(content)
        except FileExistsError:
            return False
        return True

    def remove(self, path: str) -> None:
        (self.folder / path).unlink(missing_ok=True)

    def _made(self, path: str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


class RemoteFiles:
    """A folder of an fsspec file system."""

    def __init__(self, place: str, system, folder: str):
        self.place, self.system, self.folder = place.rstrip("/"), system, folder.rstrip("/")

    def read(self, path: str) -> bytes | None:
        try:
            return self.system.cat_file(self._full(path))
        except FileNotFoundError:
            return None

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        full = {self._full(path): path for path in paths}
        there = self.system.cat(list(full), on_error="omit") if full else {}
        return {full[name]: content for name, content in there.items()}

    def write(self, path: str, content: bytes) -> None:
        full = self._full(path)
        self.system.makedirs(full.rpartition("/")[0], exist_ok=True)
        self.system.pipe_file(full, content)

    def create(self, path: str, content: bytes) -> bool:
        """Object stores have no exclusive creation in common: who is still there after a moment has won."""
        if self.read(path) is not None:
            return False
        self.write(path, content)
        time.sleep(SETTLE_SECONDS)
        return self.read(path) == content

    def remove(self, path: str) -> None:
        if self.system.exists(self._full(path)):
            self.system.rm_file(self._full(path))

    def _full(self, path: str) -> str:
        return f"{self.folder}/{path}"
