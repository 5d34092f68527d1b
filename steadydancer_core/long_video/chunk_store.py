"""The finished chunks of a long video on disk, so that a run that was stopped goes on where it ended.

A chunk is one file named by its key: its frames in half precision, kept until others need the space.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from ...media.disk_cache import DiskCache
from ...media.frame_files import pack, unpack
from ...media.log import logger
from ..weights.weight_source import first_of
from .run_manifest import Manifest, note_changes
from .value_names import ValueNamer, digest


def as_stored(frames: Tensor) -> Tensor:
    """Return `frames` as a cache gives them back: rounded to half precision, a 16th of an 8-bit step near white."""
    return frames.half().to(frames.dtype)


class KeptChunks:
    """The finished chunks of one run, none where it cannot be compared. notes: gets why, or what changed since."""

    def __init__(self, cache: DiskCache, manifest: Callable[[], Manifest], notes: list[str]):
        self.cache = cache
        self.run_key: str | None = None
        self.keys: list[str] = []
        self.kept = 0  # chunks, of which `found` were there before this run
        self.found = 0
        self.file: Path | None = None  # of the chunk last returned, where it is kept
        if not cache.is_on:
            return
        run = manifest()
        if run.unnamed and not run.fields["run_name"]:
            notes.append(
                f"finished chunks are not kept: {first_of(run.unnamed)} cannot be compared with that of a later run. "
                "Take out the node that adds it, or give this run a run_name and change the name whenever you change "
                "that node"
            )
            logger.warning("%s", notes[-1])
            return
        self.run_key = run.key
        changed = note_changes(cache.folder, run)
        if changed:
            notes.append(f"all chunks are sampled anew, because this changed since the last run: {changed}")
            logger.info("%s", notes[-1])

    def get_or_compute(
        self, fields: Callable[[], dict], shapes: Sequence[tuple[int, ...]], compute: Callable[[], Sequence[Tensor]]
    ) -> list[Tensor]:
        """Return the frames of a chunk and whatever else of it the next one needs, rounded to half precision.

        A chunk of which a part is missing is made anew.
        """
        self.file = None
        if self.run_key is None:
            return [as_stored(part) for part in compute()]
        named = ValueNamer()(fields())
        keys = [digest([self.run_key, named, *([number] if number else [])]) for number in range(len(shapes))]
        parts = [self.cache.load(key, partial(unpack, shape=shape)) for key, shape in zip(keys, shapes, strict=True)]
        found = [part for part in parts if part is not None]
        if len(found) == len(shapes):
            self.found += 1
        else:
            found = [as_stored(part) for part in compute()]
            for key, part in zip(keys, found, strict=True):
                if not self.cache.save(key, pack(part), [*self.keys, *keys]):
                    self.run_key = None  # reported once; no run could go on across the gap
                    return found
        self.keys += keys
        self.kept += 1
        self.file = self.cache.path(keys[0])
        return found

    def advice(self) -> str:
        """Return what an out-of-memory error says of the work that is done."""
        if not self.kept:
            return "A smaller chunk_length or size, or tiled_vae, lowers the need too."
        return (
            f"{self.kept} finished chunks are kept and the next run goes on from them: raise blocks_to_swap and "
            "run again. A smaller chunk_length or size, or tiled_vae, lowers the need too, but starts anew."
        )
