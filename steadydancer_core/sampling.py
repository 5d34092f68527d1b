"""One guided run from noise to latent inside ComfyUI: guider, solver, schedule, progress and preview."""

import logging

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .guidance import PoseGuidance, SteadyDancerGuider
from .schedule import make_sigmas, make_solver


class ShiftedFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """Flow sampling whose schedule bends towards noise by `shift`."""


def with_shift(model: ModelPatcher, shift: float) -> ModelPatcher:
    """Return a clone of `model` whose schedules use `shift` (1 is straight; 5 is official)."""
    if shift <= 0:
        raise ValueError(f"Shift is {shift}; it must be above 0. 5.0 is official, 3.0 suits small frames.")
    shifted = model.clone()
    sampling = ShiftedFlow(model.model.model_config)
    sampling.set_parameters(shift=shift)
    shifted.add_object_patch("model_sampling", sampling)
    return shifted


def make_guider(
    model: ModelPatcher, positive, negative, pose_negative, text_guidance: float, guidance: PoseGuidance
) -> SteadyDancerGuider:
    """Return the GUIDER of the three conditions; ValueError when a condition that is due is missing."""
    guider = SteadyDancerGuider(model, guidance)
    guider.set_conds(positive, negative, pose_negative)
    guider.set_cfg(text_guidance)
    return guider


def sample(guider: SteadyDancerGuider, latent: dict, seed: int, solver: str, scheduler: str, steps: int) -> dict:
    """Return the LATENT at the end of `steps` steps from seeded noise, with progress and preview per step."""
    model = guider.model_patcher
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    sigmas = make_sigmas(model.get_model_object("model_sampling"), solver, scheduler, steps)
    _warn_of_empty_window(guider.guidance, model, sigmas)
    result = guider.sample(
        noise, samples, make_solver(solver), sigmas, denoise_mask=latent.get("noise_mask"),
        callback=latent_preview.prepare_callback(model, len(sigmas) - 1),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED, seed=seed,
    )  # fmt: skip
    return {**latent, "samples": result.to(comfy.model_management.intermediate_device())}


def _warn_of_empty_window(guidance: PoseGuidance, model: ModelPatcher, sigmas: Tensor) -> None:
    sampling = model.get_model_object("model_sampling")
    if guidance.scale and not any(guidance.acts_at(sigma, sampling, sigmas) for sigma in sigmas[:-1]):
        logging.warning(
            "SteadyDancer: none of the %d steps lies between pose_start %g and pose_end %g, so pose guidance does "
            "nothing. Widen the window or take more steps.", len(sigmas) - 1, guidance.start, guidance.end,
        )  # fmt: skip
