"""The inputs that photo, poses and prompts come in by, for one clip and for a long video."""

from comfy_api.latest import io
from torch import Tensor

from ...media.frame_source import FrameSource
from .pose_images import drawn_when_taken
from .pose_input import read_poses
from .pose_types import PoseKeypoint

EITHER = (
    "Connect either pose_frames and pose_negative_frames, as 'Draw Poses' and 'Poses From Video' make them, or poses "
    "and negative_poses."
)


def prompt_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", tooltip="What the video should show, from CLIP Text Encode."),
        io.Conditioning.Input("negative", tooltip="What the video should not show, from CLIP Text Encode."),
        io.Vae.Input("vae", tooltip="The Wan 2.1 VAE."),
    ]


def picture_inputs() -> list[io.Input]:
    return [
        io.Image.Input("photo", tooltip="Photo of the person to animate. The video starts from this photo."),
        io.Image.Input(
            "pose_frames",
            optional=True,
            tooltip="Skeleton frames, aligned to the photo and in its aspect ratio. At least 5. Or connect poses.",
        ),
        io.Image.Input(
            "pose_negative_frames",
            optional=True,
            tooltip="The same skeleton, distorted: its size and width change from frame to frame. Pose guidance "
            "pushes away from it. Leave it unconnected only if pose guidance is 0.",
        ),
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="CLIP vision model (clip_vision_h). Needed for the 14B model; the miniature runs without it.",
        ),
    ]


def frame_size_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            side,
            default=0,
            min=0,
            max=4096,
            step=16,
            tooltip=f"{side.capitalize()} in pixels, a multiple of 16. Both 0: the size of the pose frames. 0 for one "
            "side follows the photo's aspect ratio.",
        )
        for side in ("width", "height")
    ]


def pose_inputs() -> list[io.Input]:
    """Return the inputs for poses in the place of pose frames; the last ones of a node, see `pose_sources`."""
    return [
        PoseKeypoint.Input(
            "poses",
            optional=True,
            tooltip="Aligned poses instead of pose_frames, drawn as by Draw Poses at width and height. Far less memory "
            "for long videos.",
        ),
        PoseKeypoint.Input(
            "negative_poses",
            optional=True,
            tooltip="The pose-negative of poses, from Augment Poses, instead of pose_negative_frames.",
        ),
    ]


def pose_sources(
    node: str,
    width: int,
    height: int,
    pose_frames: Tensor | None = None,
    pose_negative_frames: Tensor | None = None,
    poses: list | None = None,
    negative_poses: list | None = None,
) -> tuple[FrameSource, FrameSource | None]:
    """Return pose frames and pose-negative frames; ValueError where frames and poses are connected, or neither.

    Poses are drawn when their frames are taken, at the size of Draw Poses with this width and height.
    """
    if pose_frames is not None and poses is None and negative_poses is None:
        return pose_frames, pose_negative_frames
    if poses is not None and pose_frames is None and pose_negative_frames is None:
        clips = [read_poses(data) for data in (poses, negative_poses) if data is not None]
        drawn, *negative = drawn_when_taken(clips, width, height)
        return drawn, negative[0] if negative else None
    if pose_frames is None and poses is None:
        raise ValueError(f"{node} has neither pose_frames nor poses connected. {EITHER}")
    raise ValueError(f"{node} has both frames and poses connected. {EITHER}")
