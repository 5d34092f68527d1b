"""Files that are complete or not there at all: written under a hidden name in the same folder, then named in one step.

`atomic_write` replaces what has the name, `atomic_write_new` never does: it takes the first name that is free when the
file is whole, so that two processes that chose the same number keep both files. A process that is killed leaves at most
a hidden `.<hex>.part`, which no loader lists; the next write into the folder removes it when it is an hour old.
"""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

UNFINISHED = ".part"
LEFT_BEHIND = re.compile(r"\.[0-9a-f]{32}\.part")
LEFT_BEHIND_SECONDS = 3600
ON_WINDOWS = os.name == "nt"
RETRY_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.4)  # 1 second in all


@dataclass(frozen=True)
class Numbered:
    """The names of ComfyUI's counter in `folder`, `<prefix>_00001_<ending>`, from `number` on without end."""

    folder: Path
    prefix: str
    ending: str
    number: int = 1

    def __iter__(self) -> Iterator[Path]:
        return (Path(self.folder, f"{self.prefix}_{i:05}_{self.ending}") for i in count(self.number))


@contextmanager
def atomic_write(path: Path, overwrite: bool = True) -> Generator[Path]:
    """Yield the path to write to; at the end of the block the file there gets the name `path`, whose folder must exist.

    What the block raises passes through, and nothing is left. FileExistsError at the end if `path` is there and
    `overwrite` is off, OSError if the file cannot be named.
    """
    sweep(path.parent)
    part = _hidden_beside(path)
    try:
        yield part
        if overwrite:
            retry(os.replace, part, path)
        else:
            publish(part, [path])
    finally:
        _remove(part)


class NewFile:
    """part: where to write. path: the name that the file or folder got, known from the end of the block on."""

    path: Path

    def __init__(self, part: Path):
        self.part = part


@contextmanager
def atomic_write_new(names: Iterable[Path]) -> Generator[NewFile]:
    """Yield where to write a file, or to make a folder; at the end of the block it gets the first free of `names`.

    names: a list of paths in one folder, which must exist, or Numbered. What the block raises passes through, and
    nothing is left. FileExistsError at the end if no name is free, OSError if the file cannot be named.
    """
    first = next(iter(names))
    sweep(first.parent)
    new = NewFile(_hidden_beside(first))
    try:
        yield new
        new.path = publish(new.part, names)
    finally:
        _remove(new.part)


def publish(part: Path, names: Iterable[Path]) -> Path:
    """Give the file or folder `part` the first of `names` that is free, and return it; FileExistsError if none is."""
    take = _rename_new if part.is_dir() or os.name == "nt" else _link
    for name in names:
        try:
            take(part, name)
        except FileExistsError:
            continue
        return name
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(name))


def retry(rename: Callable[[Path, Path], None], source: Path, target: Path) -> None:
    """Call `rename(source, target)`; on Windows again for about a second while another program uses one of the files.

    Virus scanners, OneDrive and the search index open new files briefly (errors 5, 32 and 33: PermissionError).
    """
    for seconds in RETRY_SECONDS if ON_WINDOWS else ():
        try:
            rename(source, target)
            return
        except PermissionError:
            time.sleep(seconds)
    rename(source, target)


def sweep(folder: Path) -> None:
    """Remove the files and folders that killed writers left in `folder`; no failure of that stops the next writer."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not LEFT_BEHIND.fullmatch(entry.name):
                continue
            with suppress(FileNotFoundError):  # another writer has swept it
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_BEHIND_SECONDS:
                    _remove(Path(entry.path))


def _hidden_beside(path: Path) -> Path:
    return path.with_name(f".{uuid.uuid4().hex}{UNFINISHED}")


def _link(part: Path, name: Path) -> None:
    """Name a file where the system would let a rename replace another."""
    try:
        os.link(part, name)
    except FileExistsError:
        raise
    except OSError:
        # exFAT, SMB and some container mounts have no hard links, each with an error of its own. An empty file takes
        # the name, which only one process can create.
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            retry(os.replace, part, name)
        except BaseException:
            _remove(name)
            raise
        return
    _remove(part)


def _rename_new(part: Path, name: Path) -> None:
    """Rename where the system refuses to replace: everything on Windows, and folders that are not empty."""
    try:
        retry(os.rename, part, name)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR) and os.path.lexists(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(name)) from error
        raise


def _remove(path: Path) -> None:
    """Remove what is left of a file or folder; that it cannot be removed must not hide why it is left."""
    if os.path.isdir(path):  # noqa: PTH112  never raises
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
