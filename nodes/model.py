"""Loading: a SteadyDancer file becomes a stock MODEL."""

import comfy.sd
import folder_paths
import torch
from comfy_api.latest import io

from ..steadydancer_core import checkpoint

PRECISIONS = {
    "default": {},
    "fp16": {"dtype": torch.float16},
    "bf16": {"dtype": torch.bfloat16},
    "fp32": {"dtype": torch.float32},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}


class LoadModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = [f for f in folder_paths.get_filename_list("diffusion_models") if f.endswith(checkpoint.SUFFIXES)]
        return io.Schema(
            node_id="SteadyDancerLoadModel",
            display_name="Load SteadyDancer Model",
            category="SteadyDancer/loaders",
            description=(
                "Loads a SteadyDancer file from models/diffusion_models and checks that it is one. The result is a "
                "stock MODEL: LoRA, block patches and samplers work on it. 'Load Diffusion Model' loads the same model."
            ),
            search_aliases=["steadydancer", "load diffusion model", "wan"],
            inputs=[
                io.Combo.Input(
                    "model_name", options=files, tooltip="SteadyDancer file (.safetensors) in models/diffusion_models."
                ),
                io.Combo.Input(
                    "weight_precision",
                    options=list(PRECISIONS),
                    default="default",
                    tooltip="Precision of the weights in memory. 'default' keeps that of the file; fp8 halves the "
                    "memory of fp16 and costs a little quality.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="SteadyDancer as a stock MODEL.")],
        )

    @classmethod
    def execute(cls, model_name: str, weight_precision: str) -> io.NodeOutput:
        path = folder_paths.get_full_path_or_raise("diffusion_models", model_name)
        checkpoint.check_file(path)
        return io.NodeOutput(comfy.sd.load_diffusion_model(path, model_options=dict(PRECISIONS[weight_precision])))


NODES = [LoadModel]
