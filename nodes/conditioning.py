"""Conditions: photo, pose and prompt become what the sampler takes."""

from comfy_api.latest import io

from ..steadydancer_core.memory.fit import explain_out_of_memory
from ..steadydancer_core.sampling.conditions import reconcile
from .common.node_text import show_text


class ReconcileConditions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerReconcileConditions",
            display_name="Reconcile Conditions",
            category="SteadyDancer/conditioning",
            description=(
                "Combines photo, pose frames and prompts. The photo is the first frame of the video; the pose frames "
                "say how the person moves."
            ),
            search_aliases=["steadydancer to video", "wan image to video", "pose to video"],
            inputs=[*prompt_inputs(), *picture_inputs(), *clip_inputs(), *size_inputs()],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls, positive, negative, vae, photo, pose_frames, width, height, length,
        pose_negative_frames=None, clip_vision=None, clip_vision_photo=None, clip_vision_pose=None,
    ) -> io.NodeOutput:  # fmt: skip
        with explain_out_of_memory():
            result = reconcile(
                positive, negative, vae, photo, pose_frames, pose_negative_frames,
                clip_vision, (clip_vision_photo, clip_vision_pose), width, height, length,
            )  # fmt: skip
        return io.NodeOutput(*result[:4], ui=show_text(describe(result)))


def prompt_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", tooltip="What the video should show, from CLIP Text Encode."),
        io.Conditioning.Input("negative", tooltip="What the video should not show, from CLIP Text Encode."),
        io.Vae.Input("vae", tooltip="The Wan 2.1 VAE."),
    ]  # fmt: skip


def picture_inputs() -> list[io.Input]:
    return [
        io.Image.Input("photo", tooltip="Photo of the person to animate. The video starts from this photo."),
        io.Image.Input(
            "pose_frames",
            tooltip="Skeleton frames, aligned to the photo and in its aspect ratio. At least 5.",
        ),
        io.Image.Input(
            "pose_negative_frames",
            optional=True,
            tooltip="The same skeleton, distorted: its size and width change from frame to frame. Pose guidance "
            "pushes away from it. Leave it unconnected only if pose guidance is 0.",
        ),
    ]  # fmt: skip


def clip_inputs() -> list[io.Input]:
    return [
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="CLIP vision model (clip_vision_h). Needed for the 14B model; the miniature runs without it.",
        ),
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
    ]  # fmt: skip


def size_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "width", default=0, min=0, max=4096, step=16,
            tooltip="Width in pixels, a multiple of 16. 0 follows the photo's aspect ratio; both 0: the area of "
            "1024x576.",
        ),
        io.Int.Input(
            "height", default=0, min=0, max=4096, step=16,
            tooltip="Height in pixels, a multiple of 16. 0 follows the photo's aspect ratio; both 0: the area of "
            "1024x576.",
        ),
        io.Int.Input(
            "length", default=81, min=1, max=100001, step=4,
            tooltip="Number of frames, rounded down to 4n+1 and to the number of pose frames. 81 frames are 5 seconds "
            "at the model's 16 frames per second.",
        ),
    ]  # fmt: skip


def _outputs() -> list[io.Output]:
    return [
        io.Conditioning.Output(id="positive_out", display_name="positive", tooltip="Prompt and pose."),
        io.Conditioning.Output(id="negative_out", display_name="negative", tooltip="Negative prompt and pose."),
        io.Conditioning.Output(
            id="pose_negative", display_name="pose_negative",
            tooltip="Prompt and distorted pose. Empty if no pose-negative frames are connected.",
        ),
        io.Latent.Output(id="latent", display_name="latent", tooltip="Empty latent with the size of the video."),
    ]  # fmt: skip


def describe(result) -> str:
    """Return the clip's size and what was decided, for the node's face."""
    frames, height, width = result.latent["samples"].shape[2:]
    return "\n".join([f"{width * 8}x{height * 8}, {frames * 4 - 3} frames", *result.notes])


NODES = [ReconcileConditions]
