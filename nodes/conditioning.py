"""Conditions: photo, pose and prompt become what the sampler takes."""

from comfy_api.latest import io

from ..steadydancer_core.memory.fit import explain_out_of_memory
from ..steadydancer_core.sampling.conditions import reconcile
from .common.condition_inputs import frame_size_inputs, picture_inputs, pose_inputs, pose_sources, prompt_inputs
from .common.node_display import running_display
from .common.node_text import show_text
from .common.search_words import DANCE


class ReconcileConditions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerReconcileConditions",
            display_name="Reconcile Conditions",
            category="SteadyDancer/conditioning",
            description=(
                "Combines photo, pose frames and prompts. The photo is the first frame of the video; the pose frames "
                "drive the motion."
            ),
            search_aliases=["steadydancer to video", "wan image to video", "pose to video", *DANCE],
            inputs=[
                *prompt_inputs(),
                *picture_inputs(),
                io.ClipVisionOutput.Input(
                    "clip_vision_photo",
                    optional=True,
                    tooltip="CLIP vision output of the photo, if you already have one. Replaces the model.",
                ),
                io.ClipVisionOutput.Input(
                    "clip_vision_pose",
                    optional=True,
                    tooltip="CLIP vision output of the first pose frame, if you already have one. Replaces the model.",
                ),
                *frame_size_inputs(),
                io.Int.Input(
                    "length",
                    default=81,
                    min=1,
                    max=100001,
                    step=4,
                    tooltip="Number of frames, rounded down to 4n+1 and to the number of pose frames. 81 frames are 5 "
                    "seconds at the model's 16 frames per second.",
                ),
                *pose_inputs(),
            ],
            outputs=[
                io.Conditioning.Output(id="positive_out", display_name="positive", tooltip="Prompt and pose."),
                io.Conditioning.Output(id="negative_out", display_name="negative", tooltip="Negative prompt and pose."),
                io.Conditioning.Output(
                    id="pose_negative",
                    display_name="pose_negative",
                    tooltip="Prompt and distorted pose. Empty if no pose-negative frames are connected.",
                ),
                io.Latent.Output(
                    id="latent", display_name="latent", tooltip="Empty latent with the size of the video."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        positive,
        negative,
        vae,
        photo,
        width,
        height,
        length,
        clip_vision=None,
        clip_vision_photo=None,
        clip_vision_pose=None,
        **poses,
    ) -> io.NodeOutput:
        clip_outputs = clip_vision_photo, clip_vision_pose
        images = photo, *pose_sources("Reconcile Conditions", width, height, **poses)
        with running_display() as display, explain_out_of_memory():
            size = width, height, length
            result = reconcile(positive, negative, vae, *images, clip_vision, clip_outputs, *size, display)
        frames, rows, columns = result.latent["samples"].shape[2:]
        size = f"{columns * 8}x{rows * 8}, {frames * 4 - 3} frames"
        return io.NodeOutput(*result[:4], ui=show_text("\n".join([size, *result.notes])))


NODES = [ReconcileConditions]
