"""blocks_to_swap: keep the bytes of N transformer blocks off the device and let ComfyUI stream them.

A cap on resident weights, not a second mover: ComfyUI goes on choosing layers (the largest stay), prefetching, pinning
and patching LoRAs. "N blocks" is a number of bytes, N times the average block. Without a device of its own (CPU, shared
memory) or with the whole model kept there on purpose, nothing changes.
"""

from functools import cache

import comfy.model_management
import torch
from comfy.model_management import VRAMState
from comfy.model_patcher import ModelPatcher

from ...media.log import logger
from ..model.model_base import SteadyDancer

OPTION = "steadydancer_blocks_to_swap"  # in model_options, which every clone copies
NO_STREAMING = (VRAMState.DISABLED, VRAMState.SHARED)
DYNAMIC_PAGE = 32 * 1024**2  # comfy-aimdo moves weights in pages of this size and rounds a watermark up


def swap_blocks(model: ModelPatcher, blocks: int) -> ModelPatcher:
    """Return a clone that keeps `blocks` blocks' worth of weights off the device; ValueError for no such number."""
    total = count_blocks(model)
    if not 0 <= blocks <= total:
        raise ValueError(
            f"blocks_to_swap is {blocks}; this model has {total} blocks. Choose a number from 0 to {total}."
        )
    capped = model.clone()
    capped.model_options[OPTION] = blocks
    return _with_cap(capped)


def blocks_to_swap(model: ModelPatcher) -> int:
    """Return the number of blocks kept off the device, 0 where ComfyUI decides."""
    options: dict = model.model_options
    return options.get(OPTION, 0)


def count_blocks(model: ModelPatcher) -> int:
    """Return the number of transformer blocks (40 in SteadyDancer-14B); ValueError for another model."""
    if not isinstance(model.model, SteadyDancer):
        raise ValueError(
            f"The connected model is {type(model.model).__name__}, not SteadyDancer: blocks_to_swap knows only "
            "SteadyDancer's blocks. Take this node out, or choose a SteadyDancer-14B file in 'Load SteadyDancer Model'."
        )
    return len(model.model.diffusion_model.blocks)


def swapped_bytes(model: ModelPatcher, blocks: int) -> int:
    """Return the bytes of `blocks` average blocks, as stored."""
    modules = model.model.diffusion_model.blocks
    return sum(map(comfy.model_management.module_size, modules)) * blocks // len(modules)


def streams_weights(model: ModelPatcher, device: torch.device | None) -> bool:
    """Return whether weights can lie elsewhere than on `device`, where the model computes."""
    return (
        device is not None
        and device != model.offload_device
        and not comfy.model_management.is_device_cpu(device)
        and comfy.model_management.vram_state not in NO_STREAMING
    )


class ResidencyCap(ModelPatcher):
    """A patcher whose loading stops at the cap. Mixed into whatever class the loader has chosen."""

    def partially_load(self, device_to, extra_memory=0, force_patch_weights=False):
        """Load up to the cap, and unload what an earlier run with a smaller number left above it."""
        blocks = blocks_to_swap(self)
        if not blocks or not streams_weights(self, device_to):
            return super().partially_load(device_to, extra_memory, force_patch_weights=force_patch_weights)
        if self.is_dynamic():
            result = super().partially_load(device_to, extra_memory, force_patch_weights=force_patch_weights)
            _limit_pages(self, blocks)  # loading lifts the limit, so it is set anew each time
            return result
        left = self.model_size() - swapped_bytes(self, blocks) - self.loaded_size()
        return super().partially_load(device_to, min(extra_memory, left), force_patch_weights=force_patch_weights)

    def clone(self, *args, **kwargs):
        """Return a clone with the cap, also where the loader's class or ComfyUI makes one of another class."""
        return _with_cap(super().clone(*args, **kwargs))


def _with_cap(own_clone: ModelPatcher) -> ModelPatcher:
    # clone() is the only thing that copies a patcher of any class whole, and it decides the class itself; changing the
    # class of the copy that was just made is what it leaves open.
    own_clone.__class__ = _capped(type(own_clone))
    return own_clone


@cache
def _capped(base: type) -> type:
    return base if issubclass(base, ResidencyCap) else type(f"Capped{base.__name__}", (ResidencyCap, base), {})


def _limit_pages(patcher: ModelPatcher, blocks: int) -> None:
    """Stop dynamic loading at the cap: weights above the watermark are streamed."""
    get_pages = getattr(patcher, "_vbar_get", None)
    pages = get_pages() if get_pages else None
    if pages is None or not hasattr(pages, "set_watermark") or not hasattr(pages, "offset"):
        return _say_that_comfyui_decides()
    blocks_of_model = patcher.model.diffusion_model.blocks
    try:
        staged = sum(layer._v[2] for layer in blocks_of_model.modules() if hasattr(layer, "_v"))
    except (TypeError, IndexError):  # ComfyUI notes a layer's place as (pages, address, bytes), in private
        return _say_that_comfyui_decides()
    cap = max(0, pages.offset - staged * blocks // len(blocks_of_model))
    pages.set_watermark(cap // DYNAMIC_PAGE * DYNAMIC_PAGE)


@cache
def _say_that_comfyui_decides() -> None:
    logger.warning(
        "blocks_to_swap has no effect here; this ComfyUI's dynamic VRAM decides which weights stay. "
        "Update comfy-aimdo, or start ComfyUI with --disable-dynamic-vram."
    )
