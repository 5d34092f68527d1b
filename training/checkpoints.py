"""Checkpoints of a training run: safetensors and a small JSON, complete or absent, never half there.

A checkpoint is a folder `checkpoints/step-0000500` with trained.safetensors (the trained parameters by name),
ema.safetensors (their moving averages, where there are any), adam.safetensors (`<name>.exp_avg`, `<name>.exp_avg_sq`,
`<name>.step`) and state.json, which holds the checksums of all four. It is written beside its place and renamed into
it, and the one before is renamed away before it is deleted. A process that is killed anywhere in between leaves folders
of other names, which nobody reads.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..media.atomic_write import retry
from .disk_space import full_disk_error

STATE = "state.json"
TENSORS = ("trained", "ema", "adam")
CHECKSUMS = "crc32"  # key of the state: of each file and of the rest of it; checkpoints of earlier versions have none
READ_BYTES = 1 << 24
WRITING, DELETING = "writing", "deleting"
NAME = re.compile(r"step-(\d+)")


class Checkpoint(NamedTuple):
    """One state of a run, its tensors on the CPU.

    step: updates done; facts: what JSON holds beside it (plan, versions, scaler).
    """

    step: int
    facts: dict[str, Any]
    trained: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    adam: Mapping[str, Tensor]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` below `folder`; older ones go once it is complete.

    ValueError: it cannot be written, as on a full disk; nothing of it is left, and the last one stays.
    """
    place = _place(folder)
    new = place / WRITING
    older = complete(folder)
    try:
        _write(new, checkpoint)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        size = sum(tensor.nbytes for name in TENSORS for tensor in getattr(checkpoint, name).values())
        kept = f" The last checkpoint is kept: {older[-1].name}." if older else ""
        raise ValueError(f"{full_disk_error(new, size, error)}{kept}") from error
    retry(Path.rename, new, place / f"step-{checkpoint.step:07d}")
    _flush(place)
    doomed = place / DELETING
    for path in older:
        if doomed.exists():
            shutil.rmtree(doomed)
        retry(Path.rename, path, doomed)
        shutil.rmtree(doomed)


def load(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint below `folder`, tensors on the CPU, or None. ValueError: it cannot be read."""
    found = complete(folder)
    if not found:
        return None
    path = found[-1]
    try:
        state = json.loads((path / STATE).read_text("utf-8"))
        checksums = state.pop(CHECKSUMS, None)
        if checksums is not None and checksums != _checksums(path, state):
            raise ValueError("a checksum differs")
        tensors = [load_file(path / f"{name}.safetensors") for name in TENSORS]
        return Checkpoint(int(state.pop("step")), state, *tensors)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"The checkpoint {path} cannot be read: {error}. "
            "Its files were changed or damaged after it was written. Bring them back, or delete the folder "
            f"{folder} to train from the start."
        ) from error


def _place(folder: Path) -> Path:
    return Path(folder) / "checkpoints"


def complete(folder: Path) -> list[Path]:
    """Return the checkpoints that are whole, oldest first."""
    found = ((NAME.fullmatch(path.name), path) for path in _place(folder).glob("step-*"))
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def _write(new: Path, checkpoint: Checkpoint) -> None:
    """Write all files of a checkpoint into the folder `new`, in the place of what is there."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    for name in TENSORS:
        path, tensors = new / f"{name}.safetensors", getattr(checkpoint, name)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata={"format": "pt"})
        _flush(path)
    state = {"step": checkpoint.step, **checkpoint.facts}
    state[CHECKSUMS] = _checksums(new, state)
    (new / STATE).write_text(json.dumps(state, indent=2), "utf-8")
    _flush(new / STATE)
    _flush(new)


def _checksums(path: Path, state: Mapping[str, Any]) -> dict[str, int]:
    """Return the checksums of the files of a checkpoint, and of its state without them."""
    checksums = {STATE: zlib.crc32(json.dumps(state, sort_keys=True).encode())}
    for name in TENSORS:
        checksums[name] = 0
        with (path / f"{name}.safetensors").open("rb") as file:
            while data := file.read(READ_BYTES):
                checksums[name] = zlib.crc32(data, checksums[name])
    return checksums


def _flush(path: Path) -> None:
    """Have the disk hold `path`, so that a power cut cannot bring a rename without its contents."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folder
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
