"""Say before sampling whether a run fits the device, and after an out-of-memory error what to lower."""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher

from ...media.log import logger
from ..model.memory_estimate import activation_bytes, whole_clip_bytes
from ..model.pose_modulation import LATENT_CHANNELS
from .residency import blocks_to_swap, count_blocks, streams_weights, swapped_bytes
from .vram_report import Facts, describe, judge, verdict, what_to_lower

MAX_BRANCHES = 3  # prompt, negative prompt, pose-negative
EXPLAINED = "SteadyDancer ran out of memory"
CPU_ALLOCATION_FAILED = "DefaultCPUAllocator"  # in a plain RuntimeError of torch


def fit_report(
    model: ModelPatcher, latent_shape: Sequence[int], branches: int = MAX_BRANCHES, vae=None
) -> tuple[str, int]:
    """Return the report of a run over the latent [B, 16, T, h, w] and the proposed blocks_to_swap, at most all.

    vae: one whose decoding counts. Raises ValueError for another model or a latent that is no video.
    """
    facts = gather(model, latent_shape, branches, vae)
    _log(facts)
    fit = judge(facts)
    return describe(facts), facts.count if fit.swap is None else fit.swap


def check_before_sampling(model: ModelPatcher, latent_shape: Sequence[int], branches: int = MAX_BRANCHES) -> None:
    """Log in one line how a run over the latent [B, 16, T, h, w] fits: a warning when it cannot fit, else info."""
    _log(gather(model, latent_shape, branches))


@contextmanager
def explain_out_of_memory(advice: str = "") -> Generator[None]:
    """Turn an out-of-memory error of the block into one of the same type that says what to lower; `advice` ends it."""
    try:
        yield
    except (comfy.model_management.OOM_EXCEPTION, RuntimeError) as error:
        text = str(error)
        if comfy.model_management.is_oom(error):
            where = "GPU"
        elif CPU_ALLOCATION_FAILED in text:
            where = "CPU"
        else:
            raise
        if not text.startswith(EXPLAINED):  # else an inner block has done so, and only the advice is new
            # Two sentences of it: CUDA's message is so long that the page would not show the advice.
            cause = ". ".join(text.strip().partition("\n")[0].split(". ")[:2]).rstrip(".")
            reason = f" ({cause})" if cause else ""
            text = f"{EXPLAINED} on the {where}{reason}. {what_to_lower()}"
        raise type(error)(f"{text} {advice}".strip()) from error


def gather(model: ModelPatcher, latent_shape: Sequence[int], branches: int = MAX_BRANCHES, vae=None) -> Facts:
    """Return what ComfyUI knows of a run over the latent [B, 16, T, h, w]."""
    count, device = count_blocks(model), model.load_device
    shape = _shape_at_a_time(model, latent_shape)
    return Facts(
        device=str(device),
        model=model.model_size(),
        blocks=swapped_bytes(model, count),
        count=count,
        swap=blocks_to_swap(model),
        buffer=_streaming_buffer(model),
        branch=_branch_bytes(model, shape),
        branches=branches,
        free=reachable_memory(device),
        total=comfy.model_management.get_total_memory(device),
        reserve=comfy.model_management.extra_reserved_memory(),
        streams=streams_weights(model, device),
        decode=0 if vae is None else int(vae.memory_used_decode(tuple(latent_shape), vae.vae_dtype)),
        clip=whole_clip_bytes(latent_shape) if shape[2] < latent_shape[2] else 0,
    )


def _log(facts: Facts) -> None:
    fit = judge(facts)
    level = logging.WARNING if fit.swap is None else logging.INFO
    logger.log(level, "Memory on %s: %s", facts.device, verdict(facts, fit))


def _shape_at_a_time(model: ModelPatcher, latent_shape: Sequence[int]) -> list[int]:
    """Return the latent shape that one pass sees: that of a window where the model samples in windows."""
    if len(latent_shape) != 5:
        raise ValueError(
            f"The latent has the shape {tuple(latent_shape)}; a video's has batch, 16 channels, frames, height and "
            "width. Connect the latent of 'Reconcile Conditions'."
        )
    batch, channels, frames, height, width = latent_shape
    handler = model.model_options.get("context_handler")
    window = getattr(handler, "context_length", frames)
    before = int(getattr(handler, "causal_window_fix", False))  # later windows carry the frame before them
    return [batch, channels, min(frames, window + before), height, width]


def _branch_bytes(model: ModelPatcher, shape: Sequence[int]) -> int:
    """Return the activations of one branch: what ComfyUI plans with, which counts whole attention matrices on a CPU."""
    net = model.model
    if comfy.model_management.is_device_cpu(model.load_device):
        block = net.diffusion_model.blocks[0]
        return activation_bytes(shape, block.dim, block.ffn_dim, _itemsize(net))
    reference = torch.empty(shape[0], LATENT_CHANNELS, 1, *shape[3:], dtype=torch.float32, device="meta")
    conds = net.extra_conds_shapes(reference_pose_latent=reference)
    return int(net.memory_required(list(shape), {name: [cond] * shape[0] for name, cond in conds.items()}))


def _streaming_buffer(model: ModelPatcher) -> int:
    """Return what streamed layers take on the device: the one in use, the ones on their way, and its cast weight."""
    layers = [m for m in model.model.diffusion_model.blocks.modules() if hasattr(m, "comfy_cast_weights")]
    largest = max(layers, key=comfy.model_management.module_size)
    stored = comfy.model_management.module_size(largest)
    cast = sum(parameter.numel() for parameter in largest.parameters()) * _itemsize(model.model)
    return stored * (1 + comfy.model_management.NUM_STREAMS) + (cast if cast > stored else 0)


def _itemsize(net) -> int:
    return comfy.model_management.dtype_size(net.get_dtype_inference())


def reachable_memory(device: torch.device) -> int:
    """Return the free memory of `device` and what ComfyUI's models hold there, which it moves out of the way."""
    free = comfy.model_management.get_free_memory(device)
    if comfy.model_management.is_device_cpu(device):
        return int(free)
    models = (model for model in comfy.model_management.loaded_models() if model is not None)  # None: its patcher died
    return int(free + sum(model.loaded_size() for model in models if model.load_device == device))
