"""Memory and time of loading a SteadyDancer-14B file in scaled fp8 on the CPU, and of one small pass.

The file is made up: the shapes of SteadyDancer-14B, the weights of the blocks' linear layers in float8_e4m3fn with a
scale each, the rest in float16, 16.6 GB. It is written piece by piece and deleted at the end. Two ways of loading, each
in a process of its own: ComfyUI's 'Load Diffusion Model' and this pack's loader.

Memory is that of the process, with the pages of the checkpoint that the system can drop again. The first line of a way
is the process before it loads, Python with torch and ComfyUI; the allowance counts from there. Run in the project's
folder, with ComfyUI's Python:

    COMFYUI_PATH=... python -m benchmarks.load_14b FOLDER
"""

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.harness import CONFIG_14B, in_fresh_process, noise, scaled, timed
from comfy_client.in_process import use_comfyui
from steadydancer_pack.comfy_client.process_memory import INTERVAL_SECONDS, PeakMemory
from steadydancer_pack.media.byte_size import GB
from steadydancer_pack.miniature.weights import Shape, steadydancer_shapes
from steadydancer_pack.steadydancer_core.weights.convert_file import Piece, write_safetensors

FILE_NAME = "steadydancer_14b_made_up_fp8_scaled.safetensors"
LOADERS = ("stock", "pack")
PASS_SIZE = (2, 8, 8)  # latent frames, height, width
ALLOWANCE = 1 * GB  # above the size of the file
FP8 = torch.float8_e4m3fn


def pieces() -> Iterator[Piece]:
    """Yield every tensor of the file: the older marker of scaled fp8, and a scale after each fp8 weight."""
    values = noise().clamp(-4, 4)
    half, fp8 = values.half(), values.to(FP8)
    yield Piece((("scaled_fp8", FP8, (2,)),), lambda: [fp8[:2]])
    for name, shape in steadydancer_shapes(**CONFIG_14B).items():
        if name.startswith("blocks.") and name.endswith("weight") and len(shape) == 2:
            scale = name.replace(".weight", ".scale_weight"), torch.float32, ()
            yield Piece(((name, FP8, shape), scale), partial(rows, fp8, name, shape))
        else:
            yield Piece(((name, torch.float16, shape),), partial(rows, half, name, shape))


def rows(values: torch.Tensor, name: str, shape: Shape) -> Iterator[torch.Tensor]:
    """Yield the values of a weight, and the scale of one in fp8."""
    if values.dtype != FP8:
        values = scaled(values, name, shape)
    left = math.prod(shape)
    while left > 0:
        yield values[:left]
        left -= len(values)
    if values.dtype == FP8:
        yield torch.tensor(shape[1] ** -0.5)


@torch.inference_mode()  # as ComfyUI runs its nodes
def measure(loader: str, path: Path) -> dict[str, dict[str, float]]:
    """Return peaks in bytes and seconds of this process before it loads the file, of loading and of one pass."""
    use_comfyui()
    import comfy.sd

    from steadydancer_pack.steadydancer_core.weights import detection, loading

    detection.register()
    load = {"stock": comfy.sd.load_diffusion_model, "pack": loading.load_model}[loader]
    results, models = {}, []
    stages = {
        "start": lambda: None,
        "load": lambda: models.append(load(str(path))),
        "pass": lambda: one_pass(models[0]),
    }
    for stage, run in stages.items():
        watch = PeakMemory(os.getpid())
        seconds, _ = timed(run)
        time.sleep(2 * INTERVAL_SECONDS)
        watch.stop()
        results[stage] = {"peak": watch.peak, "seconds": seconds}
    return results


def one_pass(model) -> None:
    """Run the model once on noise; ArithmeticError if the result is not finite."""
    import comfy.model_management

    from benchmarks.memory import arguments

    comfy.model_management.load_models_gpu([model])
    inputs = arguments(1, PASS_SIZE, model.model.get_dtype_inference(), "cpu")
    draw = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(tensor.shape, generator=draw).to(tensor.dtype) for name, tensor in inputs.items()}
    output = model.model.diffusion_model(**{**inputs, "timestep": torch.tensor([500.0])})
    if not output.isfinite().all():
        raise ArithmeticError("The pass gave numbers that are not finite.")


def main() -> int:
    """Write the file into the folder of the command line, measure both loaders, delete it; 1 above the allowance."""
    if len(sys.argv) == 3:
        sys.stdout.write(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))) + "\n")
        return 0
    folder = Path(sys.argv[1])
    path = folder / FILE_NAME
    try:
        size = write_safetensors(path, list(pieces()), {}, FILE_NAME).nbytes
        sys.stdout.write(f"The file: {size / GB:.2f} GB\nloader  stage  peak GB  seconds\n")
        return int(max(report(loader, path) for loader in LOADERS) > size + ALLOWANCE)
    finally:
        for file in folder.glob(f"{FILE_NAME}*"):  # also what is left where the writing was stopped
            file.unlink()


def report(loader: str, path: Path) -> float:
    """Print the numbers of one way of loading and return by how many bytes loading made the process grow at most."""
    found = in_fresh_process("load_14b", loader, str(path))
    for stage, values in found.items():
        sys.stdout.write(f"{loader:6}  {stage:5} {values['peak'] / GB:8.2f} {values['seconds']:8.0f}\n")
    return found["load"]["peak"] - found["start"]["peak"]


if __name__ == "__main__":
    sys.exit(main())
