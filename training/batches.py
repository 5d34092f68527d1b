"""Batches of the video model: clips of a store, cut to a length, with noise and a noise level.

Our choices: most batches start at the photo, as in the paper; a part of those with pose is cut from the middle of a
clip, without a photo in the image channels and with the reference pair, as a long video's later windows are. The
prompt is the negative one in a tenth of the samples. Noise levels have a shift of 4 (sampling: 5).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .flow import Batch, shifted
from .latents import CHANGED, CLIP, PHOTO, POSE, TEXT, Store
from .pose_simulation import PROBABILITY
from .stages import Cuts

MASK = 4
CHANGE = 1.0  # of latents, whose standard deviation is 1: a cell that changes so much has all of the weight


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
            starts = self.store.take(CHANGED, rows)  # [B, reaches, 16, first latent frames, h, w]
            changed = torch.rand(len(rows), generator=generator) < PROBABILITY
            reach = torch.randint(starts.shape[1], (len(rows),), generator=generator)
            start = starts[torch.arange(len(rows)), reach]
            pose[changed, :, : start.shape[2]] = start[changed]
        text = self.store.take(TEXT, rows)
        text[torch.rand(len(rows), generator=generator) < self.cuts.negative] = self.negative_text
        features = {name: self.store.take(name, rows) for name in self.store.features}
        batch = {**conditions(photo, pose, frames), **features, "clean": clean[:, :, frames], "text": text}
        if self.cuts.moving:
            batch["weight"] = cell_weights(clean, frames, self.cuts.moving)
        return batch


class BucketBatches:
    """Draws batches of one size each from stores of several; a store is drawn as often as it has clips."""

    def __init__(self, buckets: Sequence[Batches]):
        self.buckets = buckets

    def __call__(self, generator: torch.Generator) -> Batch:
        """Return one batch; all its randomness comes from `generator`."""
        number = 0
        if len(self.buckets) > 1:
            counts = torch.tensor([float(bucket.store.count) for bucket in self.buckets])
            number = int(torch.multinomial(counts, 1, generator=generator))
        return self.buckets[number](generator)


def cell_weights(clips: Tensor, frames: slice, moving: float) -> Tensor:
    """Return the loss's weights [B, 1, T, h, w] of these latent frames of whole clips [B, 16, T, h, w]; mean 1 each.

    A cell weighs 1 + moving * change / CHANGE, at most 1 + moving; its change is the root mean square over channels of
    the difference from the latent frame before or after, the larger one. A first frame is encoded in another way than
    those after it, so it is compared with none: it weighs as what stands still.
    """
    steps = (clips[:, :, 2:] - clips[:, :, 1:-1]).square().mean(1, keepdim=True).sqrt()
    before, after = F.pad(steps, (0, 0, 0, 0, 2, 0)), F.pad(steps, (0, 0, 0, 0, 1, 1))
    change = torch.maximum(before, after)[:, :, frames]
    weight = 1 + moving * (change / CHANGE).clamp(max=1)
    return weight / weight.mean(dim=(1, 2, 3, 4), keepdim=True)


def conditions(photo: Tensor, pose: Tensor, frames: slice) -> Batch:
    """Return image, pose, ref_x and ref_c for these latent frames of clips that start at the photo."""
    first = photo[:, :, :1]
    mask = torch.zeros_like(photo[:, :MASK])
    mask[:, :, 0] = 1
    image = torch.cat([mask, photo], dim=1)[:, :, frames]
    ref_x = torch.cat([first, torch.ones_like(first[:, :MASK]), first], dim=1)
    return {"image": image, "pose": pose[:, :, frames], "ref_x": ref_x, "ref_c": pose[:, :, :1]}
