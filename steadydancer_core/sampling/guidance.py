"""Decoupled-condition guidance: the prompt and the pose each pull with a strength of their own.

    v = v_neg + s_text (v_pos - v_neg) + s_pose (v_pos - v_posenegative)    inside the window
    v = v_neg + s_text (v_pos - v_neg)                                      outside

Source: paper B.3, equation 8; SteadyDancer wan/image2video_dancer.py, generate(). The weights sum to 1, so the formula
holds on ComfyUI's denoised predictions as it does on velocities. A branch of weight 0 is never computed.

Two shortcuts, off by default, take a difference v_pos - v_other that an earlier step of the run has found instead of
asking the model again: v_neg after a point of the run, v_posenegative on the steps between every k-th of the window.
They keep the velocities' difference; benchmarks/guidance_shortcuts.py measures them against the full result and against
leaving the term out. Where nothing is kept yet, the branch is computed.

Differences from upstream: an evaluation's place in the run is read from its noise level (see moment).
"""

import math
import uuid
from dataclasses import dataclass
from functools import partial

import comfy.conds
import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...media.log import logger
from ..memory.fit import check_before_sampling, explain_out_of_memory
from ..model.pose_windows import check_caches
from .guidance_checks import PATCHED, check_areas, check_model, check_pose_negative
from .run_log import BRANCHES, RunLog, counted
from .separate_condition import separate
from .step_position import Moment

KEPT = "steadydancer_kept_differences"
RAW_POSITIVE = "steadydancer_raw_positive"
PRE_CFG = "sampler_pre_cfg_function"
POST_CFG = "sampler_post_cfg_function"
BATCH = "sampler_calc_cond_batch_function"
UNUSED = "Pose guidance is 0, so the connected pose_negative is not used."


@dataclass(frozen=True)
class TextGuidance:
    """Strength of the prompt (1 is off), and the part of the run after which the negative prompt is not computed anew.

    Raises ValueError for a strength that is no number and for a part outside 0..1. 1 computes it to the end.
    """

    scale: float = 5.0
    skip_negative_after: float = 1.0

    def __post_init__(self):
        if not math.isfinite(self.scale):
            raise ValueError(f"Text guidance is {self.scale}; it must be a number. 5.0 is official, 1.0 is off.")
        if not 0 <= self.skip_negative_after <= 1:
            raise ValueError(
                f"skip_negative_after is {self.skip_negative_after}; it must be between 0 and 1. 0.5 computes the "
                "negative prompt in the first half of the run, 1 in all of it."
            )

    def keeps_at(self, moment: Moment) -> bool:
        """Return whether the negative prompt's last difference stands in for it."""
        return self.skip_negative_after < 1 and moment.has_reached(self.skip_negative_after)


@dataclass(frozen=True)
class PoseGuidance:
    """Strength of the pose (0 is off) and the part of the run where it acts: start < step / steps < end, ends open.

    `every` k computes the pose term anew on every k-th step of the window, from its first on.
    Raises ValueError for a negative strength, for a window that is empty or not inside 0..1 and for `every` below 1.
    """

    scale: float = 1.0
    start: float = 0.1
    end: float = 0.4
    every: int = 1

    def __post_init__(self):
        if not 0 <= self.scale < math.inf:
            raise ValueError(
                f"Pose guidance is {self.scale}; it must be 0 (off) or more. 1.0 is the official strength."
            )
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(
                f"The pose window goes from {self.start} to {self.end}; it must start before it ends, between 0 and 1. "
                "0.1 to 0.4 is official."
            )
        if self.every < 1:
            raise ValueError(f"pose_every is {self.every}; it must be 1 (every step of the window) or more.")

    def acts_at(self, moment: Moment) -> bool:
        """Return whether the pose term is due."""
        return self.scale > 0 and moment.is_after(self.start) and not moment.has_reached(self.end)

    def keeps_at(self, moment: Moment) -> bool:
        """Return whether the pose term's last difference stands in for it."""
        if self.every == 1:
            return False
        starts = (step for step in range(len(moment.levels) - 1) if self.acts_at(moment.at_step(step)))
        first = next(starts, moment.step)
        return (moment.step - first) % self.every > 0


def add_pose_term(guided: Tensor, positive: Tensor, pose_negative: Tensor, scale: float) -> Tensor:
    """Return `guided` plus s_pose (v_pos - v_posenegative)."""
    return guided + scale * (positive - pose_negative)


