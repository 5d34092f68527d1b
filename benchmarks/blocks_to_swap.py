"""Step time and peak memory of SteadyDancer-14B with made-up weights in fp16, for several blocks_to_swap in one run.

Needs a graphics card and, for the size of the 14B model, 40 GB of memory; `--small` runs a little model of four blocks
on whatever is there and proves that the program works. ComfyUI's older way of streaming weights is measured, because
its dynamic VRAM is set up by its server only.
"""

import argparse
import statistics
import sys

import torch

from benchmarks.harness import CONFIG_14B, conditions, made_up_model, timed_steps
from comfy_client.in_process import use_comfyui
from steadydancer_pack.media.byte_size import GB

SMALL = {"dim": 256, "ffn_dim": 512, "layers": 4, "text_dim": 64}
SIZES = {False: (21, 60, 104), True: (3, 8, 6)}  # latent frames, rows, columns: 480x832x81
STEPS = 4


@torch.inference_mode()
def measure(model, conds: list, blocks: int) -> tuple[int, int, float, torch.Tensor]:
    """Return the bytes of weights on the device, the peak bytes there, the seconds of a step, and the latent."""
    import comfy.model_management

    from steadydancer_pack.steadydancer_core.memory.residency import swap_blocks
    from steadydancer_pack.steadydancer_core.sampling import run as sampling
    from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance

    comfy.model_management.unload_all_models()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    guider = sampling.make_guider(swap_blocks(model, blocks), conds, conds, None, 1.0, PoseGuidance(0.0))
    seconds, found = timed_steps(guider, torch.zeros_like(conds[0][1]["pose_video_latent"]), STEPS)
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    return model.model.model_loaded_weight_memory, peak, statistics.median(seconds), found


def main() -> int:
    """Print a table, one number of blocks a line; 1 where there is no graphics card for the whole model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blocks_to_swap")
    parser.add_argument("--small", action="store_true", help="a little model on any device")
    small = parser.parse_args().small
    use_comfyui(cpu=not torch.cuda.is_available())
    if not small and not torch.cuda.is_available():
        sys.stderr.write("No graphics card was found; --small runs without one.\n")
        return 1
    config = SMALL if small else CONFIG_14B
    model, conds = made_up_model(config), conditions(SIZES[small], config["text_dim"])
    first = None
    sys.stdout.write("blocks  resident GB  peak GB  step s  times N = 0  difference to N = 0\n")
    for blocks in range(0, config["layers"] + 1, config["layers"] // 4):
        resident, peak, step, found = measure(model, conds, blocks)
        first = first or (step, found)
        error = ((found - first[1]).norm() / first[1].norm()).item()
        sys.stdout.write(
            f"{blocks:6d}  {resident / GB:11.2f}  {peak / GB:7.2f}  {step:6.2f}  {step / first[0]:11.2f}  {error:.1e}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
