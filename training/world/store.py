"""Many clips of the drawn world in two files that are read piece by piece: frames and skeletons, uint8 [N, F, H, W, 3].

Seeds below HELD_OUT are for training, all others are for tests and figures.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ...dwpose.draw import Style, draw_clip
from ...dwpose.poses import PoseClip
from .clips import make_clip

HELD_OUT = 1_000_000
STYLE = Style(hands=False)  # as the bundled detector sees people: no fingers
CLIPS, POSES = "clips.npy", "poses.npy"


def skeletons(poses: PoseClip) -> np.ndarray:
    """Return the clip's skeleton frames, uint8 [F, H, W, 3], drawn as the model knows them."""
    return np.stack(list(draw_clip(poses, poses.width, poses.height, STYLE)))


def render(
    folder: Path, count: int, frames: int, size: int, first_seed: int = 0, workers: int = 2
) -> tuple[Path, Path]:
    """Write `count` clips of seeds from `first_seed` on below `folder` and return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / CLIPS, folder / POSES
    shape = count, frames, size, size, 3
    files = [np.lib.format.open_memmap(path, "w+", np.uint8, shape) for path in paths]
    for index, pair in enumerate(_rendered(range(first_seed, first_seed + count), frames, size, workers)):
        for file, pictures in zip(files, pair, strict=True):
            file[index] = pictures
    for file in files:
        file.flush()
    return paths


def _rendered(seeds: range, frames: int, size: int, workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    one = partial(render_one, frames=frames, size=size)
    if workers < 2:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(one, seeds, chunksize=16)


def render_one(seed: int, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames and the skeletons of one clip."""
    clip = make_clip(seed, frames, size)
    return clip.frames, skeletons(clip.poses)
