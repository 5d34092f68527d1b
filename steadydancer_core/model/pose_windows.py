"""The pose of a context window and the neighbors that the temporal convolutions reach; indices are latent frames."""

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .pose_modulation import Run, frame_runs

EASYCACHE = "easycache"  # the key of its wrapper
PROMPT_NUMBERS = "steadydancer_prompt_numbers"  # of a condition: the number of the prompt of each frame [T, 4]


def window_runs(window) -> list[Run]:
    """Return the runs of one of ComfyUI's context windows, the frame before it included where there is one."""
    anchor = getattr(window, "causal_anchor_index", None)
    before = [anchor] if anchor is not None and anchor >= 0 else []
    return frame_runs([*before, *window.index_list], window.total_frames)


def runs_in(options: dict, pose_latents: Tensor, x: Tensor) -> list[Run]:
    """Return the runs in `pose_latents` of a window, none where they fit `x`; ValueError if nodes cut `x` alone."""
    if pose_latents.shape[2] == x.shape[2]:
        return []
    if "context_window" not in options:
        raise ValueError(
            f"The pose has {pose_latents.shape[2]} latent frames and the video {x.shape[2]}: a node cut the video into "
            "windows without its pose. Use 'Long Video (Windows)' or ComfyUI's own 'Wan Context Windows'."
        )
    return window_runs(options["context_window"])


def pose_of_window(pose: Tensor, window) -> Tensor:
    """Return the pose latents [B, 16, T', h, w] of a window and of the neighbors it needs."""
    return torch.cat([pose[:, :, run.start : run.stop] for run in window_runs(window)], dim=2)


def check_prompt_windows(model: ModelPatcher, condition: dict, frames: int) -> None:
    """Raise ValueError if windows would cut a clip of `frames` latent frames and not its prompts for frames."""
    handler = model.model_options.get("context_handler")
    if PROMPT_NUMBERS not in condition or handler is None or getattr(handler, "fits_prompts", False):
        return
    if frames > getattr(handler, "context_length", frames):
        raise ValueError(
            "'Prompt for Frames' does not work with ComfyUI's own context windows, which do not know its frames. "
            "Use 'Long Video (Windows)' in their place, or sample the video in one piece."
        )


def check_caches(model: ModelPatcher, frames: int) -> None:
    """Raise ValueError if ComfyUI's EasyCache would take one window of `frames` latent frames for another."""
    handler = model.model_options.get("context_handler")
    easycache = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, EASYCACHE)
    if easycache and handler is not None and frames > getattr(handler, "context_length", frames):
        raise ValueError(
            "EasyCache and context windows are both on, but EasyCache reuses what it computed for one window in the "
            "next. Use 'LazyCache' instead, or sample without windows."
        )
