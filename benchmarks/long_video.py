"""Time and peak memory of a video in windows against one window of 81 frames, by the length of the video.

One step of a made-up model, windows of 81 frames with an overlap of 16. Memory is what is alive at its peak beside the
model; the whole clip's latent and conditions are part of it.
"""

import sys

import torch

from benchmarks.harness import conditions, made_up_model, timed
from benchmarks.memory import LiveBytes
from comfy_client.in_process import use_comfyui

FRAMES = (81, 149, 321)  # 1, 2 and 5 windows
WINDOW, OVERLAP, STEPS = 81, 16, 1
CELLS = 20  # latent rows and columns
CONFIG = {"dim": 1024, "ffn_dim": 2816, "layers": 2, "text_dim": 64}


def measure(model, frames: int) -> tuple[float, float]:
    """Return the seconds of sampling `frames` frames, and the MB alive at its peak beside the model."""
    from steadydancer_pack.steadydancer_core.sampling import run as sampling
    from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance

    conds = conditions(((frames - 1) // 4 + 1, CELLS, CELLS), CONFIG["text_dim"])
    guider = sampling.make_guider(model, conds, conds, None, 1.0, PoseGuidance(0.0))
    latent = {"samples": torch.zeros_like(conds[0][1]["pose_video_latent"])}
    with LiveBytes() as live:
        seconds, _ = timed(lambda: sampling.sample(guider, latent, 0, "official unipc", "official", STEPS))
    return seconds, live.peak / 1024**2


def main() -> None:
    use_comfyui()
    import comfy.utils

    from steadydancer_pack.steadydancer_core.long_video.windows import apply_windows

    comfy.utils.PROGRESS_BAR_ENABLED = False
    model, first = apply_windows(made_up_model(CONFIG, dtype=torch.float32), WINDOW, OVERLAP), None
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
