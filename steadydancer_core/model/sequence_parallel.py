"""Sequence parallelism (Ulysses): one pass of the transformer on several ranks, each with a part of the tokens.

The tokens of all T + 2 frames are split over the ranks of a process group. Self-attention exchanges heads for tokens,
so that each rank attends over all tokens with its share of the heads; everything else in a block works on each token
alone. Before the head every rank gathers all tokens, so every rank returns the whole velocity. Every rank runs the
whole sampler, with the same seed and the same inputs; the pose stage is computed whole on each.

With guidance, split the branches first and the tokens of each branch second: branches meet once a step, ranks four
times a block. Rank r of a branch with n ranks is rank branch * n + r of all, and `group` holds the branch's n ranks.

It is installed from outside as a wrapper of the model. What else sees tokens in the block loop:

    rotary frequencies            split with the tokens
    modulation of each frame      repeated for its tokens, then split
    LoRA, windows                 need nothing
    block replacements, patches   see all tokens; the tokens are then gathered after every block
    attn1_patch, attn2_patch      would see a part of the tokens: refused

Dimension keys: B samples, L tokens, n tokens of a rank (L padded to a multiple of the ranks), C = heads * head width.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from comfy.ldm.wan.model import repeat_e
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

KEY = "steadydancer_sequence_parallel"
ATTENTION_PATCHES = ("attn1_patch", "attn2_patch")


def split_sequence(model: ModelPatcher, group: dist.ProcessGroup | None = None) -> ModelPatcher:
    """Return a copy of the model whose passes are split over the ranks of a group, of all ranks if None.

    ValueError if the ranks do not divide the model's heads.
    """
    ranks, heads = dist.get_world_size(group), model.model.diffusion_model.num_heads
    if heads % ranks:
        fitting = ", ".join(str(count) for count in range(1, heads + 1) if heads % count == 0)
        raise ValueError(
            f"The model has {heads} attention heads, which {ranks} GPUs cannot share evenly. "
            f"Use one of these numbers of GPUs for one video: {fitting}."
        )
    model = model.clone()
    if ranks > 1:
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, SequenceParallel(group))
    return model


class SequenceParallel:
    """Wrapper of the diffusion model."""

    def __init__(self, group: dist.ProcessGroup | None):
        self.group = group

    def __call__(self, executor, x, timestep, context, clip_fea=None, time_dim_concat=None, options=None, **kwargs):
        """Run the pass with the block loop's hooks of this group; ValueError for patches inside attention."""
        options = options or {}
        patches = options.get("patches", {})
        refused = [name for name in ATTENTION_PATCHES if patches.get(name)]
        if refused:
            raise ValueError(
                f"A node patches the model inside attention ({', '.join(refused)}), which does not work when one video "
                "is split over several GPUs. Take that node out, or use one GPU."
            )
        if kwargs.get("photo_strength") is not None:
            raise ValueError(
                "reference_image_strength of 'Pose Strength' does not work when one video is split over several GPUs. "
                "Set it to 1, or use one GPU."
            )
        replace = options.get("patches_replace", {})
        others = replace.get("dit", {})
        blocks = [("double_block", index) for index in range(len(executor.class_obj.blocks))]
        always_whole = bool(patches.get("double_block")) or any(block in others for block in blocks)
        exchange = HeadExchange(self.group, options.get("optimized_attention_override"))
        hooks = {block: _block_hook(exchange, always_whole, others.get(block)) for block in blocks}
        options = options | {
            "patches_replace": replace | {"dit": others | hooks},
            "optimized_attention_override": exchange,
        }
        return executor(x, timestep, context, clip_fea, time_dim_concat, options, **kwargs)


def _block_hook(exchange: "HeadExchange", always_whole: bool, other: Callable | None) -> Callable[[dict, dict], dict]:
    """Return the block replacement that runs a block on this rank's tokens, inside the replacement of another node."""

    def replace(args: dict, extra: dict) -> dict:
        def run(args: dict) -> dict:
            options, total = args["transformer_options"], args["pe"].shape[1]
            first, last = options["block_index"] == 0, options["block_index"] == options["total_blocks"] - 1
            tokens = split_tokens(args["img"], exchange.group) if first or always_whole else args["img"]
            vec = args["vec"]
            if vec.shape[1] > 1:
                vec = split_tokens(repeat_e(vec, args["pe"]), exchange.group)
            part = {"img": tokens, "vec": vec, "pe": split_tokens(args["pe"], exchange.group)}
            exchange.begin_block(total)
            out = extra["original_block"](args | part)
            whole = last or always_whole
            return out | {"img": gather_tokens(out["img"], total, exchange.group)} if whole else out

        return run(args) if other is None else other(args, extra | {"original_block": run})

    return replace


class HeadExchange:
    """Attention override: the first attention of a block, its self-attention, exchanges heads for tokens."""

    def __init__(self, group: dist.ProcessGroup | None, other: Callable | None):
        self.group, self.other = group, other
        self.total = 0
        self.in_self_attention = False

    def begin_block(self, total: int) -> None:
        """Expect the self-attention of a block over `total` tokens, padding not counted."""
        self.total, self.in_self_attention = total, True

    def __call__(self, attention: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, *args, **kwargs) -> Tensor:
        """Return attention over [B, n, C], with the override of another node if there is one."""
        run = attention if self.other is None else partial(self.other, attention)
        if not self.in_self_attention:
            return run(q, k, v, heads, *args, **kwargs)
        self.in_self_attention = False
        ranks, part = dist.get_world_size(self.group), q.shape[1]
        q, k, v = (heads_for_tokens(each, self.group)[:, : self.total] for each in (q, k, v))
        out = run(q, k, v, heads // ranks, *args, **kwargs)
        return tokens_for_heads(_pad(out, part * ranks), self.group)


def split_tokens(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Return this rank's part [B, n, ...] of [B, L, ...]; zeros pad the last parts."""
    ranks = dist.get_world_size(group)
    part = -(-x.shape[1] // ranks)
    return _pad(x, part * ranks).narrow(1, part * dist.get_rank(group), part)


def gather_tokens(x: Tensor, total: int, group: dist.ProcessGroup | None) -> Tensor:
    """Return all [B, total, ...] of the ranks' parts [B, n, ...], without the padding."""
    x = x.contiguous()
    parts = [torch.empty_like(x) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, x, group=group)
    return torch.cat(parts, dim=1)[:, :total]


def heads_for_tokens(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Exchange a part of the tokens with all heads [B, n, C] for all tokens with a part of the heads [B, n*r, C/r]."""
    sent = x.unflatten(2, (dist.get_world_size(group), -1)).movedim(2, 0)
    return _exchange(sent, group).movedim(0, 1).flatten(1, 2)


def tokens_for_heads(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Undo heads_for_tokens."""
    sent = x.unflatten(1, (dist.get_world_size(group), -1)).movedim(1, 0)
    return _exchange(sent, group).movedim(0, 2).flatten(2)


def _exchange(sent: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    """Send element i of the first dimension to rank i, and return what the ranks sent, in their order."""
    sent = sent.contiguous()
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    return received


def _pad(x: Tensor, length: int) -> Tensor:
    """Return [B, length, ...] with zeros after the tokens."""
    return F.pad(x, (0, 0) * (x.ndim - 2) + (0, length - x.shape[1]))
