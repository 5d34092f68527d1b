"""Poses edited by hand: the page's editor writes the edits into a widget, and the node applies them."""

from comfy_api.latest import Input, io
from torch import Tensor

from ..dwpose.edit.edit_apply import apply_edits, notes_text
from ..dwpose.edit.edit_list import read_edits
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.poses import PoseClip
from ..media.frames import size_of
from ..media.log import logger
from ..media.video_stream import open_video
from .common.editor_output import show_editor
from .common.node_text import show_text
from .common.pose_input import fps_input, read_poses
from .common.pose_types import PoseKeypoint


class EditPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerEditPoses",
            display_name="Edit Poses",
            category="SteadyDancer/pose",
            description=(
                "Changes poses by hand in a full-page editor with a timeline: drag joints, ease a correction in and "
                "out, swap left and right, exchange or remove people, add a skeleton. Run once, then press Edit poses."
            ),
            search_aliases=["pose editor", "openpose editor", "keypoint editor", "fix pose", "move joint", "keyframe"],
            inputs=EDIT_INPUTS,
            outputs=[
                PoseKeypoint.Output("poses_out", display_name="poses", tooltip="The edited poses."),
                io.String.Output("report", tooltip="Number of edits, and each that was skipped, with the reason."),
            ],
        )

    @classmethod
    def execute(
        cls,
        edits: str,
        fps: float,
        poses: list | None = None,
        images: Tensor | None = None,
        video: Input.Video | None = None,
    ) -> io.NodeOutput:
        if images is not None and video is not None:
            raise ValueError("Edit Poses has both images and video connected. Connect at most one of the two.")
        clip = without_people(fps, images, video) if poses is None else read_poses(poses)
        edited, report = edit(clip, edits)
        shown = show_editor("Edit Poses", clip, edited, fps, images, video)
        result = poses if edited is clip and poses is not None else to_keypoints(edited)
        return io.NodeOutput(result, report, ui={**show_text(report).as_dict(), **shown})


EDIT_INPUTS: list[io.Input] = [
    io.String.Input(
        "edits",
        default="",
        tooltip="The edits as JSON. The editor writes them here; empty = none. They are stored in the workflow.",
    ),
    fps_input("Poses per second, from Extract Poses. The editor plays at this speed."),
    PoseKeypoint.Input(
        "poses",
        optional=True,
        tooltip="Any poses, such as those of Extract Poses, Refine Poses or Align Poses. Without them the editor "
        "begins with nobody in the images or video, for a skeleton placed by hand.",
    ),
    io.Image.Input(
        "images",
        optional=True,
        tooltip="Shown behind the skeletons: a photo, or one frame per pose. Connect at most one of images and video.",
    ),
    io.Video.Input(
        "video",
        optional=True,
        tooltip="Shown behind the skeletons, with its sound: the driving video that the poses come from. Connect at "
        "most one of images and video.",
    ),
]


def without_people(fps: float, images: Tensor | None, video: Input.Video | None) -> PoseClip:
    """Return a clip with nobody in it, of the size and length of the images or the video; ValueError without both."""
    if images is not None:
        return PoseClip(*size_of(images), len(images))
    if video is None:
        raise ValueError(
            "Edit Poses has neither poses nor a picture. Connect poses to edit, or a photo to images or a video to "
            "video to place a skeleton by hand."
        )
    stream = open_video(video, fps)
    return PoseClip(stream.width, stream.height, stream.frames)


def edit(clip: PoseClip, text: str) -> tuple[PoseClip, str]:
    """Return the edited clip, the very same one if nothing changes, and the report. Unreadable edits change nothing."""
    try:
        edits, notes = read_edits(text)
    except ValueError as error:
        report = f"The poses go on unedited. {error}"
        logger.warning("Edit Poses: %s", report)
        return clip, report
    if not (edits or notes):
        return clip, "No edits."
    edited, skipped = apply_edits(clip, edits)
    applied = len(edits) - len(skipped)
    notes = [*notes, *skipped]
    report = "\n".join(filter(None, [f"Edits applied: {applied}.", notes_text(notes)]))
    if notes:
        logger.warning("Edit Poses: %s", report)
    return edited, report


NODES = [EditPoses]
