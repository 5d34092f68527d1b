"""Pose frames and the overlay as IMAGE, for the nodes that draw them or take poses in their place."""

from collections.abc import Sequence

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from torch import Tensor

from ...dwpose.draw import OFFICIAL, Style
from ...dwpose.edit.align import Alignment, overlay
from ...dwpose.pipeline import Callbacks, draw_poses, drawing_size
from ...dwpose.poses import PoseClip
from ...media.byte_size import size_text
from ...media.frames import fit_image, to_float, to_uint8
from .pose_detection import node_callbacks

INTERRUPTED = Callbacks(progress=lambda _done, _total: throw_exception_if_processing_interrupted())


def draw_images(clips: list[PoseClip], width: int, height: int, style: Style = OFFICIAL) -> list[Tensor]:
    """Return each clip's frames as IMAGE [F, H, W, 3], with progress over all; see `drawing_size`.

    ValueError also if there is not enough memory.
    """
    return _draw(clips, drawing_size(clips, width, height), style, node_callbacks())


class DrawnFrames:
    """The frames of `clip` as a FrameSource of `size` (width, height): drawn whenever they are taken, none is kept."""

    def __init__(self, clip: PoseClip, size: tuple[int, int]):
        self._clip, self._size = clip, size
        self.shape = torch.Size((clip.frames, size[1], size[0], 3))

    def __len__(self) -> int:
        return self._clip.frames

    def __getitem__(self, frames: slice | list[int], /) -> Tensor:
        """Return these frames as IMAGE, those of `draw_images` bit for bit."""
        (drawn,) = _draw([self._clip.at(frames)], self._size, OFFICIAL, INTERRUPTED)
        return drawn


def drawn_when_taken(clips: list[PoseClip], width: int, height: int) -> list[DrawnFrames]:
    """Return each clip's frames at the size of `draw_images`; ValueError as `drawing_size`."""
    size = drawing_size(clips, width, height)
    return [DrawnFrames(clip, size) for clip in clips]


def _draw(clips: Sequence[PoseClip], size: tuple[int, int], style: Style, callbacks: Callbacks) -> list[Tensor]:
    width, height = size
    try:
        return [torch.from_numpy(frames) for frames in draw_poses(clips, size, style, callbacks)]
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
