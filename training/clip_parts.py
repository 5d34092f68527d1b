"""Clips that several processes encode: each has its part of them in a folder of its own, and the first one joins them.

A store that was joined is equal byte for byte to that of one process. The processes need not talk to each other: the
first one waits for the other parts on the disk.
"""

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..media.log import logger
from .clip_rows import JOURNAL, ClipRows

NAME = "encoded-{}-of-{}"
POLL_SECONDS = 0.2


class Part(NamedTuple):
    """The part of process `index`, from 0 on, of `count`: every count-th clip."""

    index: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        return self.index == 0

    def folder(self, store: Path) -> Path:
        """Return where this part of a store lies."""
        return store / NAME.format(self.index + 1, self.count) if self.count > 1 else store

    def of(self, clips: Sequence) -> Sequence:
        """Return the clips of this part."""
        return clips[self.index :: self.count]

    def all(self) -> "list[Part]":
        """Return all parts."""
        return [Part(index, self.count) for index in range(self.count)]


ALONE = Part()


def check_parts(store: Path, part: Part) -> None:
    """ValueError: a store was begun by another number of processes."""
    own = {one.folder(store).name for one in part.all()}
    others = sorted(path.name for path in store.glob(NAME.format("*", "*")) if path.name not in own)
    if others:
        count = others[0].rpartition("-")[2]
        raise ValueError(
            f"The clips in {store} were begun by {count} processes, these are {part.count}. Start {count} again, or "
            "delete the folder to encode all clips anew."
        )


def join(rows: ClipRows, names: Iterable[str], part: Part) -> None:
    """Wait until all parts of a store are encoded and put their rows into `rows`, in the order of `names`."""
    store, found = rows.folder, {}
    for folder in (one.folder(store) for one in part.all()):
        if not _state(folder)["done"]:
            logger.info("Waiting for the clips of another process: %s", folder.name)
        while not (state := _state(folder))["done"]:
            time.sleep(POLL_SECONDS)
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
        found |= {name: (arrays, number) for number, name in enumerate(state["clips"])}
        found |= {name: (reason, None) for name, reason in state["left_out"].items()}
    for name in names:
        if rows.knows(name):
            continue
        content, number = found[name]
        if number is None:
            rows.leave_out(name, content)
        else:
            rows.add(name, {array: whole[number : number + 1] for array, whole in content.items()})


def remove_parts(store: Path, part: Part) -> None:
    """Delete the folders of the parts of a store that was joined."""
    for folder in (one.folder(store) for one in part.all() if part.count > 1):
        shutil.rmtree(folder, ignore_errors=True)


def _state(folder: Path) -> dict:
    if not (folder / JOURNAL).exists():
        return {"done": False}
    return json.loads((folder / JOURNAL).read_text("utf-8"))
