"""A store that grows row by row: whenever the process is killed, the rows that are done stay.

Until the last row is there each array lies in `<name>.part` with room for all; clips.json says whose row is which,
who was left out and why. It is replaced after the rows are on the disk, so it never promises too much.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..media.atomic_write import retry
from .disk_space import new_array

JOURNAL = "clips.json"
LISTED = 5


class ClipRows:
    """The rows of a folder. room: how many there can be; facts: what all rows share, the same when work goes on.

    clips: whose each row is; left_out: reasons by name. ValueError: the folder was begun with other facts, or the disk
    has no room for all rows.
    """

    def __init__(self, folder: Path, room: int, facts: Mapping[str, Any]):
        self.folder, self.room, self.facts = folder, room, json.loads(json.dumps(facts))
        self.clips, self.left_out, self.done = [], {}, False
        self._files: dict[str, np.memmap] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / JOURNAL).exists():
            state = json.loads((folder / JOURNAL).read_text("utf-8"))
            differ = [key for key in self.facts if self.facts[key] != state["facts"].get(key)]
            if differ:
                found, wanted = ({key: some.get(key) for key in differ} for some in (state["facts"], self.facts))
                raise ValueError(
                    f"The folder {folder} was begun with {found}, now it is {wanted}. Use the same, or another folder."
                )
            self.clips, self.left_out, self.done = state["clips"], state["left_out"], state["done"]

    def knows(self, name: str) -> bool:
        """Tell whether a clip has its row, or was left out."""
        return name in self.left_out or name in self.clips

    def add(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Write the next row; arrays [1, ...] by name, the same for every clip."""
        for array, row in arrays.items():
            if array not in self._files:
                self._files[array] = self._open(self.folder / f"{array}.part", (self.room, *row.shape[1:]))
            self._files[array][len(self.clips)] = row[0]
            self._files[array].flush()
        self.clips.append(name)
        self._record()

    def leave_out(self, name: str, reason: str) -> None:
        """Note that a clip has no row."""
        self.left_out[name] = reason
        self._record()

    def finish(self, required: bool = True) -> None:
        """Give the arrays their names, without the room that was not needed.

        ValueError: there is no row, and one is `required`.
        """
        if required and not self.clips:
            reasons = "\n".join(list(self.left_out.values())[:LISTED])
            raise ValueError(f"None of the {self.room} videos can be used:\n{reasons}")
        self._files.clear()
        for path in sorted(self.folder.glob("*.part")):
            _shorten(path, len(self.clips))
            retry(Path.replace, path, path.with_suffix(".npy"))
        self.done = True
        self._record()

    def _open(self, path: Path, shape: tuple[int, ...]) -> np.memmap:
        begun = bool(self.clips) and path.exists()
        opened = np.lib.format.open_memmap(path, "r+") if begun else new_array(path, shape)
        if opened.shape != shape:
            raise ValueError(
                f"{path} has rows of {list(opened.shape[1:])}, this clip's are {list(shape[1:])}: it was made with "
                f"other files. Delete the folder {self.folder} and prepare it again."
            )
        return opened

    def _record(self) -> None:
        state = {"facts": self.facts, "done": self.done, "clips": self.clips, "left_out": self.left_out}
        fresh = self.folder / f"{JOURNAL}.new"
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        retry(Path.replace, fresh, self.folder / JOURNAL)


def _shorten(path: Path, rows: int) -> None:
    """Cut an array to its first rows in place: NumPy's header has room for any length of the first axis."""
    whole = np.load(path, mmap_mode="r")
    shape, dtype, offset = (rows, *whole.shape[1:]), whole.dtype, whole.offset
    del whole
    with path.open("r+b") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        if file.tell() != offset:
            raise RuntimeError(f"{path}: the header of {shape} has another length than that of the longer array.")
        file.truncate(offset + int(np.prod(shape)) * dtype.itemsize)
