"""What fp8_scaled and int8_convrot of the converter cost in accuracy and, of a layer, in time to convert.

    python -m benchmarks.precisions

Layers: matrices of the shapes of SteadyDancer-14B's blocks with made-up weights, a 256th of whose columns is 20 times
as large, and inputs with such columns too, as those of trained transformers; the relative error of the layer's output
against float32. Velocity: of the golden model (made-up weights) and of the shipped miniature, whose file is fp8
already, at every evaluation of a guided run, relative to the velocity in the source's own weights.
"""

import logging
import statistics
import sys
import tempfile
from pathlib import Path

from comfy_client.in_process import use_comfyui

use_comfyui()

# isort: split
import comfy.model_management
import comfy.sd
import torch
from comfy_kitchen.tensor import QuantizedTensor, TensorWiseINT8Layout
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.golden_model import GOLDEN_CONFIG, GoldenInputs, make_conditions
from benchmarks.harness import timed
from steadydancer_pack.miniature import shipped
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.steadydancer_core.weights import convrot, detection
from steadydancer_pack.steadydancer_core.weights.convert import convert
from steadydancer_pack.steadydancer_core.weights.convert_plan import power_of_two_scale
from steadydancer_pack.steadydancer_core.weights.weight_source import open_weights

SHAPES = {"attention": (5120, 5120), "ffn.0": (13824, 5120), "ffn.2": (5120, 13824)}
TOKENS, OUTLIERS, LARGE = 64, 256, 20.0
PRECISIONS = ("fp8_scaled", "int8_convrot")
STEPS = 4


def made_up_layer(rows: int, columns: int, with_outliers: bool) -> tuple[Tensor, Tensor]:
    """Return a weight [rows, columns] and inputs [TOKENS, columns] in float32."""
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(rows, columns, generator=draw) * columns**-0.5
    inputs = torch.randn(TOKENS, columns, generator=draw)
    if with_outliers:
        for values in (weight, inputs):
            values[:, torch.randperm(columns, generator=draw)[: columns // OUTLIERS]] *= LARGE
    return weight, inputs


def layer_outputs(weight: Tensor, inputs: Tensor) -> tuple[dict[str, Tensor], float]:
    """Return what a layer makes of the inputs in each precision, and the seconds of rotating and rounding it."""
    scale = power_of_two_scale(weight.abs().max().item())
    fp8 = (weight / scale).to(torch.float8_e4m3fn).float() * scale
    group = convrot.group_size(weight.shape[1])
    seconds, (stored, scales) = timed(lambda: list(convrot.quantize(iter([weight]), group, lambda _: None)))
    params = TensorWiseINT8Layout.Params(
        scale=scales, orig_dtype=torch.float32, orig_shape=tuple(weight.shape), convrot=True, convrot_groupsize=group
    )
    int8 = QuantizedTensor(stored, "TensorWiseINT8Layout", params)
    outputs = (torch.nn.functional.linear(inputs, layer) for layer in (fp8, int8))
    return dict(zip(PRECISIONS, outputs, strict=True)), seconds


def relative(found: Tensor, true: Tensor) -> float:
    return ((found - true).norm() / true.norm()).item()


def velocity_errors(source: Path, folder: Path) -> dict[str, float]:
    """Return the mean relative error of the velocity in each precision, at every evaluation of one guided run."""
    plain = comfy.sd.load_diffusion_model(str(source), model_options={"dtype": torch.float32})
    calls = []

    def call(apply_model, args):
        found = apply_model(args["input"], args["timestep"], **args["c"])
        calls.append((args, found))
        return found

    watched = plain.clone()
    watched.set_model_unet_function_wrapper(call)
    inputs = GoldenInputs()
    guider = make_guider(
        watched, *make_conditions(plain, inputs), text_guidance=5.0, guidance=PoseGuidance(1.0, 0.0, 0.9)
    )
    sample(guider, inputs.empty(), 0, "official euler", "official", STEPS)
    errors = {}
    for precision in PRECISIONS:
        target = convert(open_weights(source), folder / f"{source.stem}_{precision}.safetensors", precision).path
        model = comfy.sd.load_diffusion_model(str(target))
        comfy.model_management.load_models_gpu([model])
        found = [
            (args, true, model.model.apply_model(args["input"], args["timestep"], **args["c"])) for args, true in calls
        ]
        # Denoised is x - sigma v, so both velocities are compared by their distance from x.
        errors[precision] = statistics.fmean(
            relative(args["input"] - out, args["input"] - true) for args, true, out in found
        )
    return errors


@torch.inference_mode()
def main() -> None:
    logging.disable(logging.WARNING)
    detection.register()
    sys.stdout.write("| | fp8_scaled | int8_convrot | Seconds to convert to int8_convrot |\n|---|---|---|---|\n")
    for name, (rows, columns) in SHAPES.items():
        for with_outliers in (False, True):
            weight, inputs = made_up_layer(rows, columns, with_outliers)
            outputs, seconds = layer_outputs(weight, inputs)
            true = torch.nn.functional.linear(inputs, weight)
            row = " | ".join(f"{relative(outputs[precision], true):.2%}" for precision in PRECISIONS)
            kind = "with outliers" if with_outliers else "normal"
            sys.stdout.write(f"| {name} {rows}x{columns}, {kind} | {row} | {seconds:.1f} |\n")
            sys.stdout.flush()
    with tempfile.TemporaryDirectory() as place:
        golden = Path(place, "golden.safetensors")
        save_file(steadydancer_state_dict(**GOLDEN_CONFIG), golden)
        for name, source in (("golden model", golden), ("miniature", shipped("steadydancer_miniature.safetensors"))):
            errors = velocity_errors(Path(source), Path(place))
            row = " | ".join(f"{errors[precision]:.2%}" for precision in PRECISIONS)
            sys.stdout.write(f"| {name}, velocity | {row} | |\n")


if __name__ == "__main__":
    main()
