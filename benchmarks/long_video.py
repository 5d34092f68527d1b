"""Time and peak memory of a video in windows against one window of 81 frames, by the length of the video.

Run in the project's folder, with ComfyUI's Python: COMFYUI_PATH=... python -m benchmarks.long_video
Each length runs in a process of its own: one step of a made-up model, windows of 81 frames with an overlap of 16.
"""

import resource
import subprocess
import sys
import time

FRAMES = (81, 149, 321)  # 1, 2 and 5 windows
WINDOW, OVERLAP, STEPS = 81, 16, 1
CELLS = 20  # latent rows and columns
CONFIG = {"dim": 1024, "ffn_dim": 2816, "layers": 2, "text_dim": 64}


def measure(frames: int) -> tuple[float, float]:
    """Return the seconds of sampling `frames` frames, and its peak memory above the loaded model in MB."""
    from tools.in_process import use_comfyui

    use_comfyui()
    import comfy.sd
    import torch

    from miniature.weights import steadydancer_state_dict
    from steadydancer_core import detection, sampling
    from steadydancer_core.guidance import PoseGuidance
    from steadydancer_core.long_video import windows

    detection.register()
    model = comfy.sd.load_diffusion_model_state_dict(
        steadydancer_state_dict(**CONFIG), model_options={"dtype": torch.float32}
    )
    model = windows.apply_windows(model, WINDOW, OVERLAP)
    conds = conditions(((frames - 1) // 4 + 1, CELLS, CELLS), CONFIG["text_dim"])
    before, start = peak_memory(), time.perf_counter()
    guider = sampling.make_guider(model, conds, conds, None, 1.0, PoseGuidance(0.0))
    latent = {"samples": torch.zeros_like(conds[0][1]["pose_video_latent"])}
    sampling.sample(guider, latent, 0, "official unipc", "official", STEPS)
    return time.perf_counter() - start, peak_memory() - before


def conditions(size: tuple[int, int, int], text_dim: int) -> list:
    """Return one made-up conditioning for a clip of `size`: latent frames, rows, columns."""
    import comfy.clip_vision
    import torch

    torch.manual_seed(0)
    features = comfy.clip_vision.Output()
    features.penultimate_hidden_states = torch.randn(1, 257, 1280)
    latent = torch.randn(1, 16, *size)
    mask = torch.ones(1, 1, *size)
    mask[:, :, 0] = 0
    values = {
        "concat_latent_image": latent, "concat_mask": mask, "pose_video_latent": latent,
        "reference_pose_latent": latent[:, :, :1], "clip_vision_output": features, "pose_clip_vision_output": features,
    }  # fmt: skip
    return [[torch.randn(1, 512, text_dim), values]]


def peak_memory() -> float:
    """Return the peak of this process's resident memory in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a table, one length a line, with ratios to the first."""
    if len(sys.argv) == 2:
        sys.stdout.write("{} {}\n".format(*measure(int(sys.argv[1]))))
        return
    first = None
    for frames in FRAMES:
        command = [sys.executable, "-m", "benchmarks.long_video", str(frames)]
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        seconds, megabytes = map(float, line.split())
        first = first or (seconds, megabytes)
        sys.stdout.write(
            f"{frames} frames: {seconds:.1f} s ({seconds / first[0]:.2f} x), "
            f"{megabytes:.0f} MB above the model ({megabytes / first[1]:.2f} x)\n"
        )


if __name__ == "__main__":
    main()
