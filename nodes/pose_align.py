"""From driving poses to pose frames: aligned to the photo, jittered for the pose-negative, drawn for the model."""

import numpy as np
from comfy_api.latest import io
from torch import Tensor

from ..dwpose.draw import PALETTES, Style
from ..dwpose.edit.align import (
    COLUMNS,
    MODES,
    Alignment,
    Request,
    align,
    follows_body,
    remarks_text,
    report_text,
    row_cells,
)
from ..dwpose.edit.anchor import AT_NECK, FIRST
from ..dwpose.edit.augment import augment
from ..dwpose.formats.keypoints import to_keypoints
from ..media.frame_size import MAX_ASPECT_DIFFERENCE, MODEL_FPS, aspect_difference, default_size
from ..media.frames import size_of, to_rgb, to_uint8
from ..media.image_layout import Line, beside, draw_table, shrink
from .common.editor_output import show_alignment_editor
from .common.node_picture import show_picture, show_picture_and_text
from .common.pose_images import draw_images, overlay_image
from .common.pose_input import (
    CORRECTED,
    PHOTO,
    correction_inputs,
    correction_values,
    meeting_inputs,
    read_poses,
    seed_input,
    size_inputs,
    take_corrections,
)
from .common.pose_types import PoseKeypoint
from .common.search_words import SCALE, SKELETON

SHOWN = 300, 420  # most pixels across and down of one picture in the node
UNIT, GRAY = "% of the frame height", "; gray: body scale used"


class AlignPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerAlignPoses",
            display_name="Align Poses",
            category="SteadyDancer/pose",
            description=(
                "Fits the skeleton to the position, size and proportions of the person in the photo. Without it heads "
                "droop and limbs stretch."
            ),
            search_aliases=["retarget pose", "pose alignment", "match proportions", *SCALE],
            inputs=[*ALIGN_INPUTS, *correction_inputs(CORRECTED), *meeting_inputs("anchor_frame")],
            outputs=[
                PoseKeypoint.Output("poses_out", display_name="poses", tooltip="The dance, aligned to the photo."),
                io.Image.Output(
                    "overlay",
                    tooltip="The photo with the skeleton drawn over it, at the frame where the two are aligned.",
                ),
                io.String.Output("table", tooltip="Body lengths in photo and video, and the ratios used."),
            ],
        )

    @classmethod
    def execute(
        cls, poses, photo, photo_poses, mode, anchor_frame, anchor=FIRST, meet_at=AT_NECK, **corrections
    ) -> io.NodeOutput:
        size, standing = size_of(to_rgb(photo)), read_poses(photo_poses)
        if aspect_difference(size, (standing.width, standing.height)) > MAX_ASPECT_DIFFERENCE:
            raise ValueError(
                f"photo_poses were found in a picture of {standing.width}x{standing.height}, but the photo is "
                f"{size[0]}x{size[1]}: the shapes differ. Give Extract Poses the same photo as this node."
            )
        parts = take_corrections(corrections, CORRECTED)
        request = Request(default_size(*size), mode, anchor_frame, parts, anchor, meet_at)
        alignment = align(standing, read_poses(poses), request)
        picture = overlay_image(photo, alignment)
        text = report_text(alignment)
        shown = show_picture_and_text(cls, _overlay_and_table(picture, alignment), text, remarks_text(alignment))
        editor = show_alignment_editor("Align Poses", photo, alignment, correction_values(parts, CORRECTED), MODEL_FPS)
        return io.NodeOutput(to_keypoints(alignment.clip), picture, text, ui={**shown, **editor})


ALIGN_INPUTS: list[io.Input] = [
    # First: a bypassed node passes its first input of a type on, and that has to be the dance.
    PoseKeypoint.Input("poses", tooltip="The poses of the driving video, from Extract Poses or Refine Poses."),
    PHOTO,
    PoseKeypoint.Input("photo_poses", tooltip="The pose of the photo, from Extract Poses."),
    io.Combo.Input(
        "mode",
        options=list(MODES),
        tooltip="robust works with any photo and video: close-ups, side views, hidden limbs. official computes "
        "exactly what was published and measures a single frame.",
    ),
    io.Int.Input(
        "anchor_frame",
        default=0,
        min=0,
        max=1000000,
        tooltip="The driving frame whose neck is placed on the photo's neck, or nose on nose if the photo shows "
        "no neck. 0 is the first frame. robust uses the next frame that shows the neck. If anchor is whole body, "
        "the search starts here.",
    ),
]


