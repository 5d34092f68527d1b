"""A video and its skeletons as one picture, made frame by frame: no second copy of the clip."""

import torch
from torch import Tensor

from .frame_source import FrameSource
from .frames import fit_image, size_of, to_rgb


class SideBySide:
    """The frames of `images` [F, H, W, C], each with that of `pose_frames` [F or more, h, w, C] to its right.

    Behaves as an IMAGE [F, H, 2 W, 3]; pose frames are fitted to the images. ValueError if there are too few.
    """

    def __init__(self, images: FrameSource, pose_frames: Tensor):
        self._images = to_rgb(images) if isinstance(images, Tensor) else images
        self._pose_frames = to_rgb(pose_frames)
        if len(pose_frames) < len(images):
            raise ValueError(
                f"There are {len(pose_frames)} pose_frames for {len(images)} images: each image needs its pose beside "
                "it. Connect the pose frames that the video was made from, or set show_pose to off."
            )
        width, height = size_of(self._images)
        self.shape = torch.Size((len(images), height, 2 * width, 3))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> Tensor:
        """Return frame `index` [H, 2 W, 3]."""
        frame = self._images[index]
        pose = fit_image(self._pose_frames[index][None], *size_of(self._images))[0]
        return torch.cat([frame, pose.to(frame)], dim=1)
