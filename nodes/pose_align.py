"""From driving poses to pose frames: aligned to the photo, jittered for the pose-negative, drawn for the model."""

import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import io
from torch import Tensor

from ..dwpose.draw import PALETTES, Style, draw_clip
from ..dwpose.edit.align import (
    COLUMNS,
    MODES,
    Alignment,
    Request,
    align,
    follows_body,
    overlay,
    remarks_text,
    report_text,
    row_cells,
)
from ..dwpose.edit.anchor import ANCHORS, AT_NECK, FIRST, MEETINGS
from ..dwpose.edit.augment import augment
from ..dwpose.edit.corrections import SCALE_RANGE, Correction, Corrections
from ..dwpose.formats.keypoints import to_keypoints
from ..dwpose.poses import PoseClip
from ..media.byte_size import size_text
from ..media.frame_size import MAX_ASPECT_DIFFERENCE, aspect_difference, default_size
from ..media.frames import fit_image, size_of, to_float, to_rgb, to_uint8
from ..media.image_layout import beside, shrink
from ..media.table_image import Line, draw_table
from ..steadydancer_core.sampling.conditions import choose_size
from .common.node_picture import show_picture, show_picture_and_text
from .common.pose_input import read_poses
from .common.pose_types import PoseKeypoint

# A drawing may differ from the poses' shape by that much to have exactly the size asked for. The poses' shape differs
# from the photo's by as much again, and Reconcile Conditions takes both together up to MAX_ASPECT_DIFFERENCE.
MAX_STRETCH = 0.04

SHOWN = 300, 420  # most pixels across and down of one picture in the node
UNIT, GREY = "% of the frame height", "; gray: body scale used"

CORRECTED = {  # part: what it is called, where it starts
    "body": ("whole body", "about the neck"),
    "head": ("head", "about the neck"),
    "arms": ("arms", "about the shoulders"),
    "legs": ("legs", "about the hips"),
}


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
            search_aliases=["retarget pose", "pose alignment", "match proportions"],
            inputs=[*_align_inputs(), *_correction_inputs(), *meeting_inputs("anchor_frame")],
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
        cls, photo, photo_poses, poses, mode, anchor_frame, anchor=FIRST, meet_at=AT_NECK, **corrections
    ) -> io.NodeOutput:
        size, stands = size_of(to_rgb(photo)), read_poses(photo_poses)
        _check_shapes(size, (stands.width, stands.height))
        request = Request(default_size(*size), mode, anchor_frame, _corrections(corrections), anchor, meet_at)
        alignment = align(stands, read_poses(poses), request)
        picture = overlay_image(photo, alignment)
        text = report_text(alignment)
        shown = show_picture_and_text(cls, _overlay_and_table(picture, alignment), text, remarks_text(alignment))
        return io.NodeOutput(to_keypoints(alignment.clip), picture, text, ui=shown)


def _check_shapes(photo: tuple[int, int], canvas: tuple[int, int]) -> None:
    if aspect_difference(photo, canvas) > MAX_ASPECT_DIFFERENCE:
        raise ValueError(
            f"photo_poses were found in a picture of {canvas[0]}x{canvas[1]}, but the photo is {photo[0]}x{photo[1]}: "
            "the shapes differ. Give Extract Poses the same photo as this node."
        )


def _align_inputs() -> list[io.Input]:
    return [
        io.Image.Input(
            "photo",
            tooltip="Photo of the person to animate. If there are several images, the first is used.",
        ),
        PoseKeypoint.Input("photo_poses", tooltip="The pose of the photo, from Extract Poses."),
        PoseKeypoint.Input("poses", tooltip="The poses of the driving video, from Extract Poses or Refine Poses."),
        io.Combo.Input(
            "mode", options=list(MODES),
            tooltip="robust works with any photo and video: close-ups, side views, hidden limbs. official computes "
            "exactly what was published and measures a single frame.",
        ),
        io.Int.Input(
            "anchor_frame", default=0, min=0, max=1000000,
            tooltip="The driving frame whose neck is placed on the photo's neck, or nose on nose if the photo shows "
            "no neck. 0 is the first frame. robust uses the next frame that shows the neck. If anchor is whole body, "
            "the search starts here.",
        ),
    ]  # fmt: skip


def _correction_inputs() -> list[io.Input]:
    """Return scale and shift of each part, in the order of CORRECTED."""
    low, high = SCALE_RANGE
    inputs = []
    for part, (name, centre) in CORRECTED.items():
        inputs.append(
            io.Float.Input(
                f"{part}_scale", default=1.0, min=low, max=high, step=0.01, advanced=True,
                tooltip=f"Scales the {name} {centre}, after the alignment. 1 = no change.",
            )
        )  # fmt: skip
        for axis, way in (("x", "right"), ("y", "down")):
            inputs.append(
                io.Float.Input(
                    f"{part}_{axis}", default=0.0, min=-2.0, max=2.0, step=0.005, advanced=True,
                    tooltip=f"Moves the {name} {way}, as a fraction of the frame height (0.05 = 5 %). 0 = no change.",
                )
            )  # fmt: skip
    return inputs


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


def _corrections(values: dict[str, float]) -> Corrections:
    parts = {part: [values[f"{part}_{key}"] for key in ("scale", "x", "y")] for part in CORRECTED}
    return Corrections(**{part: Correction(*numbers) for part, numbers in parts.items()})


def overlay_image(photo: Tensor, alignment: Alignment) -> Tensor:
    """Return the photo at the alignment's size, with the skeleton over it, as IMAGE [1, H, W, 3]."""
    clip = alignment.clip
    pixels = to_uint8(fit_image(photo[:1], clip.width, clip.height)[0])
    return to_float(overlay(pixels, alignment))[None]