class SteadyDancerGuider(comfy.samplers.CFGGuider):
    """ComfyUI GUIDER with a third condition. Outside the window and without shortcuts it is the stock CFG guider.

    `log` tells what the last run asked of the model.
    """

    def __init__(self, model: ModelPatcher, guidance: PoseGuidance, text: TextGuidance):
        check_model(model)
        super().__init__(model)
        self.guidance, self.text, self.log = guidance, text, RunLog()
        self.set_cfg(text.scale)

    def set_conds(self, positive, negative, pose_negative=None):
        """Set the three conditions; `pose_negative` may be None only when the pose guidance is 0."""
        conds = {"positive": positive, "negative": negative}
        if self.guidance.scale > 0:
            check_pose_negative(pose_negative)
            conds["pose_negative"] = pose_negative
        elif pose_negative is not None:
            logger.warning(UNUSED)
        for conditioning in conds.values():
            check_areas(conditioning)
        self.inner_set_conds(conds)

    def sample(self, noise, *args, **kwargs):
        """Run as the stock guider does, with a fresh log; tell before it whether the run fits into memory."""
        self.log = RunLog()
        check_caches(self.model_patcher, noise.shape[2])  # the model does too, but is loaded by then
        branches = 1 + (self.cfg != 1) + (self.guidance.scale > 0)
        check_before_sampling(self.model_patcher, noise.shape, branches)
        with explain_out_of_memory():
            return super().sample(noise, *args, **kwargs)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        """Return the guided denoised latent."""
        options = {} if model_options is None else model_options
        moment = Moment.at(timestep, self.inner_model.model_sampling, _run(options))
        evaluation = _Evaluation(self, moment, options, x.shape[0])
        return super().predict_noise(x, timestep, evaluation.options(), seed)


class _Evaluation:
    """The branches of one evaluation: asked of the model, or taken from a difference that the run has kept.

    `run_options` are the run's own model options: what is kept lives in them, as long as the run.
    """

    def __init__(self, guider: SteadyDancerGuider, moment: Moment, run_options: dict, samples: int):
        self.guider, self.moment, self.run_options = guider, moment, run_options
        self.counted = counted(run_options, guider.log, moment.step, samples)
        self.not_every_step = {"pose_negative"}
        if guider.text.skip_negative_after < 1:
            self.not_every_step.add("negative")
        guider.log.levels = moment.levels
        self.pose = guider.guidance.acts_at(moment)
        # With text guidance 0 and no pose term v_pos has weight 0, and v_neg is all there is.
        self.only_negative = guider.cfg == 0 and not self.pose
        keeps = {
            "negative": guider.text.keeps_at(moment) and not self.only_negative,
            "pose_negative": guider.guidance.keeps_at(moment),
        }
        self.from_kept = {name for name, keep in keeps.items() if keep and name in run_options.get(KEPT, ())}
        self.found: dict[str, Tensor] = {}

    def options(self) -> dict:
        """Return the options under which the stock guider evaluates this moment."""
        options = self.counted
        if self.pose or self.only_negative or self.guider.text.skip_negative_after < 1:
            options = {**options, BATCH: self.predict}
        if self.pose:
            options = {**options, POST_CFG: [self.pose_term, *options.get(POST_CFG, ())]}
            self.guider.log.pose_steps.add(self.moment.step)
        return options

    def predict(self, args: dict) -> list[Tensor]:
        """Return the denoised latents of positive and negative, and note that of pose_negative."""
        pose_negative = self.guider.conds["pose_negative"] if self.pose else None
        due = dict(zip(BRANCHES, [*args["conds"], pose_negative], strict=True))
        skipped = self.from_kept | ({"positive"} if self.only_negative else set())
        asked = {name: None if name in skipped else cond for name, cond in due.items()}
        for name in self.not_every_step:
            asked[name] = separate(asked[name], name)
        for name in self.from_kept:
            if due[name] is not None:
                self.guider.log.kept[name].add(self.moment.step)
        self.found = dict(zip(BRANCHES, self._ask(args, list(asked.values())), strict=True))
        if self.only_negative:
            return [self.found["negative"]] * 2
        for name in BRANCHES[1:]:
            if due[name] is not None:
                self._settle(name)
        # A copy, because a pre-CFG function may change it in place.
        return [self.found["positive"].clone(), self.found["negative"]]

    def pose_term(self, args: dict) -> Tensor:
        """Return the guided latent plus the pose term, as a post-CFG function."""
        return add_pose_term(
            args["denoised"], self.found["positive"], self.found["pose_negative"], self.guider.guidance.scale
        )

    def _settle(self, name: str) -> None:
        positive, level = self.found["positive"], self.moment.level
        if name in self.from_kept:
            self.found[name] = positive - kept_difference(self.run_options, name, level)
        else:
            keep_difference(self.run_options, name, positive - self.found[name], level)

    def _ask(self, args: dict, conds: list) -> list[Tensor]:
        """Return the denoised latents of three conditions, None for none.

        ComfyUI batches those that are due on every step. Where another node has set a batch function, that one gets
        the stock conditions alone, as it expects.
        """
        call = partial(comfy.samplers.calc_cond_batch, args["model"], x_in=args["input"], timestep=args["sigma"])
        if BATCH not in self.run_options:
            return call(conds=conds, model_options=self.counted)
        stock = self.run_options[BATCH]({**args, "conds": conds[:2], "model_options": self.counted})
        if conds[2] is None:
            return [*stock, None]
        return [*stock, call(conds=[None, None, conds[2]], model_options=self.counted)[2]]


