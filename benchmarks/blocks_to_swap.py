"""Step time and peak memory of SteadyDancer-14B with made-up weights in fp16, for several blocks_to_swap in one run.

Needs a graphics card and, for the size of the 14B model, 40 GB of memory; `--small` runs a little model of four blocks
on whatever is there and proves that the program works. ComfyUI's older way of streaming weights is measured, because
its dynamic VRAM is set up by its server only.

Run in the project's folder, with ComfyUI's Python: COMFYUI_PATH=... python -m benchmarks.blocks_to_swap [--small]
"""

import argparse
import itertools
import math
import statistics
import sys
import time
from typing import Any, NamedTuple

from comfy_client.in_process import use_comfyui

GB = 10**9
WHOLE = {"dim": 5120, "ffn_dim": 13824, "layers": 40, "text_dim": 4096}
SMALL = {"dim": 256, "ffn_dim": 512, "layers": 4, "text_dim": 64}
SIZES = {False: (21, 60, 104), True: (3, 8, 6)}  # latent frames, rows, columns: 480x832x81
STEPS = 4


class Row(NamedTuple):
    """One number of blocks: bytes of weights on the device, peak bytes there, seconds of a step."""

    blocks: int
    resident: int
    peak: int
    step: float


def made_up_model(config: dict[str, int]):
    """Return a MODEL whose weights keep the variance of what goes through them."""
    import comfy.sd
    import torch

    from steadydancer_pack.miniature.weights import steadydancer_shapes
    from steadydancer_pack.steadydancer_core.weights import detection

    detection.register()
    noise = torch.randn(1 << 24, generator=torch.Generator().manual_seed(0)).half()

    def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        flat = noise.repeat(-(-math.prod(shape) // len(noise)))[: math.prod(shape)].reshape(shape)
        if "norm" in name and name.endswith("weight"):
            return 1 + 0.01 * flat
        return flat * (math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.01)

    weights = {name: weight(name, shape) for name, shape in steadydancer_shapes(**config).items()}
    return comfy.sd.load_diffusion_model_state_dict(weights)


def measure(model, conds: list, blocks: int) -> tuple[Row, Any]:
    """Return the row of one run, and its latent."""
    import comfy.model_management
    import torch

    from steadydancer_pack.steadydancer_core.memory.residency import swap_blocks
    from steadydancer_pack.steadydancer_core.sampling import run as sampling
    from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance

    comfy.model_management.unload_all_models()
    times, on_gpu = [time.perf_counter()], torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    guider = sampling.make_guider(swap_blocks(model, blocks), conds, conds, None, 1.0, PoseGuidance(0.0))
    latent = torch.zeros_like(conds[0][1]["pose_video_latent"])
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))

    def stepped(*_) -> None:
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    sigmas = sampling.make_sigmas(model.get_model_object("model_sampling"), "euler", "simple", STEPS)
    found = guider.sample(noise, latent, sampling.make_solver("euler"), sigmas, callback=stepped, disable_pbar=True)
    seconds = [after - before for before, after in itertools.pairwise(times[1:])]  # the first step loads
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    resident = model.model.model_loaded_weight_memory
    return Row(blocks, resident, peak, statistics.median(seconds)), found


def main() -> int:
    """Print a table, one number of blocks a line; 1 where there is no graphics card for the whole model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.blocks_to_swap")
    parser.add_argument("--small", action="store_true", help="a little model on any device")
    small = parser.parse_args().small
    import torch

    use_comfyui(cpu=not torch.cuda.is_available())
    from benchmarks.long_video import conditions

    if not small and not torch.cuda.is_available():
        sys.stderr.write("No graphics card was found; --small runs without one.\n")
        return 1
    config = SMALL if small else WHOLE
    model, conds = made_up_model(config), conditions(SIZES[small], config["text_dim"])
    first = None
    sys.stdout.write("blocks  resident GB  peak GB  step s  times N = 0  difference to N = 0\n")
    for blocks in range(0, config["layers"] + 1, config["layers"] // 4):
        with torch.inference_mode():
            row, found = measure(model, conds, blocks)
        first = first or (row.step, found)
        error = ((found - first[1]).norm() / first[1].norm()).item()
        sys.stdout.write(
            f"{blocks:6d}  {row.resident / GB:11.2f}  {row.peak / GB:7.2f}  {row.step:6.2f}  "
            f"{row.step / first[0]:11.2f}  {error:.1e}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
