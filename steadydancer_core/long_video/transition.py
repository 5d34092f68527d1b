"""A finished clip that a long video continues: its last frames are the known ones of the first chunk."""

from torch import Tensor

from ...media.frame_size import MAX_ASPECT_DIFFERENCE, aspect_difference, valid_length
from ...media.frame_source import FrameSource
from ...media.frames import fit_image, size_of


def transition_frames(clip: FrameSource, overlap: int, width: int, height: int) -> Tensor:
    """Return the last `overlap` frames of `clip` [F, H, W, C] in 0..1 as RGB [overlap, height, width, 3] in 0..1.

    overlap: 4n+1. ValueError: the clip has fewer frames, or another shape than the video of width x height pixels.
    """
    frames, found = len(clip), size_of(clip)
    if frames == 0:
        raise ValueError("The transition video is empty. Connect the finished clip to continue, or nothing.")
    if frames < overlap:
        raise ValueError(
            f"The transition video has {frames} frame(s), but the first chunk continues from its last {overlap}. "
            f"Connect a longer clip, or set overlap to {valid_length(frames)}."
        )
    if aspect_difference(found, (width, height)) > MAX_ASPECT_DIFFERENCE:
        raise ValueError(
            f"The transition video is {found[0]}x{found[1]} but the new video is {width}x{height}: the shapes differ. "
            "Crop the clip to the photo's shape, or use the photo that the clip was made from."
        )
    return fit_image(clip[frames - overlap :], width, height).float().clamp(0, 1)
