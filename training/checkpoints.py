"""Checkpoints of a training run: safetensors and a small JSON, complete or absent, never half there.

A checkpoint is a folder `checkpoints/step-0000500` with trained.safetensors (the trained parameters by name),
ema.safetensors (their moving averages, where there are any), adam.safetensors (`<name>.exp_avg`, `<name>.exp_avg_sq`,
`<name>.step`) and state.json, which holds the checksums of all four. Where processes wrote it together, the files of
shard_files.py take the place of the first three (async_checkpoints.py). It is written beside its place and renamed into
it, and the one before is renamed away before it is deleted. A process that is killed anywhere in between leaves folders
of other names, which nobody reads.
"""

import json
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..media.atomic_write import retry
from .disk_space import full_disk_error
from .shard_files import PATTERN, layout, read_into

STATE = "state.json"
TENSORS = ("trained", "ema", "adam")
FILES = tuple(f"{name}.safetensors" for name in TENSORS)
CHECKSUMS = "crc32"  # key of the state: of each file and of the rest of it; checkpoints of earlier versions have none
READ_BYTES = 1 << 24
WRITING, DELETING = "writing", "deleting"
NAME = re.compile(r"step-(\d+)")


class Checkpoint(NamedTuple):
    """One state of a run, its tensors on the CPU.

    step: updates done; facts: what JSON holds beside it (plan, versions, scaler); shards: the folder of the tensors
    where these are on the meta device, without values.
    """

    step: int
    facts: dict[str, Any]
    trained: Mapping[str, Tensor]
    ema: Mapping[str, Tensor]
    adam: Mapping[str, Tensor]
    shards: Path | None = None


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` below `folder`; older ones go once it is complete.

    ValueError: it cannot be written, as on a full disk; nothing of it is left, and the last one stays.
    """
    new = place(folder) / WRITING
    try:
        _write(new, checkpoint)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(new, ignore_errors=True)
        size = sum(tensor.nbytes for name in TENSORS for tensor in getattr(checkpoint, name).values())
        raise not_written(folder, new, size, error) from error
    publish(folder, checkpoint.step)


def not_written(folder: Path, new: Path, size: int, error: BaseException) -> ValueError:
    """Return the error where a checkpoint of `size` bytes cannot be written to `new`."""
    older = complete(folder)
    kept = f" The last checkpoint is kept: {older[-1].name}." if older else ""
    return ValueError(f"{full_disk_error(new, size, error)}{kept}")


def publish(folder: Path, step: int) -> None:
    """Give the checkpoint that is written its name, and delete the older ones."""
    older = complete(folder)
    retry(Path.rename, place(folder) / WRITING, place(folder) / f"step-{step:07d}")
    _flush(place(folder))
    doomed = place(folder) / DELETING
    for path in older:
        if doomed.exists():
            shutil.rmtree(doomed)
        retry(Path.rename, path, doomed)
        shutil.rmtree(doomed)


def load(folder: Path, whole: bool = True, check: bool = True) -> Checkpoint | None:
    """Return the newest checkpoint below `folder`, tensors on the CPU, or None. ValueError: it cannot be read.

    whole: whether the values of a checkpoint in shards are read too; check: whether the checksums are compared.
    """
    found = complete(folder)
    if not found:
        return None
    path = found[-1]
    try:
        state = json.loads((path / STATE).read_text("utf-8"))
        checksums = state.pop(CHECKSUMS, None)
        sharded = sorted(each.name for each in path.glob(PATTERN))
        if check and checksums is not None and checksums != _checksums(path, state, sharded or FILES):
            raise ValueError("a checksum differs")
        trained, ema, adam = _from_shards(path, whole) if sharded else [load_file(path / name) for name in FILES]
        shards = path if sharded and not whole else None
        return Checkpoint(int(state.pop("step")), state, trained, ema, adam, shards)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"The checkpoint {path} cannot be read: {error}. "
            "Its files were changed or damaged after it was written. Bring them back, or delete the folder "
            f"{folder} to train from the start."
        ) from error


def _from_shards(path: Path, whole: bool) -> list[dict[str, Tensor]]:
    """Return trained, ema and adam of a checkpoint in shards, on the CPU, or on the meta device without values."""
    groups = layout(path)
    if whole:
        groups = {
            group: {n: torch.empty_like(t, device="cpu") for n, t in own.items()} for group, own in groups.items()
        }
        read_into(path, groups, alone=True)
    return [groups.get(name, {}) for name in TENSORS]


def place(folder: Path) -> Path:
    """Return the folder of a run's checkpoints."""
    return Path(folder) / "checkpoints"


def complete(folder: Path) -> list[Path]:
    """Return the checkpoints that are whole, oldest first."""
    found = ((NAME.fullmatch(path.name), path) for path in place(folder).glob("step-*"))
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def clear(new: Path) -> None:
    """Make the folder `new`, in the place of what is there."""
    new.parent.mkdir(parents=True, exist_ok=True)
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()


def _write(new: Path, checkpoint: Checkpoint) -> None:
    """Write all files of a checkpoint into the folder `new`, in the place of what is there."""
    clear(new)
    for name, file in zip(TENSORS, FILES, strict=True):
        path, tensors = new / file, getattr(checkpoint, name)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata={"format": "pt"})
        _flush(path)
    write_state(new, {"step": checkpoint.step, **checkpoint.facts}, FILES)


def write_state(new: Path, state: dict[str, Any], files: Iterable[str]) -> None:
    """Write the state beside the files of tensors, with their checksums."""
    state[CHECKSUMS] = _checksums(new, state, files)
    (new / STATE).write_text(json.dumps(state, indent=2), "utf-8")
    _flush(new / STATE)
    _flush(new)


def _checksums(path: Path, state: Mapping[str, Any], files: Iterable[str]) -> dict[str, int]:
    """Return the checksums of the files of a checkpoint, and of its state without them."""
    checksums = {STATE: zlib.crc32(json.dumps(state, sort_keys=True).encode())}
    for file in files:
        name, checksum = file.removesuffix(".safetensors"), 0
        with (path / file).open("rb") as content:
            while data := content.read(READ_BYTES):
                checksum = zlib.crc32(data, checksum)
        checksums[name] = checksum
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
