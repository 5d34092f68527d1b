"""What is done with the finished video: another frame rate, and driving video, pose and result beside each other."""

from itertools import islice

import torch
import torch.nn.functional as F
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import Input, io
from torch import Tensor

from ..media.frame_rate import nearest_frames, shown_frames
from ..media.frame_size import MODEL_FPS
from ..media.frames import size_of, to_float, to_rgb
from ..media.video_stream import open_video
from .common.node_text import show_text

CATEGORY = "SteadyDancer/video"
RATES = ("24", "30", "60")
LIKE_VIDEO = "driving video"


class ChangeFrameRate(io.ComfyNode):
    """IMAGE, interpolated or not, to IMAGE at another rate, as long as the clip was."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerFrameRate",
            display_name="Change Frame Rate",
            category=CATEGORY,
            description="Gives a video another frame rate at the same speed and length, so that the audio still fits. "
            "Put ComfyUI's Run Frame Interpolation Model before it for smooth motion.",
            search_aliases=["fps", "24 fps", "30 fps", "60 fps", "frame rate", "resample", "interpolation", "smooth"],
            inputs=[
                io.Image.Input("images", tooltip="The frames, from Run Frame Interpolation Model or as they are."),
                io.Float.Input(
                    "fps",
                    default=MODEL_FPS,
                    min=0.01,
                    max=240.0,
                    step=0.01,
                    tooltip="Frame rate before interpolation: that of Get Video Components, or 16.",
                ),
                io.Int.Input(
                    "multiplier",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="The multiplier set in Run Frame Interpolation Model. 1 = not interpolated.",
                ),
                io.Combo.Input(
                    "frame_rate",
                    options=[*RATES, LIKE_VIDEO],
                    default="30",
                    tooltip="Frames per second of the result. driving video: the frame rate of the connected video.",
                ),
                io.Video.Input(
                    "driving_video",
                    optional=True,
                    tooltip="The driving video; only its frame rate is read.",
                ),
            ],
            outputs=[
                io.Image.Output("frames", tooltip="The frames at the new rate."),
                io.Float.Output(id="new_fps", display_name="fps", tooltip="The new rate, for Video Combine."),
            ],
        )

    @classmethod
    def execute(
        cls, images: Tensor, fps: float, multiplier: int, frame_rate: str, driving_video: Input.Video | None = None
    ) -> io.NodeOutput:
        if frame_rate != LIKE_VIDEO:
            new_fps = float(frame_rate)
        elif driving_video is not None:
            new_fps = open_video(driving_video, fps=0).fps
        else:
            raise ValueError(
                "frame_rate is 'driving video', but nothing is connected to driving_video. Connect Load Video, or "
                f"choose one of: {', '.join(RATES)}."
            )
        chosen = nearest_frames(len(images), fps, multiplier, new_fps)
        text = f"{len(chosen)} frames at {new_fps:.5g} fps, {len(chosen) / new_fps:.2f} s"
        return io.NodeOutput(to_rgb(images)[chosen], new_fps, ui=show_text(text))


class SideBySideVideo(io.ComfyNode):
    """Driving video, pose frames and result as one IMAGE, at the times of the result."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSideBySide",
            display_name="Side by Side",
            category=CATEGORY,
            description="Puts the driving video and the pose frames to the left of the finished video, in step with "
            "it, to compare them.",
            search_aliases=["compare videos", "video stitch", "comparison", "split screen", "concatenate"],
            inputs=[
                io.Image.Input("images", tooltip="The finished video. Its height and length are kept."),
                io.Float.Input(
                    "fps",
                    default=MODEL_FPS,
                    min=0.01,
                    max=240.0,
                    step=0.01,
                    tooltip="Frame rate of the finished video.",
                ),
                io.Video.Input("driving_video", optional=True, tooltip="The driving video. Any size and frame rate."),
                io.Image.Input("pose_frames", optional=True, tooltip="The skeleton frames, from Poses From Video."),
                io.Float.Input(
                    "pose_fps",
                    default=MODEL_FPS,
                    min=0.01,
                    max=240.0,
                    step=0.01,
                    optional=True,
                    tooltip="Frame rate of the skeleton frames: 16, as Poses From Video makes them.",
                ),
            ],
            outputs=[io.Image.Output("frames", tooltip="Driving video, skeleton and result beside each other.")],
        )

    @classmethod
    def execute(
        cls,
        images: Tensor,
        fps: float,
        driving_video: Input.Video | None = None,
        pose_frames: Tensor | None = None,
        pose_fps: float = MODEL_FPS,
    ) -> io.NodeOutput:
        result, height = to_rgb(images), images.shape[1]
        panels = []
        if driving_video is not None:
            panels.append(_driving_frames(driving_video, fps, len(result), height))
        if pose_frames is not None:
            shown = shown_frames(len(result), fps, len(pose_frames), pose_fps)
            panels.append(_to_height(to_rgb(pose_frames), height)[shown])
        return io.NodeOutput(torch.cat([*(panel.to(result) for panel in panels), result], dim=2))


def _driving_frames(video: Input.Video, fps: float, count: int, height: int) -> Tensor:
    """Return the first `count` frames of a video at `fps`, [count, height, W, 3] in 0..1; the last one is held."""
    stream, frames = open_video(video, fps), []
    for pixels in islice(stream, count):
        throw_exception_if_processing_interrupted()
        frames.append(_to_height(to_float(stream.displayed(pixels).copy())[None], height))
    return torch.cat([*frames, *[frames[-1]] * (count - len(frames))])


def _to_height(images: Tensor, height: int) -> Tensor:
    """Return images [B, h, w, 3] in 0..1 at that height in their own aspect, an even number of pixels wide."""
    width, before = size_of(images)
    if before == height:
        return images
    size = height, max(2, 2 * round(width * height / before / 2))
    return F.interpolate(images.movedim(-1, 1).float(), size, mode="bilinear", antialias=True).movedim(1, -1)


NODES = [ChangeFrameRate, SideBySideVideo]
