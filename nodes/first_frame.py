"""The decoded clip meets the photo again: measure frame 0, and replace it when asked."""

from comfy_api.latest import io
from torch import Tensor

from ..media.frames import to_rgb
from ..steadydancer_core.long_video.first_frame import exact_first_frame, fit_photo, psnr
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
                "Measures how near the first frame came to the photo, then makes it exactly the photo, blended into "
                "the next frames so that no step is seen."
            ),
            search_aliases=["psnr", "paste first frame", "cross-fade"],
            inputs=_inputs(),
            outputs=[
                io.Image.Output(id="images_out", display_name="images", tooltip="The frames, from the photo on."),
                io.Float.Output(
                    id="psnr", display_name="psnr",
                    tooltip="PSNR in dB of the generated frame 0 against the photo, before pasting. Higher is nearer.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, images: Tensor, photo: Tensor, enabled: bool = True, crossfade: int = 3) -> io.NodeOutput:
        fitted = fit_photo(images, photo)
        decibels = psnr(to_rgb(images[:1])[0], fitted)
        result = exact_first_frame(images, photo, crossfade) if enabled else images
        text = [
            f"PSNR of frame 0 against the photo: {decibels:.2f} dB",
            _what_was_done(len(images), enabled, crossfade),
        ]
        return io.NodeOutput(result, decibels, ui=show_text("\n".join(text)))


def _inputs() -> list[io.Input]:
    return [
        io.Image.Input("images", tooltip="The decoded frames of the video."),
        io.Image.Input(
            "photo",
            tooltip="The photo that the video was made from. It is brought to the size of the frames; of "
            "several images the first is taken.",
        ),
        io.Boolean.Input(
            "enabled", default=True, label_on="paste the photo", label_off="measure only",
            tooltip="Paste the photo, or only measure and hand the frames on as they are.",
        ),
        io.Int.Input(
            "crossfade", default=3, min=0, max=1000,
            tooltip="Frames after the first that blend from the photo to what was generated. 0: none.",
        ),
    ]  # fmt: skip


def _what_was_done(frames: int, enabled: bool, crossfade: int) -> str:
    if not enabled:
        return "The photo was not pasted."
    return f"The photo was pasted onto frame 0 and blended into the next {min(crossfade, frames - 1)} frames."


NODES = [ExactFirstFrame]
