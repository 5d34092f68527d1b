"""The decoded clip meets the photo again: measure frame 0, and replace it when asked."""

from comfy_api.latest import Input, io
from torch import Tensor

from ..media.frames import to_rgb
from ..steadydancer_core.long_video.first_frame import exact_first_frame, fit_photo, psnr
from .common.frames_video import connected_clip, video_instead
from .common.node_text import show_text


class ExactFirstFrame(io.ComfyNode):
    """IMAGE and photo to IMAGE whose first frame is the photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerExactFirstFrame",
            display_name="Exact First Frame",
            category="SteadyDancer/video",
            description=(
                "Measures how close frame 0 is to the photo, then replaces it with the photo and cross-fades to avoid "
                "a jump."
            ),
            search_aliases=["psnr", "paste first frame", "cross-fade"],
            inputs=_inputs(),
            outputs=[
                io.Image.Output(id="images_out", display_name="images", tooltip="The frames, starting with the photo."),
                io.Float.Output(
                    id="psnr", display_name="psnr",
                    tooltip="PSNR in dB of the generated frame 0 against the photo, before it is replaced. Higher is "
                    "closer.",
                ),
                io.Video.Output(id="video_out", display_name="video", tooltip="The same, if video is connected."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        images: Tensor | None = None,
        photo: Tensor | None = None,
        enabled: bool = True,
        crossfade: int = 3,
        video: Input.Video | None = None,
    ) -> io.NodeOutput:
        clip = connected_clip("Exact First Frame", images, video)
        if photo is None:
            raise ValueError("Exact First Frame has no photo connected. Connect the photo the video was made from.")
        frames = clip.frames
        fitted = fit_photo(frames[:1], photo)
        decibels = psnr(to_rgb(frames[:1])[0], fitted)
        text = "The photo was not pasted."
        if enabled:
            frames = exact_first_frame(frames, photo, crossfade)
            blended = min(crossfade, len(frames) - 1)
            text = f"The photo was pasted onto frame 0 and blended into the next {blended} frames."
        text = f"PSNR of frame 0 against the photo: {decibels:.2f} dB\n{text}"
        images_out, video_out = clip.outputs(frames, clip.audio)
        return io.NodeOutput(images_out, decibels, video_out, ui=show_text(text))


def _inputs() -> list[io.Input]:
    return [
        io.Image.Input("images", optional=True, tooltip="The decoded frames of the video. Or connect video."),
        io.Image.Input(
            "photo",
            optional=True,  # or it would come before images, and a bypassed node would pass it on
            tooltip="The photo the video was made from. It is resized to the frames. If there are several images, the "
            "first is used.",
        ),
        io.Boolean.Input(
            "enabled", default=True, label_on="paste the photo", label_off="measure only",
            tooltip="Replace frame 0 with the photo, or only measure and pass the frames through.",
        ),
        io.Int.Input(
            "crossfade", default=3, min=0, max=1000,
            tooltip="Number of frames after the first that fade from the photo to the generated video. 0 = no "
            "cross-fade.",
        ),
        video_instead(),
    ]  # fmt: skip


NODES = [ExactFirstFrame]
