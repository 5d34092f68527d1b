"""Loading: a SteadyDancer file in any format becomes a stock MODEL."""

import re

import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io

from ..steadydancer_core.memory.residency import swap_blocks
from ..steadydancer_core.weights.checkpoint import check_file
from ..steadydancer_core.weights.loading import load_model
from ..steadydancer_core.weights.weight_formats import GGUF_SUFFIX, describe
from ..steadydancer_core.weights.weight_source import INDEX_SUFFIX, SHARD, SUFFIXES
from .common.node_text import show_text

PRECISIONS = {
    "default": {},
    "fp16": {"dtype": torch.float16},
    "bf16": {"dtype": torch.bfloat16},
    "fp32": {"dtype": torch.float32},
    "fp8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "fp8_e4m3fn_fast": {"dtype": torch.float8_e4m3fn, "fp8_optimizations": True},
    "fp8_e5m2": {"dtype": torch.float8_e5m2},
}
FOLDERS = ("diffusion_models", "unet_gguf")
GGUF_LOADER = "UnetLoaderGGUF"


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
            inputs=_inputs(),
            outputs=[
                io.Model.Output(display_name="model", tooltip="SteadyDancer as a stock MODEL."),
                io.String.Output("report", tooltip="Precision, number of tensors, size and key names of the file."),
            ],
        )

    @classmethod
    def execute(cls, model_name: str, weight_precision: str, blocks_to_swap: int = 0) -> io.NodeOutput:
        path = _path_of(model_name)
        report = describe(check_file(path))
        load = _load_gguf if model_name.lower().endswith(GGUF_SUFFIX) else _load_safetensors
        model = load(model_name, path, weight_precision)
        if blocks_to_swap:
            model = swap_blocks(model, blocks_to_swap)
        return io.NodeOutput(model, report, ui=show_text(report))


def _inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "model_name", options=model_files(),
            tooltip="SteadyDancer in models/diffusion_models: .safetensors, .gguf, or the .index.json of a sharded "
            "model.",
        ),
        io.Combo.Input(
            "weight_precision", options=list(PRECISIONS), default="default",
            tooltip="Precision of the weights in memory. 'default' keeps the file's precision. fp8 needs half the "
            "memory of fp16 and costs a little quality. GGUF files keep their own.",
        ),
        io.Int.Input(
            "blocks_to_swap", default=0, min=0, max=100, optional=True,
            tooltip="How many of the 40 blocks stay in system RAM and are streamed in when needed. 0 = automatic. "
            "Raise it if VRAM runs out.",
        ),
    ]  # fmt: skip


def model_files() -> list[str]:
    """Return the names of the files that may be a SteadyDancer; of a model in several files, the index alone.

    ComfyUI's own list of these folders leaves out GGUF files and indexes.
    """
    known = [folder for folder in FOLDERS if folder in folder_paths.folder_names_and_paths]
    places = {place for folder in known for place in folder_paths.get_folder_paths(folder)}
    names = {name for place in places for name in folder_paths.recursive_search(place, [".git"])[0]}
    indexed = {_folder_of(name) for name in names if name.lower().endswith(INDEX_SUFFIX)}
    hidden = {name for name in names if SHARD.search(name) and _folder_of(name) in indexed}
    kinds = (*SUFFIXES, GGUF_SUFFIX, INDEX_SUFFIX)
    return sorted(name for name in names - hidden if name.lower().endswith(kinds))


def _folder_of(name: str) -> str:
    return re.sub(r"[^/\\]*$", "", name)


def _path_of(name: str) -> str:
    paths = (folder_paths.get_full_path(folder, name) for folder in FOLDERS)
    path = next((path for path in paths if path), None)
    return path or folder_paths.get_full_path_or_raise(FOLDERS[0], name)


def _load_safetensors(_name: str, path: str, weight_precision: str) -> ModelPatcher:
    return load_model(path, PRECISIONS[weight_precision])


def _load_gguf(name: str, _path: str, weight_precision: str) -> ModelPatcher:
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
