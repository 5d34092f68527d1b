"""Time and peak memory of a video in windows against one window of 81 frames, by the length of the video.

Run in the project's folder, with ComfyUI's Python: COMFYUI_PATH=... python -m benchmarks.long_video
One step of a made-up model, windows of 81 frames with an overlap of 16. Memory is what is alive at its peak beside the
model; the whole clip's latent and conditions are part of it.
"""

import sys
import time
from typing import Any

from comfy_client.in_process import use_comfyui

FRAMES = (81, 149, 321)  # 1, 2 and 5 windows
WINDOW, OVERLAP, STEPS = 81, 16, 1
CELLS = 20  # latent rows and columns
CONFIG: dict[str, Any] = {"dim": 1024, "ffn_dim": 2816, "layers": 2, "text_dim": 64}


def windowed_model():
    """Return a made-up MODEL that samples in windows."""
    import comfy.sd
    import torch

    from steadydancer_pack.miniature.weights import steadydancer_state_dict
    from steadydancer_pack.steadydancer_core.long_video import windows
    from steadydancer_pack.steadydancer_core.weights import detection

    detection.register()
    weights = steadydancer_state_dict(**CONFIG)
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float32})
    return windows.apply_windows(model, WINDOW, OVERLAP)


def measure(model, frames: int) -> tuple[float, float]:
    """Return the seconds of sampling `frames` frames, and the MB alive at its peak beside the model."""
    import torch

    from benchmarks.memory_live import LiveBytes
    from steadydancer_pack.steadydancer_core.sampling import run as sampling
    from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance

    conds = conditions(((frames - 1) // 4 + 1, CELLS, CELLS), CONFIG["text_dim"])
    guider = sampling.make_guider(model, conds, conds, None, 1.0, PoseGuidance(0.0))
    latent = {"samples": torch.zeros_like(conds[0][1]["pose_video_latent"])}
    start = time.perf_counter()
    with LiveBytes() as live:
        sampling.sample(guider, latent, 0, "official unipc", "official", STEPS)
    return time.perf_counter() - start, live.peak / 1024**2


def conditions(size: tuple[int, int, int], text_dim: int) -> list:
    """Return one made-up conditioning for a clip of `size`: latent frames, rows, columns."""
    import comfy.clip_vision
    import torch

    torch.manual_seed(0)
    features = comfy.clip_vision.Output()
    features["penultimate_hidden_states"] = torch.randn(1, 257, 1280)
    latent = torch.randn(1, 16, *size)
    mask = torch.ones(1, 1, *size)
    mask[:, :, 0] = 0
    values = {
        "concat_latent_image": latent, "concat_mask": mask, "pose_video_latent": latent,
        "reference_pose_latent": latent[:, :, :1], "clip_vision_output": features, "pose_clip_vision_output": features,
    }  # fmt: skip
    return [[torch.randn(1, 512, text_dim), values]]


def main() -> None:
    """Print a table, one length a line, with ratios to the first."""
    use_comfyui()
    import comfy.utils

    comfy.utils.PROGRESS_BAR_ENABLED = False
    model, first = windowed_model(), None
    measure(model, FRAMES[0])  # the first run sets things up
    for frames in FRAMES:
        seconds, megabytes = measure(model, frames)
        first = first or (seconds, megabytes)
        sys.stdout.write(
            f"{frames} frames: {seconds:.1f} s ({seconds / first[0]:.2f} x), "
            f"{megabytes:.0f} MB beside the model ({megabytes / first[1]:.2f} x)\n"
        )


if __name__ == "__main__":
    main()
