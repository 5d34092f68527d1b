"""What a run starts from, in words that its checkpoints keep: it must not go on over other weights or other clips."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..media.byte_size import size_text
from ..steadydancer_core.weights.weight_source import open_weights
from .latents import Store

HEAD, PIECES, PIECE = 1 << 20, 64, 1 << 16  # bytes, count, bytes: a file of 33 GB would take minutes to read
Start = Mapping[str, str]


def start_of(weights: Path | None, stores: Iterable[Store], teacher: Path | None = None) -> dict[str, str]:
    """Return what a stage starts from: the weights, None for fresh ones, the clips, the teacher where it has one."""
    clips = " + ".join(f"{store.count} of {list(store.shape)}" for store in stores)
    start = {"weights": "fresh ones" if weights is None else fingerprint(weights), "clips": clips}
    return start if teacher is None else {**start, "teacher": fingerprint(teacher)}


def fingerprint(path: Path) -> str:
    """Return size and hash of a safetensors file, or of shards, wherever they lie: of their heads and of samples."""
    files = open_weights(path).paths
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(str(size).encode())
        with file.open("rb") as content:
            digest.update(content.read(HEAD))
            for piece in range(1, PIECES + 1):
                content.seek(max(0, size - PIECE) * piece // PIECES)
                digest.update(content.read(PIECE))
    return f"{size_text(sum(file.stat().st_size for file in files))}, hash {digest.hexdigest()[:12]}"
