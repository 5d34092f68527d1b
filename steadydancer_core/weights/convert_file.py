"""A safetensors file written piece by piece: never more than one piece in memory, never a half file under its name.

The bytes go to `<name>.part`; `<name>.part.json` says how many bytes are settled there, their hash, and of which work.
The same work goes on behind them, other work starts anew; the same pieces give the same bytes.
"""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...media.atomic_write import publish, retry, sweep
from ...media.byte_size import size_text
from .safetensors_header import DTYPES, LENGTH_BYTES

PART, RECORD, NEW_RECORD = ".part", ".part.json", ".part.json.new"  # added to the name of the file
ALIGNMENT = 8
SETTLE_BYTES = 256 << 20  # at most so much is written again after a crash
READ_BYTES = 4 << 20
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
OTHER_DISK = "This disk takes no larger file (FAT32 ends at 4 GB). Choose a folder on another disk."
MAKE_WRITABLE = "Make the folder writable and run again; what is written already is kept."

Progress = Callable[[int, int], None]
Rows = Callable[[], Iterable[Tensor]]


class UnfitWeights(ValueError):
    """A tensor that cannot be written as wanted; what is written so far is of no use."""


class AnotherWriter(ValueError):
    """The part file is not as this conversion left it."""


class Piece(NamedTuple):
    """Tensors that are made together, `rows` yielding their values in order, in parts of any size."""

    tensors: tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]  # name, dtype, shape
    rows: Rows

    @property
    def sizes(self) -> list[int]:
        return [dtype.itemsize * torch.Size(shape).numel() for _, dtype, shape in self.tensors]


class Written(NamedTuple):
    """A finished file. kept: how many of its bytes were there from a run before."""

    path: Path
    nbytes: int
    sha256: str
    kept: int


