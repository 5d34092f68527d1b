"""Long videos in overlapping windows: activations of one window at a time, beside the latents of the whole clip.

Source: paper 4.2: windows of 81 frames, FreeNoise (the noise of later windows is a shuffled copy of the first's),
linear fusion in the overlaps. ComfyUI's context windows do all three. SteadyDancer's own: each window gets the pose of
its frames with the neighbors that the temporal convolutions reach, and the same photo and first pose. Units: lengths in
frames of the video at the nodes, in latent frames here; indices are latent frames of the clip.
"""

import math

import comfy.context_windows
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ...media.frame_size import FRAMES_PER_LATENT, MIN_FRAMES, latent_frames, valid_length
from ..model.memory_estimate import whole_clip_bytes
from ..model.pose_windows import PROMPT_NUMBERS
from ..sampling.frame_prompts import prompts_of_window

SCHEDULE = comfy.context_windows.ContextSchedules.STATIC_STANDARD
FUSION = comfy.context_windows.ContextFuseMethods.OVERLAP_LINEAR
NO_FUSION = comfy.context_windows.ContextFuseMethods.FLAT  # the linear one cannot do without an overlap
WRAPPER_KEY = "steadydancer_windows"


class WindowHandler(comfy.context_windows.IndexListContextHandler):
    """ComfyUI's windows, each with the prompts of its frames, for one video at a time.

    Of a batch ComfyUI would take the noise levels for those of frames.
    """

    fits_prompts = True

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        """Return whether the clip is longer than a window; ValueError if the latent holds several such clips."""
        long = super().should_use_context(model, conds, x_in, timestep, model_options)
        if long and x_in.shape[0] > 1:
            raise ValueError(
                f"The latent holds {x_in.shape[0]} videos; windows take one at a time. Sample them one after the "
                "other, each with a seed of its own."
            )
        return long

    def get_resized_cond(self, cond_in, x_in, window, device=None):
        """Return the conditions of a window: those whose prompt has a share of its frames, with that as their mask."""
        if cond_in is None or not any(PROMPT_NUMBERS in cond for cond in cond_in):
            return super().get_resized_cond(cond_in, x_in, window, device)
        windows = self.context_schedule.func(window.total_frames, self, {})
        index = windows.index(window.index_list)
        shared = len(set(windows[index - 1]) & set(window.index_list)) if index else 0
        found, masks = prompts_of_window(cond_in, window, shared)
        # Without the masks, which ComfyUI would cut along their rows.
        resized = super().get_resized_cond(found, x_in, window, device)
        for cond, mask in zip(resized, masks, strict=True):
            if mask is not None:
                cond["mask"] = mask.to(x_in.device)
        return resized


def apply_windows(model: ModelPatcher, window: int, overlap: int, freenoise: bool = True) -> ModelPatcher:
    """Return a clone of `model` that samples in windows of `window` frames, `overlap` shared; ValueError if unfit."""
    windowed = model.clone()
    windowed.model_options["context_handler"] = make_handler(*in_latents(window, overlap), freenoise)
    windowed.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, WRAPPER_KEY, _estimate_memory)
    if freenoise:
        comfy.context_windows.create_sampler_sample_wrapper(windowed)
    return windowed


def make_handler(length: int, overlap: int, freenoise: bool = False) -> WindowHandler:
    """Return ComfyUI's handler of windows of `length` latent frames of which `overlap` are shared."""
    return WindowHandler(
        context_schedule=comfy.context_windows.get_matching_context_schedule(SCHEDULE),
        fuse_method=comfy.context_windows.get_matching_fuse_method(FUSION if overlap else NO_FUSION),
        context_length=length,
        context_overlap=overlap,
        dim=2,
        freenoise=freenoise,
    )


def _estimate_memory(executor, model: ModelPatcher, noise_shape, conds, *args, **kwargs):
    """Let ComfyUI free memory for a window, the frame before it, and the whole clip's latents: it counts one window."""
    batch, channels, frames, *size = noise_shape
    window = kwargs["model_options"]["context_handler"].context_length + 1
    if frames > window:
        one_frame = model.model.memory_required([batch, channels, 1, *size])
        frames = window + math.ceil(whole_clip_bytes(noise_shape) / one_frame)
    return executor(model, [batch, channels, frames, *size], conds, *args, **kwargs)


def in_latents(window: int, overlap: int) -> tuple[int, int]:
    """Return window and overlap, given in frames, in latent frames of four; an overlap keeps at least one of them."""
    if window < MIN_FRAMES:
        raise ValueError(
            f"The window is {window} frame(s); it must be at least {MIN_FRAMES}. The model was trained on 81."
        )
    if not 0 <= overlap < valid_length(window):
        raise ValueError(
            f"The overlap is {overlap} frames and the window {window}: each window must bring new frames. "
            "Take an overlap of 16 to 32 frames for a window of 81."
        )
    shared = max(overlap // FRAMES_PER_LATENT, int(overlap > 0))
    return latent_frames(valid_length(window)), shared


def window_borders(frames: int, window: int, overlap: int) -> tuple[list[int], int]:
    """Return the borders of a video of `frames` frames, the middles of what two windows share, and their reach."""
    handler = make_handler(*in_latents(window, overlap))
    windows = handler.context_schedule.func(latent_frames(valid_length(frames)), handler, {})
    shared = [(start, end + 1) for (start, *_), (*_, end) in zip(windows[1:], windows[:-1], strict=True)]
    # Latent frame 0 is one frame, every later one is four.
    middles = [round((start + end) / 2 * FRAMES_PER_LATENT) - FRAMES_PER_LATENT + 1 for start, end in shared]
    widest = max((end - start for start, end in shared), default=0)
    return [max(0, middle) for middle in middles], widest * FRAMES_PER_LATENT // 2
