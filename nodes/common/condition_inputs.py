"""The inputs that photo, poses and prompts come in by, for one clip and for a long video."""

from comfy_api.latest import io


def prompt_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", tooltip="What the video should show, from CLIP Text Encode."),
        io.Conditioning.Input("negative", tooltip="What the video should not show, from CLIP Text Encode."),
        io.Vae.Input("vae", tooltip="The Wan 2.1 VAE."),
    ]


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
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="CLIP vision model (clip_vision_h). Needed for the 14B model; the miniature runs without it.",
        ),
    ]


def frame_size_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            side,
            default=0,
            min=0,
            max=4096,
            step=16,
            tooltip=f"{side.capitalize()} in pixels, a multiple of 16. Both 0: the size of the pose frames. 0 for one "
            "side follows the photo's aspect ratio.",
        )
        for side in ("width", "height")
    ]