def header_bytes(pieces: Sequence[Piece], metadata: Mapping[str, str]) -> bytes:
    """Return length and header of the file with the pieces one behind the other."""
    table: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for piece in pieces:
        for (name, dtype, shape), size in zip(piece.tensors, piece.sizes, strict=True):
            table[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(table, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // ALIGNMENT) * ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def write_safetensors(
    target: Path,
    pieces: Sequence[Piece],
    metadata: Mapping[str, str],
    work: str,
    progress: Progress = lambda *_: None,
    settle_bytes: int = SETTLE_BYTES,
    overwrite: bool = True,
) -> Written:
    """Write the pieces to `target` and return what was written.

    work: what the bytes are made of; a part file of the same work is continued. progress: called with bytes done and in
    all; what it raises stops the work. Raises ValueError when the disk is full or cannot be written, or `overwrite` is
    off and `target` is there; UnfitWeights from a piece leaves nothing behind.
    """
    sweep(target.parent)
    header = header_bytes(pieces, metadata)
    ends = list(accumulate([len(header), *(sum(piece.sizes) for piece in pieces)]))
    part = PartFile(target, hashlib.sha256(work.encode() + header).hexdigest(), ends[-1], progress)
    kept = part.resume()
    if shutil.disk_usage(target.parent).free < ends[-1] - kept:
        raise _disk_full(target, ends[-1], kept)
    try:
        with part:
            for end, rows in zip(ends, [lambda: [header], *(piece.rows for piece in pieces)], strict=True):
                if end > part.settled:
                    part.append(rows(), end, settle_bytes)
    except UnfitWeights:
        part.discard()
        raise
    part.finish(overwrite)
    return Written(target, ends[-1], part.sha256, kept)


class PartFile:
    """The unfinished file beside `target`; `with` opens it behind `settled` bytes, for which the sidecar vouches."""

    def __init__(self, target: Path, work: str, total: int, progress: Progress):
        self.target, self.work, self.total, self.progress = target, work, total, progress
        self.path = target.with_name(target.name + PART)
        self.sidecar = target.with_name(target.name + RECORD)
        self.settled, self.recorded, self._hash = 0, 0, hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def resume(self) -> int:
        """Return how many bytes of an earlier run hold; all else of it is removed."""
        try:
            record = json.loads(self.sidecar.read_text("utf-8"))
            known = record["work"] == self.work and type(record["bytes"]) is int and type(record["sha256"]) is str
        except (OSError, ValueError, LookupError, TypeError):
            known = False
        if known and self._rehash(record["bytes"]) == record["sha256"]:
            self.settled = self.recorded = record["bytes"]
        else:
            self._hash = hashlib.sha256()
            self.discard()
        return self.settled

    def __enter__(self) -> "PartFile":
        with self._explained():
            self._file = self.path.open("ab", buffering=0)
            if self._size() < self.settled:  # what vouched for it is gone: a new file would begin with zeros
                raise self._another_writer(self.settled)
            self._file.truncate(self.settled)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        # Behind another error a second one would hide it; the record before this one still holds.
        with self._explained() if kind is None else suppress(OSError, AnotherWriter), self._file:
            self._record_settled()

    def append(self, rows: Iterable[Tensor | bytes], end: int, settle_bytes: int) -> None:
        """Write what `rows` yields; it must end at byte `end`."""
        begun, at = self._hash.copy(), self.settled
        try:
            for row in rows:
                data = row if isinstance(row, bytes) else row.contiguous().reshape(-1).view(torch.uint8).numpy().data
                self._require_alone(at)
                with self._explained():
                    _write_all(self._file, data)
                begun.update(data)
                at += len(data)
                self.progress(at, self.total)
        finally:
            if at == end:
                self._hash, self.settled = begun, end
        if at != end:
            raise RuntimeError(f"{self.target.name}: a tensor ended at byte {at} instead of {end}.")
        if self.settled - self.recorded >= settle_bytes:
            with self._explained():
                self._record_settled()

    def finish(self, overwrite: bool = True) -> None:
        """Give the whole file its name."""
        if self._size() != self.total:
            raise self._another_writer(self.total)
        try:
            if overwrite:
                retry(Path.replace, self.path, self.target)
            else:
                publish(self.path, [self.target])
        except FileExistsError as error:
            raise ValueError(
                f"{self.target} appeared while this file was written, and overwriting is off. Choose another name, or "
                f"allow overwriting and run again: what is written is kept in {self.path.name}."
            ) from error
        except OSError as error:
            raise ValueError(
                f"{self.target} is written, but could not get its name: {error.strerror or error}. If the file that "
                "is to be replaced is in use, unload the model or restart ComfyUI, and run again: nothing is lost."
            ) from error
        with suppress(OSError):  # the file is whole and has its name
            self.sidecar.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the part file and what is known of it."""
        for path in (self.path, self.sidecar):
            with suppress(OSError):  # what cannot be removed is begun anew the next time
                path.unlink(missing_ok=True)

    def _rehash(self, count: int) -> str | None:
        """Hash the first `count` bytes of the part file; None if it is shorter."""
        if not self.path.is_file() or self.path.stat().st_size < count:
            return None
        with self.path.open("rb") as file:
            for at in range(0, count, READ_BYTES):
                self._hash.update(file.read(min(READ_BYTES, count - at)))
                self.progress(min(at + READ_BYTES, count), self.total)
        return self.sha256

    def _size(self) -> int:
        """Return the bytes under the part file's name, 0 if there are none."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def _require_alone(self, size: int) -> None:
        """Raise AnotherWriter unless the open file has the name, and `size` bytes: a second conversion may have it."""
        if not self._size() == os.fstat(self._file.fileno()).st_size == size:
            raise self._another_writer(size)

    def _another_writer(self, size: int) -> AnotherWriter:
        return AnotherWriter(
            f"{self.path.name} has {self._size()} bytes instead of {size}: something else wrote to it. "
            "Let only one conversion to a name run at a time, and run again."
        )

    def _record_settled(self) -> None:
        self._require_alone(os.fstat(self._file.fileno()).st_size)
        self._file.truncate(self.settled)
        os.fsync(self._file.fileno())
        record = {"work": self.work, "bytes": self.settled, "sha256": self.sha256}
        fresh = self.target.with_name(self.target.name + NEW_RECORD)
        fresh.write_text(json.dumps(record), "utf-8")
        retry(Path.replace, fresh, self.sidecar)
        self.recorded = self.settled

    @contextmanager
    def _explained(self) -> Generator[None]:
        """Turn an OSError of writing into a ValueError in words."""
        try:
            yield
        except OSError as error:
            if error.errno in DISK_FULL:
                raise _disk_full(self.target, self.total, self.settled) from error
            advice = OTHER_DISK if error.errno == errno.EFBIG else MAKE_WRITABLE
            raise ValueError(f"{self.path} could not be written: {error.strerror or error}. {advice}") from error


def _disk_full(target: Path, total: int, kept: int) -> ValueError:
    free = shutil.disk_usage(target.parent).free
    return ValueError(
        f"The disk is too full for {target.name}: {size_text(total - kept)} more are needed in {target.parent}, "
        f"{size_text(free)} are free ({size_text(kept)} of {size_text(total)} are written). Free some space and run "
        "again: it goes on where it stopped."
    )


def _write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
