"""Inputs that pose nodes share: how POSE_KEYPOINT is read, and where a dance meets the photo."""

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ...dwpose.edit.meeting import ANCHORS, AT_NECK, FIRST, MEETINGS
from ...dwpose.formats.keypoints import from_keypoints
from ...dwpose.poses import PoseClip


def read_poses(data) -> PoseClip:
    """Return the clip that a POSE_KEYPOINT of any pack describes; see `from_keypoints`. Cancel ends it."""
    return from_keypoints(data, throw_exception_if_processing_interrupted)


def meeting_inputs(start: str) -> list[io.Input]:
    """Return when and where the dance meets the photo; optional, so that prompts from before still run.

    start: what the tooltip calls the frame in which the search begins.
    """
    return [
        io.Combo.Input(
            "anchor", options=list(ANCHORS), default=FIRST, optional=True, advanced=True,
            tooltip="The driving frame that is matched to the photo. first: with robust the first frame from "
            f"{start} on that shows the neck; with official {start} itself. whole body: the frame from {start} on with "
            "the most complete body, near the median position and size; for people who walk in.",
        ),
        io.Combo.Input(
            "meet_at", options=list(MEETINGS), default=AT_NECK, optional=True, advanced=True,
            tooltip="The body part that is matched to the photo in that frame. head: for a person who looks aside or "
            "leans, where matching the neck would put the head in the wrong place.",
        ),
    ]  # fmt: skip
