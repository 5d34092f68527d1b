"""A prompt of its own for some frames of the video, such as those in which a person shows the back."""

from comfy_api.latest import io

from ..steadydancer_core.sampling.frame_prompts import add_prompt, parse_frames


class PromptForFrames(io.ComfyNode):
    """Two CONDITIONINGs to one that changes with the frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerPromptForFrames",
            display_name="Prompt for Frames",
            category="SteadyDancer/conditioning",
            description=(
                "Gives some frames of the video another prompt, for example those that show a back. Chain it for more "
                "prompts. Works in one piece, in windows and in chunks."
            ),
            search_aliases=["prompt travel", "prompt schedule", "prompt per frame", "back view", "turn"],
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The prompt of all other frames."),
                io.Conditioning.Input("frames_conditioning", tooltip="The whole prompt of these frames."),
                io.String.Input(
                    "frames",
                    default="",
                    tooltip="Frames of the video from 0, such as 41-58, 90-97; 120- lasts to the end. Write them, or "
                    "connect frames of Turns. Empty: the first prompt for all frames.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    id="conditioning_out",
                    display_name="conditioning",
                    tooltip="Connect to positive of Reconcile Conditions or of SteadyDancer Sampler (any length).",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, frames: str | None = None) -> bool | str:
        try:
            parse_frames(frames or "")
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, conditioning: list, frames_conditioning: list, frames: str) -> io.NodeOutput:
        return io.NodeOutput(add_prompt(conditioning, frames_conditioning, parse_frames(frames)))


NODES = [PromptForFrames]
