"""What guidance requires of the model and of the conditions, checked before anything is sampled."""

from comfy.model_patcher import ModelPatcher

from ..model.block_attention import check_attention
from ..model.model_base import NO_AREAS, SteadyDancer
from ..weights.lora_fit import check_loras

PATCHED = "steadydancer_pose_guidance"


def check_pose_negative(conditioning) -> None:
    """Raise ValueError unless `conditioning` has a pose at all times: pose guidance pushes away from it."""
    if not conditioning or not all("pose_video_latent" in values for _, values in conditioning):
        found = "There is no pose in the conditioning connected to" if conditioning else "Nothing is connected to"
        raise ValueError(
            f"{found} pose_negative, but pose guidance is on. Give pose-negative frames to 'Reconcile Conditions' or "
            "'Plan Chunks' and connect the pose_negative output, or set pose guidance to 0; a preset has it on."
        )
    reached = _covered_until(conditioning)
    if reached < 1:
        raise ValueError(
            "The pose_negative, or the positive it was made from, has a timestep range that leaves a part of the run "
            f"without it, from {reached:.0%} on. Let the ranges of its parts follow each other from 0 to 1, or take "
            "them off; pose_start and pose_end of the guidance say when the pose acts."
        )


def _covered_until(conditioning) -> float:
    """Return the fraction of the steps, from the first on, that always have a condition: 1 for all."""
    reached = 0.0
    for start, end in sorted((v.get("start_percent", 0.0), v.get("end_percent", 1.0)) for _, v in conditioning):
        if start > reached:
            break
        reached = max(reached, end)
    return reached


def check_areas(conditioning) -> None:
    """Raise ValueError if a condition has an area; ComfyUI makes one of a mask's bounds too."""
    if any("area" in values or values.get("set_area_to_bounds") for _, values in conditioning):
        raise ValueError(NO_AREAS)


def check_model(model: ModelPatcher) -> None:
    """Raise ValueError unless `model` is SteadyDancer, without pose guidance of its own, with LoRAs that fit it."""
    if model.model_options.get(PATCHED):
        raise ValueError(
            "This model already carries pose guidance from a 'Pose Guidance' node; a second one would double it. "
            "Connect the model from before that node."
        )
    check_is_steadydancer(model)
    check_loras(model)


def check_is_steadydancer(model: ModelPatcher) -> None:
    """Raise ValueError unless `model` is SteadyDancer, with its own attention."""
    if not isinstance(model.model, SteadyDancer):
        raise ValueError(
            f"The connected model is {type(model.model).__name__}, not SteadyDancer: it would ignore the pose. "
            "Choose a SteadyDancer-14B file in 'Load SteadyDancer Model', which also reports what is wrong with a file."
        )
    check_attention(model)
