"""Pose guidance as a patch of the MODEL, for the stock KSampler and every other sampler of ComfyUI."""

import uuid
from functools import partial
from typing import Any

import comfy.conds
import comfy.samplers
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...media.log import logger
from .frame_prompts import FRAMES
from .guidance import CACHED, UNUSED, PoseGuidance, add_pose_term, cache_difference, cached_difference
from .guidance_checks import PATCHED, check_model, check_pose_negative
from .step_position import StepPosition

RAW_POSITIVE = "steadydancer_raw_positive"
PRE_CFG = "sampler_pre_cfg_function"


def patch_model(model: ModelPatcher, pose_negative, guidance: PoseGuidance) -> ModelPatcher:
    """Return a clone of `model` that adds the pose term in any stock sampler; prompt and photo are the positive's."""
    check_model(model)
    patched = model.clone()
    if guidance.scale == 0:
        logger.warning(UNUSED)
        return patched
    check_pose_negative(pose_negative)
    pose = pose_negative[0][1]["pose_video_latent"]
    others = (values for _, values in pose_negative[1:])
    if any(FRAMES not in values or values["pose_video_latent"] is not pose for values in others):
        raise ValueError(
            f"Found {len(pose_negative)} conditions combined into pose_negative; 'Pose Guidance' takes one. Connect "
            "that of 'Reconcile Conditions' as it is, or use the SteadyDancer Sampler."
        )
    options = patched.model_options
    options[PATCHED] = True
    # In front of the nodes that change the predictions, APG among them, whether they come before or after this one.
    options[PRE_CFG] = [_save_raw_positive, *options.get(PRE_CFG, ())]
    patched.set_model_sampler_post_cfg_function(partial(_post_cfg, pose=pose, guidance=guidance))
    return patched


def _save_raw_positive(args: dict) -> list[Tensor]:
    args["model_options"][RAW_POSITIVE] = args["conds_out"][0].clone()
    return args["conds_out"]


def _post_cfg(args: dict, pose: Tensor, guidance: PoseGuidance) -> Tensor:
    """Return the guided latent plus s_pose (v_pos - v_posenegative) inside the window."""
    options = args["model_options"]
    positive = options.pop(RAW_POSITIVE, args["cond_denoised"])  # a GUIDER may leave pre-CFG functions out
    position = StepPosition.in_run(args["sigma"], args["model"].model_sampling, options)
    if not guidance.acts_at(position):
        return args["denoised"]
    if guidance.reuse_at(position) and "pose_negative" in options.get(CACHED, ()):
        pose_negative = positive - cached_difference(options, "pose_negative", position.level)
    else:
        pose_negative = _predict_with(pose, args)
        cache_difference(options, "pose_negative", positive - pose_negative, position.level)
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
    cond = []
    for entry in args["cond"]:
        # Caches of other nodes identify conditions by uuid: the swapped one needs its own, the same at every step.
        own = uuid.uuid5(uuid.NAMESPACE_OID, f"pose-negative of {entry.get('uuid')}")
        cond.append({**entry, "uuid": own, "model_conds": {**entry["model_conds"], "pose_latents": swapped}})
    conds: list[Any] = [None, None, cond]  # 0 and 1 are positive and negative to other nodes
    return comfy.samplers.calc_cond_batch(model, conds, x, args["sigma"], args["model_options"])[2]
