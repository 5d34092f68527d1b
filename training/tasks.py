"""A stage as the loop wants it: the module to train, its batches, and pictures on the way."""

from collections.abc import Callable
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..media.frames import video_to_uint8
from ..steadydancer_core.weights.clip_vision import serves_clip_vision
from .flow import Batch, Distillation, FlowMatching, Velocity, sample
from .lora import PARTS, Adapter, merged
from .network import POSE_PARTS
from .stages import Column, Stage
from .streaming import BlockStream

PREVIEW_STEPS, PREVIEW_SEED = 12, 5
VALIDATION_BATCHES = 4

Decode = Callable[[Tensor], Tensor]  # latents in model space -> frames [B, 3, F, H, W] in -1..1


class StageTask:
    """A stage, trained as a column says, on a network that already has the weights of the stage before.

    `teacher` is the base model, for distillation; `preview` a batch of held-out clips and what decodes its latents;
    `held`: batches of held-out clips, for the validation loss; `sees`: whether the network has trained parts for CLIP
    vision; fill: see loop.Task; blocks: where the weights of the network's blocks are in main memory.
    """

    def __init__(
        self,
        stage: Stage,
        column: Column,
        network: Any,
        batches: Callable[[torch.Generator], Batch],
        teacher: nn.Module | None = None,
        preview: tuple[Batch, Decode] | None = None,
        recompute: bool = False,
        seed: int = 0,
        fast: bool = False,
        stream: torch.dtype = torch.float32,
        sees: bool = False,
        held: Callable[[torch.Generator], Batch] | None = None,
        fill: Callable[[], None] | None = None,
        blocks: BlockStream | None = None,
    ):
        self.stage, self.batches, self.preview, self.held, self.fill = stage, batches, preview, held, fill
        self.velocity = Velocity(network, stage.pose, recompute, stream, blocks)
        choose_trained(stage, column, network, sees)
        parts = [part for part in PARTS if part.startswith(column.targets)]
        self.adapter = Adapter(network, column.rank, column.rank, seed, parts) if column.rank else None
        if stage.loss == "flow":
            self.module = FlowMatching(self.velocity, self.adapter)
        else:
            taught = Velocity(cast(nn.Module, teacher), pose=False, stream=stream)
            self.module = Distillation(self.velocity, taught, stage.loss == "decoupled")
        if fast:
            for block in network.blocks:
                block.compile()

    def batch(self, _step: int, generator: torch.Generator) -> Batch:
        """Return a batch of the store."""
        return self.batches(generator)

    def validate(self) -> dict[str, float]:
        """Return the mean loss of held-out clips, on the same noise and noise levels every time."""
        if self.held is None:
            return {}
        device, losses = next(self.velocity.parameters()).device, []
        for seed in range(VALIDATION_BATCHES):
            batch = self.held(torch.Generator().manual_seed(seed))
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            parts = getattr(self.module, "passes", None)
            found = [self.module(batch, part) for part in parts] if parts else [self.module(batch)]
            losses.append(sum(results["loss"].item() for results in found))
        return {"validation_loss": fmean(losses)}

    def pictures(self, _step: int) -> dict[str, np.ndarray]:
        """Return what the network makes of held-out clips: rows of truth and result in turn."""
        if self.preview is None:
            return {}
        batch, decode = self.preview
        noise = torch.randn(batch["clean"].shape, generator=torch.Generator().manual_seed(PREVIEW_SEED))
        device = next(self.velocity.parameters()).device
        there = {name: tensor.to(device) for name, tensor in batch.items()}
        made = sample(self.velocity, there, noise.to(device), PREVIEW_STEPS)
        return {"preview": strips(decode(batch["clean"]), decode(made.cpu()))}

    def result(self, trained: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's whole state with what the loop returned in it, LoRA layers merged."""
        self.module.load_state_dict(trained, strict=False)
        state = {name: tensor.detach().clone() for name, tensor in self.velocity.network.state_dict().items()}
        return merged(state, self.adapter) if self.adapter else state


def choose_trained(stage: Stage, column: Column, network: nn.Module, sees: bool = False) -> None:
    """Let the loop train what the column does: all weights, or the pose tensors beside the LoRA layers, or neither.

    What serves CLIP vision is trained with all weights only where the network `sees`.
    """
    for name, weight in network.named_parameters():
        wanted = column.rank == 0 or (stage.pose_parts and name.startswith(POSE_PARTS))
        weight.requires_grad_(wanted and (sees or not serves_clip_vision(name)))


def strips(*videos: Tensor, every: int = 2) -> np.ndarray:
    """Return the clips of several videos [B, 3, F, H, W] in -1..1 as rows of frames, clip by clip, uint8 [H, W, 3]."""
    rows = []
    for clips in zip(*videos, strict=True):
        for clip in clips:
            levels = video_to_uint8(clip.permute(1, 2, 3, 0))
            rows.append(np.concatenate(list(levels[::every]), axis=1))
    return np.concatenate(rows)
