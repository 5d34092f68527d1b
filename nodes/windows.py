"""Long videos: sampling in windows, and how much the seams show."""

from comfy_api.latest import Input, io
from torch import Tensor

from ..media.frames import to_rgb
from ..steadydancer_core.long_video.seams import describe, seam_scores
from ..steadydancer_core.long_video.windows import apply_windows, window_borders
from .common.frames_video import connected_clip, video_instead
from .common.node_text import show_text

CATEGORY = "SteadyDancer/long video"


def _window_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "window", default=81, min=5, max=100001, step=4,
            tooltip="Frames sampled together. The model was trained on 81. Fewer frames need less memory.",
        ),
        io.Int.Input(
            "overlap", default=16, min=0, max=100001, step=4,
            tooltip="Frames that neighboring windows share and blend. More is smoother and slower.",
        ),
    ]  # fmt: skip


class LongVideoWindows(io.ComfyNode):
    """MODEL to MODEL that samples in windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerLongVideoWindows",
            display_name="Long Video (Windows)",
            category=CATEGORY,
            description=(
                "Samples a video of any length in overlapping windows, one at a time, blended where they meet, all "
                "with the same photo and first pose. The published method for videos over 5 seconds."
            ),
            search_aliases=["context windows", "freenoise", "sliding window", "longer than 81 frames"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer."),
                *_window_inputs(),
                io.Boolean.Input(
                    "freenoise", default=True,
                    tooltip="Later windows start from the shuffled noise of the first one, so that appearance and "
                    "background stay consistent. Off: each window has its own noise.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="SteadyDancer that samples in windows.")],
        )  # fmt: skip

    @classmethod
    def execute(cls, model, window: int, overlap: int, freenoise: bool) -> io.NodeOutput:
        return io.NodeOutput(apply_windows(model, window, overlap, freenoise))


class SeamReport(io.ComfyNode):
    """IMAGE to a score for each border between windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSeamReport",
            display_name="Seam Report",
            category=CATEGORY,
            description="Reports how visible each border between two windows is in the finished frames.",
            search_aliases=["context windows", "jump", "flicker"],
            inputs=[
                io.Image.Input("images", optional=True, tooltip="The decoded frames of the video. Or connect video."),
                *_window_inputs(),
                video_instead(),
            ],
            outputs=[
                io.Image.Output(id="images_out", display_name="images", tooltip="The frames, unchanged."),
                io.String.Output(id="report", display_name="report", tooltip="One line for each border."),
                io.Video.Output(
                    id="video_out", display_name="video", tooltip="The video, unchanged, if it is connected."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, images: Tensor | None = None, window: int = 81, overlap: int = 16, video: Input.Video | None = None
    ) -> io.NodeOutput:
        clip = connected_clip("Seam Report", images, video)
        borders, reach = window_borders(len(clip.frames), window, overlap)
        frames = to_rgb(clip.frames) if isinstance(clip.frames, Tensor) else clip.frames
        report = describe(seam_scores(frames, borders, reach))
        images_out, video_out = clip.outputs(clip.frames, clip.audio)
        return io.NodeOutput(images_out, report, video_out, ui=show_text(report))


NODES = [LongVideoWindows, SeamReport]