def _overlay_and_table(picture: Tensor, alignment: Alignment) -> np.ndarray:
    """Return uint8 [H, W, 3]: the overlay [1, h, w, 3], shrunk, and beside it the ratios of each person."""
    lines = []
    for track, rows in zip(alignment.clip.tracks, alignment.tables, strict=True):
        name = f"person {track.number}" if len(alignment.tables) > 1 else COLUMNS[0]
        lines.append(Line((name, *COLUMNS[1:]), heading=True))
        lines += [Line(row_cells(row), follows_body(row)) for row in rows]
    caption = UNIT + GRAY if any(line.faint for line in lines) else UNIT
    return beside([shrink(to_uint8(picture[0]), *SHOWN), draw_table(lines, caption)])


class AugmentPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerAugmentPoses",
            display_name="Augment Poses",
            category="SteadyDancer/pose",
            description=(
                "Makes the pose-negative: the same dance with a skeleton whose size and proportions change randomly "
                "from frame to frame. Pose guidance pushes the video away from it."
            ),
            search_aliases=["pose negative", "pose augmentation", "negative pose"],
            inputs=[PoseKeypoint.Input("poses", tooltip="The aligned poses, from Align Poses."), seed_input()],
            outputs=[PoseKeypoint.Output("negative_poses", tooltip="Connect to negative_poses of Draw Poses.")],
        )

    @classmethod
    def execute(cls, poses, seed) -> io.NodeOutput:
        return io.NodeOutput(to_keypoints(augment(read_poses(poses), seed)))


class DrawPoses(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerDrawPoses",
            display_name="Draw Poses",
            category="SteadyDancer/pose",
            description="Draws the skeletons as the model saw them in training: same colors, same line widths, no "
            "face.",
            search_aliases=["render pose", "openpose", "draw skeleton", "pose image", *SKELETON],
            inputs=DRAW_INPUTS,
            outputs=[
                io.Image.Output("pose_frames", tooltip="Connect to pose_frames of Reconcile Conditions."),
                io.Image.Output(
                    "negative_frames",
                    tooltip="Connect to pose_negative_frames of Reconcile Conditions. Empty without negative poses.",
                ),
            ],
        )

    @classmethod
    def execute(cls, poses, width, height, palette, thickness, hands, negative_poses=None) -> io.NodeOutput:
        style = Style(palette, thickness, hands)
        clips = [read_poses(data) for data in (poses, negative_poses) if data is not None]
        frames = draw_images(clips, width, height, style)
        pictures = [shrink(to_uint8(images[0]), *SHOWN) for images in frames]
        shown = beside(pictures, ("pose_frames", "negative_frames")[: len(frames)])
        return io.NodeOutput(frames[0], frames[1] if len(frames) > 1 else None, ui=show_picture(cls, shown))


DRAW_INPUTS: list[io.Input] = [
    PoseKeypoint.Input("poses", tooltip="The aligned poses, from Align Poses or Lead-in."),
    *size_inputs("the aspect ratio of the poses", "their size"),
    io.Combo.Input(
        "palette",
        options=list(PALETTES),
        tooltip="steadydancer: neck to nose is red, as in training. openpose: red and blue swapped, as ControlNet "
        "and most other models expect.",
    ),
    io.Float.Input(
        "thickness",
        default=1.0,
        min=0.1,
        max=10.0,
        step=0.05,
        tooltip="Line and joint width. 1 is what the model was trained on; 2 is what ControlNet models expect.",
    ),
    io.Boolean.Input("hands", default=True, tooltip="Draw hands where they were detected."),
    PoseKeypoint.Input("negative_poses", optional=True, tooltip="The pose-negative, from Augment Poses."),
]


NODES = [AlignPoses, AugmentPoses, DrawPoses]
