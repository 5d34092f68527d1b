"""Space on the disk, taken before it is written: under a memory map a full disk ends the process without a word."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..media.byte_size import size_text

NOT_POSSIBLE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # file systems that give no room in advance


def new_array(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Make a .npy file of float16 and return its memory map. ValueError: the disk has no room; no file is left."""
    try:
        array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        reserve(path)
    except OSError as error:
        with suppress(OSError):  # on Windows the map holds it; the first error counts
            path.unlink(missing_ok=True)
        raise full_disk_error(path, 2 * int(np.prod(shape)), error) from error
    return array


def reserve(path: Path) -> None:
    """Have the disk hold all blocks of a file, where the system can do so. OSError: it is too full."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in NOT_POSSIBLE:
                raise


def full_disk_error(path: Path, size: int, error: BaseException) -> ValueError:
    """Return the error where `size` bytes cannot be written to `path`, a file or a folder."""
    free = shutil.disk_usage(next(place for place in path.absolute().parents if place.exists())).free
    return ValueError(
        f"{path} cannot be written ({error}): it needs {size_text(size)}, {size_text(free)} are free. "
        "Free some space and run the same command again, or work in a folder on another disk."
    )
