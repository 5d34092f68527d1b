"""Pose frames and the overlay as IMAGE, for the nodes that draw them."""

import torch
from torch import Tensor

from ...dwpose.draw import OFFICIAL, Style
from ...dwpose.edit.align import Alignment, overlay
from ...dwpose.pipeline import draw_poses, drawing_size
from ...dwpose.poses import PoseClip
from ...media.byte_size import size_text
from ...media.frames import fit_image, to_float, to_uint8
from .pose_detection import node_callbacks


def draw_images(clips: list[PoseClip], width: int, height: int, style: Style = OFFICIAL) -> list[Tensor]:
    """Return each clip's frames as IMAGE [F, H, W, 3], with progress over all; see `drawing_size`.

    ValueError also if there is not enough memory.
    """
    width, height = drawing_size(clips, width, height)
    try:
        return [torch.from_numpy(frames) for frames in draw_poses(clips, (width, height), style, node_callbacks())]
    except MemoryError as error:
        count = clips[0].frames
        need = size_text(count * height * width * 3 * torch.float32.itemsize)
        raise ValueError(
            f"{count} pose frames of {width}x{height} need {need} of memory, more than there is. Set width and height "
            "to those of Reconcile Conditions, or take fewer frames with max_frames."
        ) from error


def overlay_image(photo: Tensor, alignment: Alignment) -> Tensor:
    """Return the photo at the alignment's size, with the skeleton over it, as IMAGE [1, H, W, 3]."""
    clip = alignment.clip
    pixels = to_uint8(fit_image(photo[:1], clip.width, clip.height)[0])
    return to_float(overlay(pixels, alignment))[None]
