"""Inputs that pose nodes share, and how POSE_KEYPOINT is read."""

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ...dwpose.edit.anchor import ANCHORS, AT_NECK, FIRST, MEETINGS
from ...dwpose.formats.keypoints import from_keypoints
from ...dwpose.poses import PoseClip
from ...media.frame_size import MODEL_FPS

PHOTO = io.Image.Input(
    "photo", tooltip="Photo of the person to animate. If there are several images, the first is used."
)
SEED = io.Int.Input(
    "seed",
    default=0,
    min=0,
    max=0xFFFFFFFFFFFFFFFF,
    control_after_generate=True,
    tooltip="The same seed gives the same pose-negative.",
)


def read_poses(data) -> PoseClip:
    """Return the clip that a POSE_KEYPOINT of any pack describes; see `from_keypoints`. Cancel ends it."""
    return from_keypoints(data, throw_exception_if_processing_interrupted)


def meeting_inputs(start: str) -> list[io.Input]:
    """Return when and where the dance meets the photo; optional, so that prompts from before still run.

    start: what the tooltip calls the frame in which the search begins.
    """
    return [
        io.Combo.Input(
            "anchor",
            options=list(ANCHORS),
            default=FIRST,
            optional=True,
            advanced=True,
            tooltip="The driving frame that is matched to the photo. first: with robust the first frame from "
            f"{start} on that shows the neck; with official {start} itself. whole body: the frame from {start} on with "
            "the most complete body, near the median position and size; for people who walk in.",
        ),
        io.Combo.Input(
            "meet_at",
            options=list(MEETINGS),
            default=AT_NECK,
            optional=True,
            advanced=True,
            tooltip="The body part that is matched to the photo in that frame. head: for a person who looks aside or "
            "leans, where matching the neck would put the head in the wrong place.",
        ),
    ]


def fps_input(tooltip: str) -> io.Input:
    """Return the frame rate of poses or of a video made from them."""
    return io.Float.Input("fps", default=MODEL_FPS, min=0.01, max=240.0, step=0.01, tooltip=tooltip)


def size_inputs(aspect: str, both: str) -> list[io.Input]:
    """Return width and height of the pose frames. aspect, both: what 0 for one and for both stands for."""
    text = f"in Reconcile Conditions. 0 follows {aspect}; both 0: {both}."
    return [
        io.Int.Input(side, default=0, min=0, max=4096, step=16, tooltip=f"Must equal the {side} {text}")
        for side in ("width", "height")
    ]
