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
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from comfy_client.in_process import use_comfyui
from steadydancer_pack.comfy_client.process_memory import INTERVAL_SECONDS, PeakMemory
from steadydancer_pack.miniature.weights import Shape, steadydancer_shapes

GB = 10**9
CONFIG_14B = {"dim": 5120, "ffn_dim": 13824, "layers": 40, "text_dim": 4096}
FILE_NAME = "steadydancer_14b_made_up_fp8_scaled.safetensors"
LOADERS = ("stock", "pack")
PASS_SIZE = (2, 8, 8)  # latent frames, height, width
ALLOWANCE = 1 * GB  # above the size of the file
NAMES = {torch.float8_e4m3fn: "F8_E4M3", torch.float16: "F16", torch.float32: "F32"}
NOISE = 1 << 24  # numbers of made-up weights, repeated as often as a tensor needs


def layout() -> Iterator[tuple[str, Shape, torch.dtype]]:
    """Yield every tensor of the file: the older marker of scaled fp8, and a scale after each fp8 weight."""
    yield "scaled_fp8", (2,), torch.float8_e4m3fn
    for name, shape in steadydancer_shapes(**CONFIG_14B).items():
        scaled = name.startswith("blocks.") and name.endswith("weight") and len(shape) == 2
        yield name, shape, torch.float8_e4m3fn if scaled else torch.float16
        if scaled:
            yield name.replace(".weight", ".scale_weight"), (), torch.float32


def header(tensors: list[tuple[str, Shape, torch.dtype]]) -> bytes:
    """Return the head of a safetensors file: its length, then names, types, shapes and places."""
    entries, end = {}, 0
    for name, shape, dtype in tensors:
        start, end = end, end + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_checkpoint(path: Path) -> None:
    """Write the file piece by piece: matrices keep the variance of what goes through them, norms are near 1."""
    tensors = list(layout())
    noise = torch.randn(NOISE, generator=torch.Generator().manual_seed(0))
    pieces = {dtype: noise.clamp(-4, 4).to(dtype) for dtype in (torch.float8_e4m3fn, torch.float16)}
    with path.open("wb") as file:
        file.write(header(tensors))
        fan_in = 1
        for name, shape, dtype in tensors:
            if name.endswith("scale_weight"):
                file.write(torch.tensor(1 / math.sqrt(fan_in)).numpy().tobytes())
                continue
            fan_in = math.prod(shape[1:])
            for piece in _values(pieces[dtype], name, shape):
                file.write(piece.contiguous().view(torch.uint8).numpy().tobytes())


def _values(noise: torch.Tensor, name: str, shape: Shape) -> Iterator[torch.Tensor]:
    if noise.dtype == torch.float16:  # fp8 has its scale in the file
        near_one = "norm" in name and name.endswith("weight")
        noise = 1 + noise / 50 if near_one else noise / math.sqrt(math.prod(shape[1:]) * (1 if len(shape) > 1 else 400))
    left = math.prod(shape)
    while left > 0:
        yield noise[:left]
        left -= len(noise)


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
        watch, start = PeakMemory(os.getpid()), time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        time.sleep(2 * INTERVAL_SECONDS)
        watch.stop()
        results[stage] = {"peak": watch.peak, "seconds": seconds}
    return results


def one_pass(model) -> None:
    """Run the model once on noise; ArithmeticError if the result is not finite."""
    import comfy.model_management

    from benchmarks.memory_live import arguments

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
    path = Path(sys.argv[1], FILE_NAME)
    try:
        write_checkpoint(path)
        size = path.stat().st_size
        sys.stdout.write(f"The file: {size / GB:.2f} GB\nloader  stage  peak GB  seconds\n")
        return int(max(report(loader, path) for loader in LOADERS) > size + ALLOWANCE)
    finally:
        path.unlink(missing_ok=True)


def report(loader: str, path: Path) -> float:
    """Print the numbers of one way of loading and return by how many bytes loading made the process grow at most."""
    command = [sys.executable, "-m", "benchmarks.load_14b", loader, str(path)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = json.loads(lines[-1])
    for stage, values in found.items():
        sys.stdout.write(f"{loader:6}  {stage:5} {values['peak'] / GB:8.2f} {values['seconds']:8.0f}\n")
    return found["load"]["peak"] - found["start"]["peak"]


if __name__ == "__main__":
    sys.exit(main())