def _overlay_and_table(picture: Tensor, alignment: Alignment) -> np.ndarray:
    """Return uint8 [H, W, 3]: the overlay [1, h, w, 3], shrunk, and beside it the ratios of each person."""
    lines = []
    for track, rows in zip(alignment.clip.tracks, alignment.tables, strict=True):
        name = f"person {track.number}" if len(alignment.tables) > 1 else COLUMNS[0]
        lines.append(Line((name, *COLUMNS[1:]), heading=True))
        lines += [Line(row_cells(row), follows_body(row)) for row in rows]
    table = draw_table(lines, UNIT + GREY * any(line.faint for line in lines))
    return beside([shrink(_pixels(picture), *SHOWN), table])


def _pixels(images: Tensor) -> np.ndarray:
    """Return the first of `images` [B, H, W, 3] in 0..1 as uint8 [H, W, 3]."""
    return to_uint8(images[0])


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
            inputs=[
                PoseKeypoint.Input("poses", tooltip="The aligned poses, from Align Poses."),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
                    tooltip="The same seed gives the same pose-negative.",
                ),
            ],
            outputs=[PoseKeypoint.Output("negative_poses", tooltip="Connect to negative_poses of Draw Poses.")],
        )  # fmt: skip

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
            search_aliases=["render pose", "openpose", "draw skeleton", "pose image"],
            inputs=_draw_inputs(),
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
        pictures = [shrink(_pixels(images), *SHOWN) for images in frames]
        shown = beside(pictures, ("pose_frames", "negative_frames")[: len(frames)])
        return io.NodeOutput(frames[0], frames[1] if len(frames) > 1 else None, ui=show_picture(cls, shown))


def _draw_inputs() -> list[io.Input]:
    return [
        PoseKeypoint.Input("poses", tooltip="The aligned poses, from Align Poses or Lead-in."),
        io.Int.Input(
            "width", default=0, min=0, max=4096, step=16,
            tooltip="Must equal the width in Reconcile Conditions. 0 follows the aspect ratio of the poses; both 0: "
            "their size.",
        ),
        io.Int.Input(
            "height", default=0, min=0, max=4096, step=16,
            tooltip="Must equal the height in Reconcile Conditions. 0 follows the aspect ratio of the poses; both 0: "
            "their size.",
        ),
        io.Combo.Input(
            "palette", options=list(PALETTES),
            tooltip="steadydancer: neck to nose is red, as in training. openpose: red and blue swapped, as ControlNet "
            "and most other models expect.",
        ),
        io.Float.Input(
            "thickness", default=1.0, min=0.1, max=10.0, step=0.05,
            tooltip="Line and joint width. 1 is what the model was trained on; 2 is what ControlNet models expect.",
        ),
        io.Boolean.Input("hands", default=True, tooltip="Draw hands where they were detected."),
        PoseKeypoint.Input("negative_poses", optional=True, tooltip="The pose-negative, from Augment Poses."),
    ]  # fmt: skip


def draw_images(clips: list[PoseClip], width: int, height: int, style: Style) -> list[Tensor]:
    """Return each clip's frames as IMAGE [F, H, W, 3], with progress over all.

    The clips are the poses and their negatives. ValueError for a clip without frames, and for clips that do not match.
    """
    _check_match(*clips)
    bar = ProgressBar(sum(clip.frames for clip in clips))
    return [_draw(clip, *drawing_size(clip, width, height), style, bar) for clip in clips]


def drawing_size(clip: PoseClip, width: int, height: int) -> tuple[int, int]:
    """Return the (width, height) to draw at, so that Reconcile Conditions, which crops to its own, shrinks nothing."""
    if not width and not height:
        return clip.width, clip.height
    width, height = choose_size(clip.width, clip.height, width, height)
    if aspect_difference((clip.width, clip.height), (width, height)) <= MAX_STRETCH:
        return width, height
    scale = max(width / clip.width, height / clip.height)
    return round(clip.width * scale), round(clip.height * scale)


def _check_match(clip: PoseClip, *negatives: PoseClip) -> None:
    shape = clip.width, clip.height, clip.frames
    for other in negatives:
        if (other.width, other.height, other.frames) != shape:
            raise ValueError(
                f"The negative poses are {other.frames} frames of {other.width}x{other.height}, the poses are "
                f"{clip.frames} of {clip.width}x{clip.height}. Give Augment Poses the same poses as Draw Poses."
            )


def _draw(clip: PoseClip, width: int, height: int, style: Style, bar: ProgressBar) -> Tensor:
    if not clip.frames:
        raise ValueError("The poses have no frames. Connect the poses of Align Poses or Extract Poses.")
    images = _blank(clip.frames, height, width)
    for image, frame in zip(images, draw_clip(clip, width, height, style), strict=True):
        throw_exception_if_processing_interrupted()
        image.copy_(to_float(frame))
        bar.update(1)
    return images


def _blank(frames: int, height: int, width: int) -> Tensor:
    """Return IMAGE [F, H, W, 3] to be filled; ValueError if there is not so much memory."""
    try:
        return torch.empty(frames, height, width, 3, dtype=torch.float32, device="cpu")
    except RuntimeError as error:
        need = size_text(frames * height * width * 3 * torch.float32.itemsize)
        raise ValueError(
            f"{frames} pose frames of {width}x{height} need {need} of memory, more than there is. Set width and height "
            "to those of Reconcile Conditions, or take fewer frames with max_frames."
        ) from error


NODES = [AlignPoses, AugmentPoses, DrawPoses]
