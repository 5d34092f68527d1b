"""Decoupled-condition guidance: the prompt and the pose each pull with a strength of their own.

    v = v_neg + s_text (v_pos - v_neg) + s_pose (v_pos - v_posenegative)    inside the window
    v = v_neg + s_text (v_pos - v_neg)                                      outside

Source: paper B.3, equation 8; SteadyDancer wan/image2video_dancer.py, generate(). The weights sum to 1, so the formula
holds on ComfyUI's denoised predictions as it does on velocities. A branch of weight 0 is never computed.

Differences from upstream: an evaluation's place in the run is read from its noise level, not from the loop's index, so
the window stays where it belongs in solvers that evaluate twice a step. A run that starts or ends on the way (split
sampling, denoise below 1) is placed by the model's own schedule, on which the official and simple ones lie.
"""

import logging
import uuid
from dataclasses import dataclass
from functools import partial

import comfy.conds
import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .model_base import SteadyDancer

PATCHED = "steadydancer_pose_guidance"
POST_CFG = "sampler_post_cfg_function"
BATCH = "sampler_calc_cond_batch_function"
UNUSED = "SteadyDancer: pose guidance is 0, so the connected pose_negative is not used."
# The official UniPC schedule starts at timestep 999 of 1000, so its steps lie up to one timestep after index / steps.
WINDOW_TOLERANCE = 1.5 / 1000


@dataclass(frozen=True)
class PoseGuidance:
    """Strength of the pose (0 is off) and the part of the run where it acts: start < step / steps < end, ends open.

    Raises ValueError for a negative strength and for a window that is empty or not inside 0..1.
    """

    scale: float = 1.0
    start: float = 0.1
    end: float = 0.4

    def __post_init__(self):
        if self.scale < 0:
            raise ValueError(
                f"Pose guidance is {self.scale}; it must be 0 (off) or more. 1.0 is the official strength."
            )
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(
                f"The pose window goes from {self.start} to {self.end}; it must start before it ends, between 0 and 1. "
                "0.1 to 0.4 is official."
            )

    def acts_at(self, sigma: Tensor, model_sampling, run: Tensor | None = None) -> bool:
        """Return whether the pose term is due at noise level `sigma` [B] of a run over the sigmas `run` [steps + 1]."""
        if self.scale == 0:
            return False
        if is_whole(run, model_sampling):
            return self.start < step_fraction(float(sigma.max()), run.tolist()) < self.end
        highest = float(model_sampling.percent_to_sigma(self.start + WINDOW_TOLERANCE))
        lowest = float(model_sampling.percent_to_sigma(self.end - WINDOW_TOLERANCE))
        return lowest < float(sigma.max()) < highest


def is_whole(run: Tensor | None, model_sampling) -> bool:
    """Return whether the sigmas `run` fall from pure noise to none."""
    if run is None or len(run) < 2:
        return False
    return float(run[-1]) == 0 and float(run[0]) > float(model_sampling.percent_to_sigma(WINDOW_TOLERANCE))


def step_fraction(level: float, levels: list[float]) -> float:
    """Return step / steps of a noise level, 0..1: whole steps at the run's own levels, in between interpolated."""
    steps = len(levels) - 1
    step = max((i for i in range(steps) if levels[i] >= level), default=0)
    span = levels[step] - levels[step + 1]
    part = max(0.0, levels[step] - level) / span if span > 0 else 0.0
    return round(step + part, 4) / steps  # solvers that work in log-SNR come back to a level with a rounding error


def add_pose_term(guided: Tensor, positive: Tensor, pose_negative: Tensor, scale: float) -> Tensor:
    """Return `guided` plus s_pose (v_pos - v_posenegative)."""
    return guided + scale * (positive - pose_negative)


class SteadyDancerGuider(comfy.samplers.CFGGuider):
    """ComfyUI GUIDER with a third condition. Outside the window it is the stock CFG guider."""

    def __init__(self, model: ModelPatcher, guidance: PoseGuidance):
        check_model(model)
        super().__init__(model)
        self.guidance = guidance

    def set_conds(self, positive, negative, pose_negative=None):
        """Set the three conditions; `pose_negative` may be None only when the pose guidance is 0."""
        conds = {"positive": positive, "negative": negative}
        if self.guidance.scale > 0:
            check_pose_negative(pose_negative)
            conds["pose_negative"] = pose_negative
        elif pose_negative is not None:
            logging.warning(UNUSED)
        self.inner_set_conds(conds)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        """Return the guided denoised latent; the three conditions go to the model as one call."""
        options = model_options or {}
        if self.guidance.acts_at(timestep, self.inner_model.model_sampling, _run(options)):
            options = self._with_pose_term(options)
        return super().predict_noise(x, timestep, options, seed)

    def _with_pose_term(self, options: dict) -> dict:
        predictions: list[Tensor] = []

        def batch(args: dict) -> list[Tensor]:
            *stock, pose_negative = _predict(args, self.conds["pose_negative"], options)
            predictions[:] = stock[0], pose_negative
            return stock

        def pose_term(args: dict) -> Tensor:
            return add_pose_term(args["denoised"], *predictions, self.guidance.scale)

        return {**options, BATCH: batch, POST_CFG: [pose_term, *options.get(POST_CFG, ())]}


