"""Clips of several sizes in one store: a folder with a store of each size, called WIDTHxHEIGHT, and sizes.json.

A video goes where the aspect is nearest to its own. Until all clips are encoded sizes.json names the sizes alone, then
also the stores, which are those that have a clip.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..media.atomic_write import atomic_write
from ..media.video_stream import VideoStream
from .clip_rows import JOURNAL
from .latents import Store

SIZES, STORES = "sizes.json", "stores"
Size = tuple[int, int]  # width, height in pixels


class Bucket(NamedTuple):
    """The videos that get one size, and the folder of their store."""

    folder: Path
    size: Size
    paths: Sequence[Path]


def buckets_of(folder: Path, paths: Sequence[Path], sizes: Sequence[Size]) -> list[Bucket]:
    """Return the buckets of a store: `folder` itself for one size, else a folder in it for each size that has a video.

    ValueError: the folder was begun with other sizes.
    """
    names = ["{}x{}".format(*size) for size in sizes]
    if len(sizes) == 1:
        if (folder / SIZES).exists():
            raise _begun(folder, json.loads((folder / SIZES).read_text("utf-8"))["sizes"], names)
        return [Bucket(folder, sizes[0], paths)]
    if (folder / JOURNAL).exists():
        raise _begun(folder, "one size", names)
    begun = json.loads((folder / SIZES).read_text("utf-8"))["sizes"] if (folder / SIZES).exists() else names
    if begun != names:
        raise _begun(folder, begun, names)
    chosen = [nearest(path, sizes) for path in paths]
    found = (
        Bucket(folder / name, size, [path for path, one in zip(paths, chosen, strict=True) if one == size])
        for name, size in zip(names, sizes, strict=True)
    )
    return [bucket for bucket in found if bucket.paths]


def nearest(path: Path, sizes: Sequence[Size]) -> Size:
    """Return the size whose aspect is nearest to a video's; of one that cannot be read the first."""
    try:
        stream = VideoStream(str(path))
    except ValueError:
        return sizes[0]
    aspect = math.log(stream.width / stream.height)
    return min(sizes, key=lambda size: abs(math.log(size[0] / size[1]) - aspect))


def write_sizes(folder: Path, sizes: Iterable[Size], stores: Iterable[str] | None = None) -> None:
    """Write sizes.json; stores: the folders that have clips, once all are encoded."""
    state = {"sizes": ["{}x{}".format(*size) for size in sizes]}
    if stores is not None:
        state[STORES] = list(stores)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / SIZES) as part:
        part.write_text(json.dumps(state), "utf-8")


def open_stores(folder: Path) -> list[Store]:
    """Return the stores of a folder: itself, or one of each size. ValueError: its clips are not all encoded."""
    if not (folder / SIZES).is_file():
        return [Store(folder)]
    names = json.loads((folder / SIZES).read_text("utf-8")).get(STORES)
    if not names:
        raise ValueError(f"The clips in {folder} are not all encoded. Run the same `prepare` again to go on.")
    return [Store(folder / name) for name in names]


def _begun(folder: Path, then: object, now: object) -> ValueError:
    return ValueError(f"The folder {folder} was begun with {then}, now it is {now}. Use the same, or another folder.")
