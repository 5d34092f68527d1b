"""Metrics that are kept until what they were measured on is no longer the same."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...media.atomic_write import atomic_write
from ...media.file_hash import file_sha256
from ..pipeline import Work
from .metrics import metrics
from .pairs import Pair
from .worlds import NEW, World

Rows = list[dict[str, float]]  # the metrics of each pair
Key = list[int | str]
SHEET_PAIRS = 8  # whose clips are kept for pictures


def key_of(count: int, weights: Path | None, vae: Path | None, world: World = NEW) -> Key:
    """Return what rows depend on: the number of pairs, the sha256 of weights and VAE, "" where there are none, and
    the world."""
    return [count, *(file_sha256(path) if path else "" for path in (weights, vae)), world.name]


def kept_rows(folder: Path, name: str, key: Key, pairs: list[Pair], make: Callable[[], list[np.ndarray]]) -> Rows:
    """Return the rows of this name and key from `folder`, else those of the clips that `make` gives, and keep them.

    The first clips lie beside their rows; while they change there are no rows.
    """
    file = rows_file(folder, name)
    try:
        found = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        found = None
    if isinstance(found, dict) and found.get("of") == key:
        return found["rows"]
    file.unlink(missing_ok=True)
    clips = make()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file.with_suffix(".npz"), clips=np.stack(clips[:SHEET_PAIRS]))
    rows = [metrics(pair, clip) for pair, clip in zip(pairs, clips, strict=True)]
    with atomic_write(file) as part:
        part.write_bytes(json.dumps({"of": key, "rows": rows}).encode())
    return rows


def kept_clips(folder: Path, name: str) -> np.ndarray:
    """Return the first clips of this name, uint8 [N, F, H, W, 3]."""
    with np.load(rows_file(folder, name).with_suffix(".npz")) as file:
        return file["clips"]


def evaluation_folder(work: Work, count: int, world: World = NEW) -> Path:
    """Return where the metrics on `count` pairs of a world lie."""
    return work.folder / (f"evaluation-{count}" if world.name == NEW.name else f"evaluation-{world.name}-{count}")


def rows_file(folder: Path, name: str) -> Path:
    """Return where the rows of this name lie."""
    return folder / f"{name.replace(' ', '_')}.json"