def patch_model(model: ModelPatcher, pose_negative, guidance: PoseGuidance) -> ModelPatcher:
    """Return a clone of `model` that adds the pose term in any stock sampler, as one more call per step in the window.

    Only the pose latent of `pose_negative` is used: prompt and photo are those of the sampler's positive.
    """
    check_model(model)
    patched = model.clone()
    if guidance.scale == 0:
        logging.warning(UNUSED)
        return patched
    check_pose_negative(pose_negative)
    if len(pose_negative) > 1:
        raise ValueError(
            f"Found {len(pose_negative)} conditions combined into pose_negative; 'Pose Guidance' takes one. Connect "
            "that of 'Reconcile Conditions' as it is, or use the SteadyDancer Sampler."
        )
    pose = pose_negative[0][1]["pose_video_latent"]
    patched.model_options[PATCHED] = True
    patched.set_model_sampler_post_cfg_function(partial(_post_cfg, pose=pose, guidance=guidance))
    return patched


def _post_cfg(args: dict, pose: Tensor, guidance: PoseGuidance) -> Tensor:
    model, x, sigma = args["model"], args["input"], args["sigma"]
    if not guidance.acts_at(sigma, model.model_sampling, _run(args["model_options"])):
        return args["denoised"]
    if pose.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"The pose-negative latent is {tuple(pose.shape[2:])} frames, rows, columns; the video is "
            f"{tuple(x.shape[2:])}. Take both from the same 'Reconcile Conditions' node."
        )
    swapped = comfy.conds.CONDRegular(model.process_latent_in(pose).to(x.device))
    cond = [_with_pose(c, swapped) for c in args["cond"]]
    (pose_negative,) = comfy.samplers.calc_cond_batch(model, [cond], x, sigma, args["model_options"])
    return add_pose_term(args["denoised"], args["cond_denoised"], pose_negative, guidance.scale)


def _with_pose(cond: dict, pose: comfy.conds.CONDRegular) -> dict:
    # Caches of other nodes tell conditions apart by uuid: the swapped one needs its own, the same at every step.
    own = uuid.uuid5(uuid.NAMESPACE_OID, f"pose-negative of {cond.get('uuid')}")
    return {**cond, "uuid": own, "model_conds": {**cond["model_conds"], "pose_latents": pose}}


def _predict(args: dict, pose_negative: list, options: dict) -> list[Tensor]:
    """Return the denoised latents of the stock conditions and of `pose_negative`, as one call to the model.

    Where another node has set a batch function, that one gets the stock conditions alone, as it expects.
    """
    call = partial(comfy.samplers.calc_cond_batch, x_in=args["input"], timestep=args["sigma"], model_options=options)
    if BATCH in options:
        stock = options[BATCH]({**args, "model_options": options})
        return [*stock, *call(args["model"], [pose_negative])]
    return call(args["model"], [*args["conds"], pose_negative])


def _run(model_options: dict) -> Tensor | None:
    """Return the sigmas of the run that is under way."""
    return model_options.get("transformer_options", {}).get("sample_sigmas")


def check_pose_negative(conditioning) -> None:
    """Raise ValueError unless `conditioning` has a pose at all times: pose guidance pushes away from it."""
    if not conditioning or not all("pose_video_latent" in values for _, values in conditioning):
        found = "There is no pose in the conditioning connected to" if conditioning else "Nothing is connected to"
        raise ValueError(
            f"{found} pose_negative, but pose guidance is on. Give pose-negative frames to 'Reconcile Conditions' and "
            "connect its pose_negative output, or set pose guidance to 0."
        )
    if any(key in values for _, values in conditioning for key in ("start_percent", "end_percent")):
        raise ValueError(
            "The pose_negative has a timestep range of its own. Take the range off; pose_start and pose_end of the "
            "guidance say when the pose acts."
        )


def check_model(model: ModelPatcher) -> None:
    """Raise ValueError unless `model` is SteadyDancer without pose guidance of its own."""
    if model.model_options.get(PATCHED):
        raise ValueError(
            "This model already carries pose guidance from a 'Pose Guidance' node; a second one would double it. "
            "Connect the model from before that node."
        )
    if not isinstance(model.model, SteadyDancer):
        raise ValueError(
            f"The connected model is {type(model.model).__name__}, not SteadyDancer: it would ignore the pose. "
            "Choose a SteadyDancer-14B file in 'Load SteadyDancer Model', which also tells what is wrong with a file."
        )
