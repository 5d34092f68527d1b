"""Inputs that pose nodes share, and how POSE_KEYPOINT is read."""

from collections.abc import Iterable

from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ...dwpose.edit.anchor import ANCHORS, AT_NECK, FIRST, MEETINGS
from ...dwpose.edit.corrections import SCALE_RANGE, Correction, Corrections
from ...dwpose.formats.keypoints import from_keypoints
from ...dwpose.poses import PoseClip
from ...media.frame_size import MODEL_FPS

PHOTO = io.Image.Input(
    "photo", tooltip="Photo of the person to animate. If there are several images, the first is used."
)
CORRECTED = {  # part: what it is called, where it starts
    "body": ("whole body", "about the neck"),
    "head": ("head", "about the neck"),
    "arms": ("arms", "about the shoulders"),
    "legs": ("legs", "about the hips"),
}
KEYS = "scale", "x", "y"


def read_poses(data) -> PoseClip:
    """Return the clip that a POSE_KEYPOINT of any pack describes; see `from_keypoints`. Cancel ends it."""
    return from_keypoints(data, throw_exception_if_processing_interrupted)


def seed_input(advanced: bool = False) -> io.Input:
    """Return the seed of the pose-negative; among the advanced inputs it is optional and changes by hand alone."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        optional=advanced,
        advanced=advanced,
        control_after_generate=not advanced,
        tooltip="The same seed gives the same pose-negative.",
    )


def correction_inputs(parts: Iterable[str]) -> list[io.Input]:
    """Return scale and shift of each of `parts`, keys of CORRECTED."""
    low, high = SCALE_RANGE
    inputs: list[io.Input] = []
    for part in parts:
        name, center = CORRECTED[part]
        inputs.append(
            io.Float.Input(
                f"{part}_scale",
                default=1.0,
                min=low,
                max=high,
                step=0.01,
                optional=True,
                advanced=True,
                tooltip=f"Scales the {name} {center}, after the alignment. 1 = no change.",
            )
        )
        for axis, way in (("x", "right"), ("y", "down")):
            inputs.append(
                io.Float.Input(
                    f"{part}_{axis}",
                    default=0.0,
                    min=-2.0,
                    max=2.0,
                    step=0.005,
                    optional=True,
                    advanced=True,
                    tooltip=f"Moves the {name} {way}, as a fraction of the frame height (0.05 = 5 %). 0 = no change.",
                )
            )
    return inputs


def take_corrections(values: dict, parts: Iterable[str]) -> Corrections:
    """Return the corrections of `parts` among a node's inputs `values`, and take them out of there."""
    defaults = dict(zip(KEYS, (1.0, 0.0, 0.0), strict=True))
    return Corrections(
        **{part: Correction(*(values.pop(f"{part}_{key}", defaults[key]) for key in KEYS)) for part in parts}
    )


def correction_values(corrections: Corrections, parts: Iterable[str]) -> dict[str, float]:
    """Return the corrections of `parts` by the names of their inputs."""
    return {f"{part}_{key}": getattr(getattr(corrections, part), key) for part in parts for key in KEYS}


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
    text = f"of the pose frames, and of the video. 0 follows {aspect}; both 0: {both}."
    return [
        io.Int.Input(side, default=0, min=0, max=4096, step=16, tooltip=f"{side.capitalize()} {text}")
        for side in ("width", "height")
    ]
