"""The GUIDER of decoupled-condition guidance, and one guided step of it; guidance.py has the formula.

ComfyUI's own CFG combines positive and negative, so that the pre-CFG, CFG and post-CFG functions of other nodes work.
Where that is not enough, its branches come from `GuidedStep.predict` and the pose term is the first post-CFG function.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...media.log import logger
from ..memory.fit import check_before_sampling, explain_out_of_memory
from ..model.pose_windows import check_caches
from .guidance import CACHED, UNUSED, PoseGuidance, TextGuidance, add_pose_term, cache_difference, cached_difference
from .guidance_checks import check_areas, check_model, check_pose_negative
from .run_log import BRANCHES, RunLog, counted
from .separate_condition import separate
from .step_position import StepPosition

BATCH = "sampler_calc_cond_batch_function"
POST_CFG = "sampler_post_cfg_function"


class SteadyDancerGuider(comfy.samplers.CFGGuider):
    """ComfyUI GUIDER with a third condition; without window and shortcuts, the stock CFG's.

    log: what was computed. on_start: called before the first evaluation of a run, when the model is loaded.
    """

    on_start: Callable[[], None] = staticmethod(lambda: None)

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
        """Run as the stock guider does, with a fresh log; first log whether the run fits into memory."""
        self.log = RunLog()
        check_caches(self.model_patcher, noise.shape[2])  # the model does too, but is loaded by then
        branches = 1 + (self.cfg != 1) + (self.guidance.scale > 0)
        check_before_sampling(self.model_patcher, noise.shape, branches)
        with explain_out_of_memory():
            return super().sample(noise, *args, **kwargs)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        """Return the guided denoised latent."""
        run_options = {} if model_options is None else model_options
        if not self.log.calls:
            self.on_start()
        position = StepPosition.in_run(timestep, self.inner_model.model_sampling, run_options)
        step = GuidedStep(self, position, run_options, x.shape[0])
        return super().predict_noise(x, timestep, step.options(), seed)


class GuidedStep:
    """One evaluation: v_neg + s_text (v_pos - v_neg), plus s_pose (v_pos - v_posenegative) inside the window.

    `run_options` are the run's own model options: cached differences live in them, as long as the run.
    """

    def __init__(self, guider: SteadyDancerGuider, position: StepPosition, run_options: dict, samples: int):
        self.guider, self.position, self.run_options = guider, position, run_options
        self.counted = counted(run_options, guider.log, position.step, samples)
        self.pose_acts = guider.guidance.acts_at(position)
        # With text guidance 0 and no pose term v_pos has weight 0, and v_neg is all there is.
        self.only_negative = guider.cfg == 0 and not self.pose_acts
        reuse = {
            "negative": guider.text.reuse_at(position) and not self.only_negative,
            "pose_negative": self.pose_acts and guider.guidance.reuse_at(position),
        }
        self.reused = {name for name in run_options.get(CACHED, ()) if reuse[name]}
        self.branches: dict[str, Tensor] = {}

    def options(self) -> dict:
        """Return the model options under which the stock guider evaluates this step, and log its position."""
        self.guider.log.levels = self.position.levels
        options = dict(self.counted)
        if self.pose_acts or self.only_negative or self.guider.text.skip_negative_after < 1:
            options[BATCH] = self.predict
        if self.pose_acts:
            options[POST_CFG] = [self.pose_term, *options.get(POST_CFG, ())]
            self.guider.log.pose_steps.add(self.position.step)
        return options

    def predict(self, args: dict) -> list[Tensor]:
        """Return v_pos and v_neg for v_neg + s_text (v_pos - v_neg), and set v_posenegative for the pose term."""
        level, log = self.position.level, self.guider.log
        pose_negative = self.guider.conds["pose_negative"] if self.pose_acts else None
        due = dict(zip(BRANCHES, [*args["conds"], pose_negative], strict=True))
        skipped = {"positive"} if self.only_negative else self.reused
        v = self.compute(args, {name: None if name in skipped else cond for name, cond in due.items()})
        if self.only_negative:
            return [v["negative"]] * 2
        for name in ("negative", "pose_negative"):
            if due[name] is None:
                continue
            if name in self.reused:
                v[name] = v["positive"] - cached_difference(self.run_options, name, level)
                log.reused[name].add(self.position.step)
            else:
                cache_difference(self.run_options, name, v["positive"] - v[name], level)
        self.branches = v
        # A copy, because a pre-CFG function may change it in place.
        return [v["positive"].clone(), v["negative"]]

    def pose_term(self, args: dict) -> Tensor:
        """Return the guided latent plus s_pose (v_pos - v_posenegative), as a post-CFG function."""
        positive, pose_negative = self.branches["positive"], self.branches["pose_negative"]
        return add_pose_term(args["denoised"], positive, pose_negative, self.guider.guidance.scale)

    def compute(self, args: dict, conds: dict[str, Any]) -> dict[str, Tensor]:
        """Return the denoised latents of the conditions, by branch; that of None has no meaning.

        Another node's batch function gets the stock conditions alone, as it expects.
        """
        conds = {**conds, "pose_negative": separate(conds["pose_negative"], "pose_negative")}
        if self.guider.text.skip_negative_after < 1:
            conds["negative"] = separate(conds["negative"], "negative")
        call = partial(comfy.samplers.calc_cond_batch, args["model"], x_in=args["input"], timestep=args["sigma"])
        if BATCH not in self.run_options:
            return dict(zip(BRANCHES, call(conds=[*conds.values()], model_options=self.counted), strict=True))
        positive, negative, pose_negative = conds.values()
        stock = {**args, "conds": [positive, negative], "model_options": self.counted}
        v = dict(zip(BRANCHES[:2], self.run_options[BATCH](stock), strict=True))
        if pose_negative is not None:
            alone: list[Any] = [None, None, pose_negative]
            v["pose_negative"] = call(conds=alone, model_options=self.counted)[2]
        return v
