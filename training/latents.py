"""Clips as the video model sees them, encoded once: latents of the frames, of the skeletons, of photo and gray.

A store is a folder of .npy files that are read piece by piece, float16 [N, 16, T, h, w] in model space (after
process_latent_in); `text` is [N, rows, width]. `changed` holds the first latent frames of stage 3's skeletons for
each of its displacements, [N, reaches, 16, first frames, h, w] (see pose_simulation.py).
Stores of real clips have CLIP vision's features of the photo and of the first skeleton too, [N, 257, 1280].
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..media.frames import uint8_to_video

CLIP, POSE, PHOTO, CHANGED, TEXT = "clip", "pose", "photo", "changed", "text"
ARRAYS = (CLIP, POSE, PHOTO, CHANGED, TEXT)
PHOTO_FEATURES, POSE_FEATURES = FEATURES = ("clip_fea", "clip_fea_c")
GRAY = 0.5
CHANGED_FRAMES = 9  # only the second pose is another: later latents are those of the unchanged poses

Encode = Callable[[Tensor], Tensor]  # frames [B, 3, F, H, W] in -1..1 -> latents in model space [B, 16, T, h, w]


class Pixels(NamedTuple):
    """A batch of clips: frames, skeletons uint8 [B, F, H, W, 3]; changed uint8 [B, reaches, CHANGED_FRAMES or less, H,
    W, 3]; text float [B, rows, width]."""

    frames: np.ndarray
    skeletons: np.ndarray
    changed: np.ndarray
    text: np.ndarray


class Store:
    """The arrays of a folder, by name. features: the names of those of FEATURES that are there; shape: of a clip's
    latent.

    ValueError: an array is missing, as where the clips are not all encoded.
    """

    def __init__(self, folder: Path):
        missing = [name for name in ARRAYS if not (Path(folder) / f"{name}.npy").is_file()]
        if missing:
            raise ValueError(
                f"{folder} has no {', '.join(missing)}: its clips are not encoded, or not all of them. Make them with "
                "`store`, those of videos with `prepare`."
            )
        self.features = tuple(name for name in FEATURES if (Path(folder) / f"{name}.npy").is_file())
        names = ARRAYS + self.features
        self.arrays = {name: np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in names}
        self.folder, self.shape = Path(folder), self.arrays[CLIP].shape[1:]
        self.count, _, self.latent_frames = self.arrays[CLIP].shape[:3]

    def take(self, name: str, rows: np.ndarray) -> Tensor:
        """Return these rows of an array in float32."""
        return torch.from_numpy(self.arrays[name][rows].astype(np.float32))


def encoded(batch: Pixels, encode: Encode) -> dict[str, np.ndarray]:
    """Return the arrays of a batch of clips in float16."""
    photo = np.full_like(batch.frames, round(255 * GRAY))
    photo[:, 0] = batch.frames[:, 0]
    pictures = {CLIP: batch.frames, POSE: batch.skeletons, PHOTO: photo, CHANGED: np.concatenate(batch.changed)}
    out = {
        name: encode(uint8_to_video(frames).movedim(-1, 1)).to(torch.float16).numpy()
        for name, frames in pictures.items()
    }
    by_clip = out[CHANGED].reshape(*batch.changed.shape[:2], *out[CHANGED].shape[1:])
    return out | {CHANGED: by_clip, TEXT: batch.text.astype(np.float16)}
