"""Loading: a SteadyDancer file in any format becomes a stock MODEL."""

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..steadydancer_core.memory.residency import swap_blocks
from ..steadydancer_core.weights.checkpoint import check_file
from ..steadydancer_core.weights.loading import load_model
from ..steadydancer_core.weights.weight_formats import GGUF_SUFFIX, describe
from .common.miniature_note import miniature_note
from .common.node_text import show_text
from .common.steadydancer_files import FOLDERS, GGUF_LOADER, find_model_file, model_files

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
        return io.Schema(
            node_id="SteadyDancerLoadModel",
            display_name="Load SteadyDancer Model",
            category="SteadyDancer/loaders",
            description=(
                "Loads SteadyDancer from models/diffusion_models in any format, checks that it is complete and "
                "reports what it is. The result is a stock MODEL: LoRAs, block patches and samplers work on it."
            ),
            search_aliases=["steadydancer", "load diffusion model", "wan", "gguf", "fp8", "shards", "block swap"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=model_files(),
                    tooltip="SteadyDancer in models/diffusion_models: .safetensors, .gguf, or the .index.json of a "
                    "sharded model.",
                ),
                io.Combo.Input(
                    "weight_precision",
                    options=list(PRECISIONS),
                    default="default",
                    tooltip="Precision of the weights in memory. 'default' keeps the file's precision. fp8 needs half "
                    "the memory of fp16 and costs a little quality. GGUF files keep their own.",
                ),
                io.Int.Input(
                    "blocks_to_swap",
                    default=0,
                    min=0,
                    max=100,
                    optional=True,
                    tooltip="How many of the 40 blocks stay in system RAM and are streamed in when needed. 0 = "
                    "automatic. Raise it if VRAM runs out.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="SteadyDancer as a stock MODEL."),
                io.String.Output("report", tooltip="Precision, number of tensors, size and key names of the file."),
            ],
        )

    @classmethod
    def execute(cls, model_name: str, weight_precision: str, blocks_to_swap: int = 0) -> io.NodeOutput:
        _, path = find_model_file(model_name)
        path = path or folder_paths.get_full_path_or_raise(FOLDERS[0], model_name)
        report = describe(check_file(path))
        if model_name.lower().endswith(GGUF_SUFFIX):
            model = _load_gguf(model_name, weight_precision)
        else:
            model = load_model(path, PRECISIONS[weight_precision])
        report = "\n".join([report, *miniature_note(model)])
        if blocks_to_swap:
            model = swap_blocks(model, blocks_to_swap)
        return io.NodeOutput(model, report, ui=show_text(report))


def _load_gguf(name: str, weight_precision: str) -> ModelPatcher:
    """Load through the node of ComfyUI-GGUF; ValueError if that pack is absent."""
    import nodes  # ComfyUI's own, complete only when all packs are loaded

    if weight_precision != "default":
        raise ValueError(
            f"weight_precision is {weight_precision}, but {name} is a GGUF file, which keeps its own precision. Set "
            "weight_precision to default."
        )
    loader = nodes.NODE_CLASS_MAPPINGS.get(GGUF_LOADER)
    if loader is None:
        raise ValueError(
            f"{name} is a GGUF file; ComfyUI reads these with the pack ComfyUI-GGUF, which is not installed. Install "
            "ComfyUI-GGUF through ComfyUI-Manager and restart, or choose a .safetensors file."
        )
    if folder_paths.get_full_path("diffusion_models", name) is None:
        raise ValueError(f"ComfyUI-GGUF looks for {name} in models/diffusion_models only. Move the file there.")
    return getattr(loader(), loader.FUNCTION)(unet_name=name)[0]


NODES = [LoadModel]
