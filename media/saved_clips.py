"""Which clips are already saved, so that the same clip is not saved twice when nothing changed.

A clip is known by a hash of all that decides its file but the stored workflow. A record names the file, with its size
and time: a file that was moved, removed or changed since counts as not saved.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, uint8

from .audio_input import to_audio
from .disk_cache import DiskCache
from .frame_source import FrameSource
from .side_by_side import SideBySide

SUFFIX = ".clip"
LIMIT_BYTES = 1 << 18  # about a thousand records


class SavedClips:
    """The records in `folder`, which is made when the first is written."""

    def __init__(self, folder: Path):
        self._records = DiskCache(folder, SUFFIX, LIMIT_BYTES)

    def find(self, key: str) -> Path | None:
        """Return the file that holds the clip, None if there is none any more."""
        record = self._records.load(key, lambda content: json.loads(bytes(content)))
        path = Path(record["path"]) if record else None
        return path if path and path.is_file() and _state(path) == record else None

    def remember(self, key: str, path: Path) -> None:
        """Record that the clip is saved in that file."""
        self._records.save(key, json.dumps(_state(path)).encode())


def clip_key(images: FrameSource | SideBySide, audio: Mapping | None, *settings: object) -> str:
    """Return the key of frames [F, H, W, C], AUDIO and what else decides the file; ValueError if audio is none."""
    digest = hashlib.blake2b(repr((tuple(images.shape), settings)).encode(), digest_size=32)
    for index in range(len(images)):
        _add(digest, images[index])
    if audio is not None:
        sound = to_audio(audio)
        digest.update(repr((tuple(sound["waveform"].shape), sound["sample_rate"])).encode())
        for channel in sound["waveform"].flatten(0, 1):  # the whole may be a view, whose copy takes as much again
            _add(digest, channel)
    return digest.hexdigest()


def _state(path: Path) -> dict:
    found = path.stat()
    return {"path": str(path), "size": found.st_size, "mtime_ns": found.st_mtime_ns}


def _add(digest, values: Tensor) -> None:
    digest.update(repr(values.dtype).encode())
    digest.update(values.detach().cpu().contiguous().reshape(-1).view(uint8).numpy().data)
