"""Batches of the video model: clips of a store, cut to a length, with noise and a noise level.

Our choices: most batches start at the photo, as in the paper; a part of those with pose is cut from the middle of a
clip, without a photo in the image channels and with the reference pair, as a long video's later windows are. The
prompt is the negative one in a tenth of the samples. Noise levels have a shift of 4 (sampling: 5).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .flow import Batch, shifted
from .latents import CHANGED, CLIP, PHOTO, POSE, TEXT, Store
from .pose_simulation import PROBABILITY

MASK = 4


@dataclass(frozen=True)
class Cuts:
    """lengths: latent frames to how many clips a batch has, drawn by the shares; middle: share of batches from the
    middle; jumps: whether poses are changed as in stage 3; negative: share of samples with the negative prompt;
    shift: of the noise levels."""

    lengths: tuple[tuple[int, int], ...]
    shares: tuple[float, ...]
    middle: float = 0.0
    jumps: bool = False
    negative: float = 0.1
    shift: float = 4.0


class Batches:
    """Draws batches from a store. negative_text [rows, width] is the text of some samples, and stage 2's.

    blank_pose [1, 16, 1 or T, h, w] is stage 2's, blank_features [1, 257, 1280] those of its first frame.
    """

    def __init__(
        self,
        store: Store,
        cuts: Cuts,
        negative_text: Tensor,
        blank_pose: Tensor | None = None,
        blank_features: Tensor | None = None,
    ):
        self.store, self.cuts, self.negative_text, self.blank_pose = store, cuts, negative_text, blank_pose
        self.blank_features = blank_features

    def __call__(self, generator: torch.Generator) -> Batch:
        """Return one batch; all its randomness comes from `generator`."""
        cuts = self.cuts
        length, count = cuts.lengths[int(torch.multinomial(torch.tensor(cuts.shares), 1, generator=generator))]
        start = 0
        if length < self.store.latent_frames and torch.rand((), generator=generator).item() < cuts.middle:
            start = 1 + int(torch.randint(self.store.latent_frames - length, (), generator=generator))
        rows = np.sort(torch.randperm(self.store.count, generator=generator)[:count].numpy())
        batch = self._clips(rows, slice(start, start + length), generator)
        noise = torch.randn(batch["clean"].shape, generator=generator)
        even = torch.rand(len(noise), generator=generator)
        batch |= {"negative_text": self.negative_text.expand(len(noise), -1, -1)}
        if self.blank_pose is not None:
            batch["blank_pose"] = self.blank_pose[:, :, : noise.shape[2]].expand_as(noise)
        if self.blank_features is not None:
            batch["blank_features"] = self.blank_features.expand(len(noise), -1, -1)
        return {**batch, "noise": noise, "sigma": shifted(even, cuts.shift)}

    def _clips(self, rows: np.ndarray, frames: slice, generator: torch.Generator) -> Batch:
        clean, pose, photo = (self.store.take(name, rows) for name in (CLIP, POSE, PHOTO))
        if self.cuts.jumps:
            changed = torch.rand(len(rows), generator=generator) < PROBABILITY
            pose[changed] = self.store.take(CHANGED, rows)[changed]
        text = self.store.take(TEXT, rows)
        text[torch.rand(len(rows), generator=generator) < self.cuts.negative] = self.negative_text
        features = {name: self.store.take(name, rows) for name in self.store.features}
        return {**conditions(photo, pose, frames), **features, "clean": clean[:, :, frames], "text": text}


def conditions(photo: Tensor, pose: Tensor, frames: slice) -> Batch:
    """Return image, pose, ref_x and ref_c for these latent frames of clips that start at the photo."""
    first = photo[:, :, :1]
    mask = torch.zeros_like(photo[:, :MASK])
    mask[:, :, 0] = 1
    image = torch.cat([mask, photo], dim=1)[:, :, frames]
    ref_x = torch.cat([first, torch.ones_like(first[:, :MASK]), first], dim=1)
    return {"image": image, "pose": pose[:, :, frames], "ref_x": ref_x, "ref_c": pose[:, :, :1]}
