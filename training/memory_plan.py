"""What a stage takes of each GPU's memory, computed from the shapes of the network and the table of stages.

    python -m training tables

Weights, gradients, AdamW's two moments and the moving average are counted tensor by tensor. Of the activations a pass
keeps each block's input and computes one block again at a time; KEPT says what that block keeps for its backward pass,
in bytes for each token by width and by inner width, counted on a block at small widths with norms in float32. Not
counted: the CUDA context, attention's scratch, fragments, and the VAE of pictures on the way; leave a tenth.
"""

from functools import cache
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from ..media.byte_size import GB
from ..media.frame_size import latent_frames
from ..steadydancer_core.model.pose_modulation import REFERENCE_FRAMES
from .lora import PARTS
from .network import WAN_14B, Size, build
from .stages import STAGES, Column, Stage
from .tasks import choose_trained

FRAMES, SIDE = 81, 640  # of the paper's clips
CELL = 16  # pixels on each side of a token: 8 of the VAE times 2 of the patch
KEPT = (66, 4)
FLOAT32, MOMENTS = 4, 8
COLUMNS = ("frozen", "trained", "gradients", "moments", "average", "teacher", "tokens", "one block")
GPUS = (1, 2, 8)


class Needs(NamedTuple):
    """Bytes on each GPU. frozen: weights that are not trained; trained: those that are, and LoRA layers; average: the
    moving one; tokens: what recomputation keeps between the blocks; block: one block's activations, and its weights
    where they are collected from other GPUs or cast."""

    frozen: float
    trained: float
    gradients: float
    moments: float
    average: float
    teacher: float
    tokens: float
    block: float

    @property
    def total(self) -> float:
        return sum(self)


def tokens(frames: int = FRAMES, width: int = SIDE, height: int = SIDE) -> int:
    """Return how many tokens a clip has in SteadyDancer, the two reference frames included."""
    return (latent_frames(frames) + REFERENCE_FRAMES) * (width // CELL) * (height // CELL)


def needs(size: Size, stage: Stage, column: Column, clip_tokens: int, gpus: int = 1) -> Needs:
    """Return what `stage` takes on each of `gpus` with one clip of `clip_tokens` tokens in a batch."""
    plan, (frozen, trained) = column.plan, _weights(size, stage, column)
    parts = tuple(part for part in PARTS if part.startswith(column.targets))
    adapted = (layer for name, layer in _one_block(size, True).named_modules() if name.endswith(parts))
    trained += column.rank * size.layers * sum(layer.in_features + layer.out_features for layer in adapted)
    stream = plan.dtype.itemsize
    parts = gpus if plan.shard else 1
    inputs = size.layers * clip_tokens * size.dim * stream
    base: Any = _one_block(size, False)
    block = sum(weight.numel() for weight in base.blocks.parameters())
    around = stream * (sum(weight.numel() for weight in base.parameters()) - block)
    blocks = stream * block * size.layers
    taught = 0 if stage.loss == "flow" else around + blocks / parts
    one = clip_tokens * (KEPT[0] * size.dim + KEPT[1] * size.ffn_dim)
    if not column.rank:
        gathered = 2 * FLOAT32 if parts > 1 else 0  # this block and the next one
        one += blocks / stream / size.layers * (stream + gathered)
    average = FLOAT32 * trained if plan.ema_decay else 0
    copies = 2 if gpus > 1 and not plan.shard else 1  # DDP sends gradients from buffers of their size
    own = (FLOAT32 * trained, copies * FLOAT32 * trained, MOMENTS * trained, average)
    return Needs(frozen, *(part / parts for part in own), taught, inputs, one)


def table(size: Size = WAN_14B) -> str:
    """Return a Markdown table of the stages of a whole model, in GB on each GPU."""
    clip = tokens()
    lines = [f"| stage | GPUs | {' | '.join(COLUMNS)} | all |", "|" + " --- |" * (len(COLUMNS) + 3)]
    for name, stage in STAGES.items():
        if stage.full is None:
            continue
        for gpus in GPUS:
            row = needs(size, stage, stage.full, clip, gpus)
            cells = " | ".join(f"{value / GB:.1f}" if value else "-" for value in row)
            lines.append(f"| {name} | {gpus} | {cells} | **{row.total / GB:.0f}** |")
    return "\n".join(lines)


def host(size: Size = WAN_14B) -> float:
    """Return the bytes of a checkpoint of stage 2: weights and two moments in float32."""
    stage = STAGES["stage2"]
    _, trained = _weights(size, stage, cast(Column, stage.full))
    return trained * (FLOAT32 + MOMENTS)


def _weights(size: Size, stage: Stage, column: Column) -> tuple[int, int]:
    """Return the bytes of the frozen weights, and the number of those trained."""
    network = _one_block(size, stage.pose, column.plan.dtype if column.rank else torch.float32)
    choose_trained(stage, column, network, sees=True)
    frozen = trained = 0
    for name, weight in network.named_parameters():
        count = weight.numel() * (size.layers if name.startswith("blocks.") else 1)
        if weight.requires_grad:
            trained += count
        else:
            frozen += count * weight.element_size()
    return frozen, trained


@cache
def _one_block(size: Size, pose: bool, dtype: torch.dtype = torch.bfloat16) -> nn.Module:
    """Return the network with one of its blocks, which are all alike, without memory for weights."""
    return build(size._replace(layers=1), pose, dtype, "meta")
