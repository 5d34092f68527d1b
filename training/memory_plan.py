"""What a stage takes of each GPU's memory and of main memory, computed from the shapes of the network.

    python -m training tables     # memory_table.py

Weights, gradients, AdamW's two moments and the moving average are counted tensor by tensor. Of the activations a pass
keeps each block's input and computes one block again at a time; KEPT says what that block keeps for its backward pass,
in bytes for each token by width and by inner width, counted on a block at small widths with norms in float32. Not
counted: the CUDA context, attention's scratch, fragments, and the VAE of pictures on the way; leave a tenth. Weights
are read from their file by views of it, row by row where they are shared out, so main memory holds none of them.
"""

from functools import cache
from typing import Any, NamedTuple, cast

import psutil
import torch
from torch import nn

from ..media.byte_size import size_text
from ..media.frame_size import latent_frames
from ..media.log import logger
from ..steadydancer_core.model.pose_modulation import REFERENCE_FRAMES
from .lora import PARTS
from .network import Size, build
from .stages import Column, Stage
from .tasks import choose_trained

FRAMES, SIDE = 81, 640  # of the paper's clips
CELL = 8  # pixels on each side of a latent cell
KEPT = (66, 4)
FLOAT32, MOMENTS = 4, 8
AT_ONCE = 2  # what a block takes and what it gives


class Needs(NamedTuple):
    """Bytes on each GPU. frozen: weights that are not trained; trained: those that are, and LoRA layers; average: the
    moving one; tokens: what recomputation keeps between the blocks; block: one block's activations, and its weights
    and gradient where they are collected from other GPUs or cast."""

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
    """Return how many tokens a clip of this size in pixels has in SteadyDancer, the two reference frames included."""
    return cell_tokens(latent_frames(frames), height // CELL, width // CELL)


def cell_tokens(frames: int, height: int, width: int) -> int:
    """Return how many tokens a clip has whose latent is [16, frames, height, width]."""
    return (frames + REFERENCE_FRAMES) * (height // 2) * (width // 2)


def needs(size: Size, stage: Stage, column: Column, clip_tokens: int, gpus: int = 1) -> Needs:
    """Return what `stage` takes on each of `gpus` with one clip of `clip_tokens` tokens in a batch."""
    plan, (frozen, trained) = column.plan, _counts(size, stage, column)
    stream = plan.dtype.itemsize
    parts = gpus if plan.shard else 1
    inputs = (AT_ONCE if column.stream else size.layers) * clip_tokens * size.dim * stream
    base = cast(Any, _one_block(size, False))
    block = sum(weight.numel() for weight in base.blocks.parameters())
    around = stream * (sum(weight.numel() for weight in base.parameters()) - block)
    blocks = stream * block * size.layers
    if column.stream:
        frozen -= stream * block * (size.layers - 1)
    taught = 0 if stage.loss == "flow" else around + blocks / parts
    one = clip_tokens * (KEPT[0] * size.dim + KEPT[1] * size.ffn_dim)
    if not column.rank:
        one += block * (_collected(plan.bf16_shards, stream) if parts > 1 else stream)
    average = FLOAT32 * trained if plan.ema_decay else 0
    copies = 2 if gpus > 1 and not plan.shard else 1  # DDP sends gradients from buffers of their size
    own = (FLOAT32 * trained, copies * FLOAT32 * trained, MOMENTS * trained, average)
    return Needs(frozen, *(part / parts for part in own), taught, inputs, one)


def host(size: Size, stage: Stage, column: Column, clip_tokens: int, processes: int = 1) -> float:
    """Return the bytes of main memory that all processes of a machine take together.

    That is a checkpoint, for which the main process collects weights, two moments and the moving average in float32;
    and in each process what is streamed: the blocks, and the tokens between them.
    """
    _, trained = _counts(size, stage, column)
    checkpoint = trained * (FLOAT32 + MOMENTS + (FLOAT32 if column.plan.ema_decay else 0))
    if not column.stream:
        return checkpoint
    block = sum(weight.numel() for weight in cast(Any, _one_block(size, False)).blocks.parameters())
    return checkpoint + processes * size.layers * column.plan.dtype.itemsize * (block + clip_tokens * size.dim)


def _collected(bf16: bool, stream: int) -> int:
    """Return the bytes per weight of a block that is shared out: it and the next one, a copy in the pass's numbers, its
    gradient, and that in float32 while it is averaged."""
    number, copy = (stream, 0) if bf16 else (FLOAT32, stream)
    return 2 * number + copy + number + FLOAT32


def report_needs(
    size: Size, stage: Stage, column: Column, clip_tokens: int, processes: int, device: torch.device
) -> None:
    """Log what a run takes of each GPU and of main memory before it starts, and warn where less is free."""
    main = host(size, stage, column, clip_tokens, processes)
    each = needs(size, stage, column, clip_tokens, processes).total
    if device.type == "cpu":
        main += processes * each
    places = {"main memory": (main, psutil.virtual_memory().available)}
    if device.type == "cuda":
        places["each GPU"] = each, torch.cuda.mem_get_info(device)[0]
    for place, (needed, free) in places.items():
        logger.info("The run takes about %s of %s; %s are free.", size_text(int(needed)), place, size_text(free))
        if needed > free:
            logger.warning("%s may be too small: training/README.md, Memory at 14B, says what takes less.", place)


def _counts(size: Size, stage: Stage, column: Column) -> tuple[int, int]:
    """Return the bytes of the frozen weights, and the number of those trained, LoRA layers included."""
    frozen, trained = _weights(size, stage, column)
    parts = tuple(part for part in PARTS if part.startswith(column.targets))
    adapted = (layer for name, layer in _one_block(size, True).named_modules() if name.endswith(parts))
    sides = sum(layer.in_features + layer.out_features for layer in adapted)
    return frozen, trained + column.rank * size.layers * sides


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
