"""Exact First Frame: the clip begins with the photo itself, and its distance from the generated frame is told."""

import math

from comfy_api.latest import io, ui

from ..steadydancer_core.first_frame import exact_first_frame, fitted_photo, psnr
from ..steadydancer_core.pixels import to_rgb


class SteadyDancerExactFirstFrame(io.ComfyNode):
    """Frame 0 becomes the photo, followed by a short cross-fade."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerExactFirstFrame",
            display_name="Exact First Frame",
            category="SteadyDancer/video",
            description=(
                "Replaces the clip's first frame by the photo itself and fades over to the generated frames. "
                "Also measures how close the generated first frame came to the photo (PSNR)."
            ),
            search_aliases=["psnr", "paste photo", "first frame"],
            inputs=[
                io.Image.Input("images", tooltip="The decoded clip, as VAE Decode gives it."),
                io.Image.Input("photo", tooltip="The photo the clip began with; it is resized as for the model."),
                io.Boolean.Input(
                    "enabled", default=True, tooltip="Off: the clip passes through unchanged and is only measured."
                ),
                io.Int.Input(
                    "crossfade", default=3, min=0, max=64,
                    tooltip="Over how many frames after the first the photo fades out. 0 is a hard cut.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images", tooltip="The clip, beginning with the photo."),
                io.Float.Output(
                    "psnr", display_name="psnr",
                    tooltip="PSNR of the generated first frame against the photo in dB, before the photo was put in.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, images, photo, enabled, crossfade) -> io.NodeOutput:
        decibels = psnr(to_rgb(images[:1])[0], fitted_photo(images, photo))
        out = exact_first_frame(images, photo, crossfade) if enabled else images
        return io.NodeOutput(out, decibels, ui=ui.PreviewText(_report(decibels, enabled, crossfade)))


def _report(decibels: float, enabled: bool, crossfade: int) -> str:
    value = "infinite, they are equal" if math.isinf(decibels) else f"{decibels:.2f} dB"
    after = f"the photo was put in, with a cross-fade over {crossfade} frames" if enabled else "the clip is unchanged"
    return f"PSNR of the generated frame 0 against the photo: {value}. Now {after}."


NODES = [SteadyDancerExactFirstFrame]
