"""The weight precisions of Load SteadyDancer Model: each loads, and stays as near to float32 as its rounding allows."""

from pathlib import Path

import folder_paths
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.nodes.model import PRECISIONS, LoadModel
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.steadydancer_core.weights import detection

# Relative error of one guided step against float32 weights: mantissas of 23, 10, 7, 3 and 2 bits.
BOUNDS = {
    **{"default": 0.0, "fp32": 0.0, "fp16": 2e-3, "bf16": 1e-2},
    **{"fp8_e4m3fn": 0.15, "fp8_e4m3fn_fast": 0.15, "fp8_e5m2": 0.3},
}


@pytest.fixture(scope="module")
def model_name():
    detection.register()
    folder = Path(folder_paths.models_dir, "diffusion_models")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(steadydancer_state_dict(), folder / "precisions.safetensors")
    return "precisions.safetensors"


@torch.inference_mode()
def one_step(model, conds, inputs):
    guider = make_guider(model, *conds, text_guidance=5.0, guidance=PoseGuidance(1.0, 0.0, 0.9))
    return sample(guider, inputs.empty(), 0, "official euler", "official", 2)["samples"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precision(model_name, conds, inputs, precision):
    want = one_step(LoadModel.execute(model_name, "fp32").result[0], conds, inputs)
    found = one_step(LoadModel.execute(model_name, precision).result[0], conds, inputs)
    error = ((found - want).norm() / want.norm()).item()
    print(f"{precision}: {error:.1e}")  # noqa: T201
    assert error <= BOUNDS[precision]