def keep_difference(run_options: dict, name: str, difference: Tensor, level: float) -> None:
    """Keep the `difference` of two denoised latents at noise level `level` for the rest of the run, as a velocity."""
    if level > 0:
        run_options.setdefault(KEPT, {})[name] = difference / level


def kept_difference(run_options: dict, name: str, level: float) -> Tensor:
    """Return the kept difference as one of denoised latents at noise level `level`; KeyError where none is kept."""
    return run_options[KEPT][name] * level


def patch_model(model: ModelPatcher, pose_negative, guidance: PoseGuidance) -> ModelPatcher:
    """Return a clone of `model` that adds the pose term in any stock sampler, as one more call per step in the window.

    Only the pose latent of `pose_negative` is used: prompt and photo are those of the sampler's positive.
    """
    check_model(model)
    patched = model.clone()
    if guidance.scale == 0:
        logger.warning(UNUSED)
        return patched
    check_pose_negative(pose_negative)
    if len(pose_negative) > 1:
        raise ValueError(
            f"Found {len(pose_negative)} conditions combined into pose_negative; 'Pose Guidance' takes one. Connect "
            "that of 'Reconcile Conditions' as it is, or use the SteadyDancer Sampler."
        )
    pose = pose_negative[0][1]["pose_video_latent"]
    options = patched.model_options
    options[PATCHED] = True
    # In front of the nodes that change the predictions, APG among them, whether they come before or after this one.
    options[PRE_CFG] = [_keep_raw_positive, *options.get(PRE_CFG, ())]
    patched.set_model_sampler_post_cfg_function(partial(_post_cfg, pose=pose, guidance=guidance))
    return patched


def _keep_raw_positive(args: dict) -> list[Tensor]:
    args["model_options"][RAW_POSITIVE] = args["conds_out"][0].clone()
    return args["conds_out"]


def _post_cfg(args: dict, pose: Tensor, guidance: PoseGuidance) -> Tensor:
    model, options = args["model"], args["model_options"]
    positive = options.pop(RAW_POSITIVE, args["cond_denoised"])  # a GUIDER may leave pre-CFG functions out
    moment = Moment.at(args["sigma"], model.model_sampling, _run(options))
    if not guidance.acts_at(moment):
        return args["denoised"]
    if guidance.keeps_at(moment) and "pose_negative" in options.get(KEPT, ()):
        pose_negative = positive - kept_difference(options, "pose_negative", moment.level)
    else:
        pose_negative = _predict_with(pose, args)
        keep_difference(options, "pose_negative", positive - pose_negative, moment.level)
    return add_pose_term(args["denoised"], positive, pose_negative, guidance.scale)


def _predict_with(pose: Tensor, args: dict) -> Tensor:
    """Return the denoised latent of the sampler's positive with `pose` in place of its own."""
    model, x = args["model"], args["input"]
    if pose.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"The pose-negative latent is {tuple(pose.shape[2:])} frames, rows, columns; the video is "
            f"{tuple(x.shape[2:])}. Take both from the same 'Reconcile Conditions' node."
        )
    swapped = comfy.conds.CONDRegular(model.process_latent_in(pose).to(x.device))
    cond = [_with_pose(c, swapped) for c in args["cond"]]
    conds = [None, None, cond]  # 0 and 1 are positive and negative to other nodes
    return comfy.samplers.calc_cond_batch(model, conds, x, args["sigma"], args["model_options"])[2]


def _with_pose(cond: dict, pose: comfy.conds.CONDRegular) -> dict:
    # Caches of other nodes tell conditions apart by uuid: the swapped one needs its own, the same at every step.
    own = uuid.uuid5(uuid.NAMESPACE_OID, f"pose-negative of {cond.get('uuid')}")
    return {**cond, "uuid": own, "model_conds": {**cond["model_conds"], "pose_latents": pose}}


def _run(model_options: dict) -> Tensor | None:
    """Return the sigmas of the run that is under way."""
    return model_options.get("transformer_options", {}).get("sample_sigmas")
