"""Pose frames and the overlay as IMAGE, for the nodes that draw them."""

import itertools

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
        images = [torch.empty(clip.frames, height, width, 3, dtype=torch.float32, device="cpu") for clip in clips]
    except RuntimeError as error:
        count = clips[0].frames
        need = size_text(count * height * width * 3 * torch.float32.itemsize)
        raise ValueError(
            f"{count} pose frames of {width}x{height} need {need} of memory, more than there is. Set width and height "
            "to those of Reconcile Conditions, or take fewer frames with max_frames."
        ) from error
    frames = draw_poses(clips, (width, height), style, node_callbacks())
    for image, frame in zip(itertools.chain.from_iterable(images), frames, strict=True):
        image.copy_(to_float(frame))
    return images


def overlay_image(photo: Tensor, alignment: Alignment) -> Tensor:
    """Return the photo at the alignment's size, with the skeleton over it, as IMAGE [1, H, W, 3]."""
    clip = alignment.clip
    pixels = to_uint8(fit_image(photo[:1], clip.width, clip.height)[0])
    return to_float(overlay(pixels, alignment))[None]
