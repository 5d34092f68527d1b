"""Many clips of the drawn world in two files that are read piece by piece: frames and skeletons, uint8 [N, F, H, W, 3].

Seeds below HELD_OUT are for training, all others are for tests and metrics.
"""

from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
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
    one, seeds = partial(render_one, frames=frames, size=size), range(first_seed, first_seed + count)
    with ProcessPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        clips = pool.map(one, seeds, chunksize=16) if pool else map(one, seeds)
        for index, pair in enumerate(clips):
            for file, pictures in zip(files, pair, strict=True):
                file[index] = pictures
    for file in files:
        file.flush()
    return paths


def render_one(seed: int, frames: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames and the skeletons of one clip."""
    clip = make_clip(seed, frames, size)
    return clip.frames, skeletons(clip.poses)
