"""The losses of the three stages on latents: flow matching, condition-decoupled distillation, and the paper's ablation.

From the paper (3.5): stage 1 matches the velocity of the data; stage 2 splits the student's velocity into an
unconditional part, which is held to the frozen base model's, and a conditional one, and holds the whole to the data;
plain distillation holds the conditional output to the teacher's, and collapses. Our choice, which the paper leaves
open: the norm of both parts is the mean square, and they weigh the same; "unconditional" is the negative prompt with
the poses of an empty picture, the photo stays, since the teacher is an image-to-video model; noise levels are drawn
evenly and then shifted as sampling shifts its schedule, by 4 (sampling: 5).

A batch: clean, noise [B, 16, T, h, w]; sigma [B] in 0..1; image [B, 20, T, h, w], the mask's 4 channels and the photo's
latent; pose [B, 16, T, h, w]; ref_x [B, 36, 1, h, w]; ref_c [B, 16, 1, h, w]; text [B, rows, width]; negative_text and
blank_pose of the same shapes as text and pose. Latents are in model space. Where the model sees with CLIP vision:
clip_fea, clip_fea_c and blank_features [B, 257, 1280] of the photo, the first pose and the blank pose. weight
[B, 1, T, h, w], where the batches have it: of the squared differences from the data.
"""

import itertools
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .network import ATTENTION, CLIP_WIDTH
from .streaming import BlockStream

STEPS = 1000
SHIFT = 5.0  # of the sampling schedule
Batch = dict[str, Tensor]


def noised(batch: Batch) -> Tensor:
    """Return the latent at the batch's noise level: (1 - sigma) clean + sigma noise."""
    sigma = batch["sigma"].view(-1, 1, 1, 1, 1)
    return torch.lerp(batch["clean"], batch["noise"], sigma)


def shifted(even: Tensor, shift: float) -> Tensor:
    """Return noise levels 0..1 pushed towards noise as the sampling schedule does."""
    return shift * even / (1 + (shift - 1) * even)


class Velocity(nn.Module):
    """A network's velocity on a batch: of the base where `pose` is off. `recompute` trades time for memory.

    stream: what the tokens are between the blocks, if not float32; blocks: where their weights are in main memory.
    """

    def __init__(
        self,
        network: Any,
        pose: bool,
        recompute: bool = False,
        stream: torch.dtype = torch.float32,
        blocks: BlockStream | None = None,
    ):
        super().__init__()
        self.network: Any = network
        self.pose, self.recompute, self.stream, self.blocks = pose, recompute, stream, blocks

    def forward(self, batch: Batch, x: Tensor, conditional: bool = True) -> Tensor:
        """Return the velocity [B, 16, T, h, w] of x; not conditional: negative text and blank pose."""
        text, pose = ("text", "pose") if conditional else ("negative_text", "blank_pose")
        features = batch.get("clip_fea", torch.zeros(len(x), 1, CLIP_WIDTH, device=x.device))
        options: dict[str, Any] = dict(ATTENTION)
        if self.recompute:
            numbers = range(len(self.network.blocks))
            run = {("double_block", i): partial(self.blocks.run, i) if self.blocks else _recomputed for i in numbers}
            options["patches_replace"] = {"dit": run}
        inputs = {"clip_fea": features.to(self.stream), "transformer_options": options}
        if self.pose:
            first = batch["ref_c"] if conditional else batch["blank_pose"][:, :, :1]
            inputs |= {"pose_latents": batch[pose], "ref_x": batch["ref_x"], "ref_c": first}
            seen = "clip_fea_c" if conditional or "blank_features" not in batch else "blank_features"
            inputs |= {"clip_fea_c": batch.get(seen, features).to(self.stream)}
        x = torch.cat([x, batch["image"]], dim=1).to(self.stream)
        return self.network(x, STEPS * batch["sigma"], batch[text], **inputs)


def _recomputed(args: dict, extra: dict) -> dict:
    return checkpoint(extra["original_block"], args, use_reentrant=False)


class FlowMatching(nn.Module):
    """Stage 1 and 3, and the base: the velocity of the data. `adapter` is kept here so that it is trained."""

    def __init__(self, velocity: Velocity, adapter: nn.Module | None = None):
        super().__init__()
        self.velocity, self.adapter = velocity, adapter

    def forward(self, batch: Batch) -> Batch:
        """Return the loss."""
        found = self.velocity(batch, noised(batch))
        return {"loss": difference(found, batch["noise"] - batch["clean"], batch.get("weight"))}


class Distillation(nn.Module):
    """Stage 2, condition-decoupled; or plain, the paper's ablation. The teacher is the frozen base.

    passes: the parts of the decoupled loss, which the loop differentiates one after the other.
    """

    def __init__(self, student: Velocity, teacher: Velocity, decoupled: bool = True):
        super().__init__()
        self.velocity, self.decoupled = student, decoupled
        self.passes = ("unconditional", "conditional") if decoupled else ()
        teacher.requires_grad_(False)
        self.teacher = [teacher]  # in a list: its weights are not this module's and are neither trained nor saved

    def _apply(self, fn, recurse: bool = True) -> nn.Module:
        """Take the teacher along to another device."""
        self.teacher[0]._apply(fn)
        return super()._apply(fn, recurse)

    def forward(self, batch: Batch, part: str = "") -> Batch:
        """Return the loss, of the decoupled one the part of this name, and what else is logged."""
        x = noised(batch)
        if part == "unconditional":
            loss = difference(self.velocity(batch, x, conditional=False), self._taught(batch, x))
            return {"loss": loss, part: loss.detach()}
        found = self.velocity(batch, x)
        data = difference(found, batch["noise"] - batch["clean"], batch.get("weight"))
        if part == "conditional":
            return {"loss": data, part: data.detach()}
        return {"loss": difference(found, self._taught(batch, x)), "data": data.detach()}

    @torch.no_grad()
    def _taught(self, batch: Batch, x: Tensor) -> Tensor:
        return self.teacher[0](batch, x, conditional=not self.decoupled)


@torch.no_grad()
def sample(velocity: Velocity, batch: Batch, noise: Tensor, steps: int, shift: float = SHIFT) -> Tensor:
    """Return the latent [B, 16, T, h, w] that `noise` becomes under the batch's conditions: Euler, without guidance."""
    x, sigmas = noise, shifted(torch.linspace(1, 0, steps + 1), shift).to(noise.device)
    for sigma, lower in itertools.pairwise(sigmas):
        x = x + (lower - sigma) * velocity({**batch, "sigma": sigma.expand(len(x))}, x).float()
    return x


def difference(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean squared difference in float32; weight: of its elements, of mean 1."""
    squared = (a.float() - b.float()).square()
    return squared.mean() if weight is None else (squared * weight).mean()
