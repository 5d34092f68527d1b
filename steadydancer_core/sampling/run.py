"""One guided run from noise to latent inside ComfyUI: guider, solver, schedule, progress and preview."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.utils
import latent_preview
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...media.log import logger
from ..weights.lora_fit import lora_warnings
from .display import NO_DISPLAY, Display
from .guidance import PoseGuidance, TextGuidance
from .guider import SteadyDancerGuider
from .live_preview import choose_pictures
from .presets import Settings
from .run_log import RunLog, name_steps
from .run_progress import RunProgress, plan_steps
from .schedule import make_sigmas, make_solver
from .step_position import StepPosition

NO_LORA = (
    "No LoRA acts on this model, and {name} is made for a step-distilled one. Load one for Wan 2.1 I2V 14B; a LoRA for "
    "another model changes nothing. If it is merged into the model file, all is well."
)
NOT_FINITE = (
    "The latent holds values that are not numbers (NaN), so the video will be black. Load the model with another "
    "weight precision, or take the LoRAs off one by one."
)


class RunReport(NamedTuple):
    """How a latent was made: in words, and as the log of the run."""

    text: str
    log: RunLog


@dataclass(frozen=True)
class SeededNoise:
    """ComfyUI's NOISE of a seed, as RandomNoise gives it."""

    seed: int

    def generate_noise(self, input_latent: dict) -> Tensor:
        """Return the noise for a LATENT, of the shape of its samples."""
        return comfy.sample.prepare_noise(input_latent["samples"], self.seed, input_latent.get("batch_index"))


class ShiftedFlow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """Flow sampling whose schedule is shifted towards noise."""


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
    model: ModelPatcher,
    positive,
    negative,
    pose_negative,
    text_guidance: float,
    guidance: PoseGuidance,
    skip_negative_after: float = 1.0,
) -> SteadyDancerGuider:
    """Return the GUIDER of the three conditions; ValueError when a condition that is due is missing."""
    guider = SteadyDancerGuider(model, guidance, TextGuidance(text_guidance, skip_negative_after))
    guider.set_conds(positive, negative, pose_negative)
    return guider


def sample(
    guider: SteadyDancerGuider,
    latent: dict,
    seed: int,
    solver: str,
    scheduler: str,
    steps: int,
    display: Display = NO_DISPLAY,
) -> dict:
    """Return the LATENT at the end of `steps` steps from seeded noise, with progress and preview per step."""
    display.say("loading")
    model = guider.model_patcher
    samples = comfy.sample.fix_empty_latent_channels(model, latent["samples"])
    noise = SeededNoise(seed).generate_noise({**latent, "samples": samples})
    sigmas = make_sigmas(model.get_model_object("model_sampling"), solver, scheduler, steps)
    _warn_of_empty_window(guider.guidance, model, sigmas)
    result = guider.sample(
        noise,
        samples,
        make_solver(solver),
        sigmas,
        denoise_mask=latent.get("noise_mask"),
        callback=_callback(guider, sigmas, display),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return {**latent, "samples": result.to(comfy.model_management.intermediate_device())}


def _callback(guider: SteadyDancerGuider, sigmas: Tensor, display: Display) -> Callable:
    """Return what the solver calls after each step; it reports to `display`, from the first evaluation on."""
    model, steps = guider.model_patcher, len(sigmas) - 1
    pictures = choose_pictures(model, guider.original_conds["positive"][0]) if display.shows_pictures else None
    if pictures is None:
        shown = latent_preview.prepare_callback(model, steps)
    else:
        bar = comfy.utils.ProgressBar(steps)

        def shown(step, x0, _, total_steps):
            display.play(pictures(x0))
            bar.update_absolute(step + 1, total_steps)

    model_sampling = model.get_model_object("model_sampling")
    progress = RunProgress(display, plan_steps(sigmas, model_sampling, guider.text, guider.guidance))
    guider.on_start = progress.begin

    def step_done(step, x0, x, total_steps):
        shown(step, x0, x, total_steps)
        progress.step_done(step, total_steps)

    return step_done


def run(
    model: ModelPatcher,
    positive,
    negative,
    pose_negative,
    latent: dict,
    seed: int,
    settings: Settings,
    display: Display = NO_DISPLAY,
) -> tuple[dict, RunReport]:
    """Return the LATENT sampled with `settings`, and the report of the run."""
    guider = SteadyDancerGuider(with_shift(model, settings.shift), settings.pose, settings.text)
    guider.set_conds(positive, negative, pose_negative)
    warnings = []
    # ComfyUI's bypass loaders inject a LoRA beside the layers.
    if settings.step_distilled and not (model.patches or model.injections):
        warnings.append(NO_LORA.format(name=settings.name))
    result = sample(guider, latent, seed, settings.solver, settings.scheduler, settings.steps, display)
    if not result["samples"].isfinite().all():
        warnings.append(NOT_FINITE)
    lines = describe_run(settings, guider.log)
    logger.info("%s", "; ".join(lines))
    for warning in warnings:
        logger.warning("%s", warning)
    report = [*lines, *warnings, *lora_warnings(model)]  # the guider has logged those of LoRAs
    return result, RunReport("\n".join(report), guider.log)


def describe_run(settings: Settings, log: RunLog) -> list[str]:
    """Return what ran, a line each: steps and solver, both guidances, forward passes. Steps count from 1."""
    solver = f"{settings.solver}, {settings.scheduler} schedule, shift {settings.shift:g}"
    steps = log.steps or settings.steps  # a scheduler may make another number of them
    pose = "No pose guidance"
    if log.pose_steps:
        pose = f"Pose guidance on {name_steps(log.pose_steps)} of {steps}"
        if settings.pose.every > 1:
            pose += f", computed anew on {name_steps(log.computed['pose_negative'])}"
    lines = [f"{settings.name}: {steps} steps with {solver}", pose]
    if settings.text.skip_negative_after < 1 and log.computed["negative"]:
        count = len(log.computed["negative"])
        lines.append(f"Negative prompt computed on {count} of {steps} steps, then its last difference reused")
    return [*lines, f"{log.passes} forward passes"]


def _warn_of_empty_window(guidance: PoseGuidance, model: ModelPatcher, sigmas: Tensor) -> None:
    start = StepPosition.at(sigmas[0], model.get_model_object("model_sampling"), sigmas)
    if guidance.scale and not any(guidance.acts_at(start.at_step(step)) for step in range(len(sigmas) - 1)):
        logger.warning(
            "None of the %d steps lies between pose_start %g and pose_end %g, so pose guidance does nothing. Widen the "
            "window or take more steps.",
            len(sigmas) - 1,
            guidance.start,
            guidance.end,
        )
