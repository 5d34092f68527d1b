"""A checkpoint of any known format becomes ComfyUI's MODEL; precision, quantization and devices are ComfyUI's.

Weights are read while the model takes them; for dynamic VRAM ComfyUI gets the file's own mapping.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import comfy.memory_management
import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .checkpoint import check_file
from .lazy_weights import lazy_state_dict
from .scaled_layers import FP8, QUANTIZATION, dequantize, scale_names
from .weight_formats import Contents, fp8_inside

SIZE_MISMATCH = re.compile(r"size mismatch for (?:diffusion_model\.)?([\w.]+)")  # torch's words


def load_model(path: str | Path, model_options: Mapping | None = None, disable_dynamic: bool = False) -> ModelPatcher:
    """Return the SteadyDancer in a safetensors file or behind an index; model_options as comfy.sd takes them.

    ValueError if the file is not a whole SteadyDancer or if the device cannot hold its weights.
    """
    options = dict(model_options or {})
    contents = check_file(path)
    device = comfy.model_management.get_torch_device()
    check_device(contents, options.get("dtype"), device)
    weights = _read_weights(contents)
    metadata = _name_layers(contents, weights, with_fp8=supports_fp8(device))
    if not supports_fp8(device):
        weights = dequantize(weights, options.get("dtype") or torch.float16)
    try:
        patcher = comfy.sd.load_diffusion_model_state_dict(
            weights, model_options=options, metadata=metadata, disable_dynamic=disable_dynamic
        )
    except RuntimeError as error:
        layer = SIZE_MISMATCH.search(str(error))
        if layer is None:
            raise
        raise ValueError(
            f"{contents.title} has layers that do not fit together, such as {layer[1]}. The file was converted "
            "wrongly or belongs to another version of the model; download it again."
        ) from error
    if patcher is None:
        raise ValueError(
            f"{contents.title} has the names of SteadyDancer, but ComfyUI does not recognize its shapes. "
            "Download the file again, or update ComfyUI."
        )
    patcher.cached_patcher_init = (load_model, (path, options))
    return patcher


def check_device(contents: Contents, dtype: torch.dtype | None, device: torch.device) -> None:
    """Raise ValueError where `device` would have to hold fp8: in the file with dtype None, or as the dtype itself."""
    if supports_fp8(device):
        return
    inside = fp8_inside(contents)
    if inside:
        raise ValueError(
            f"{contents.title} holds layers as {', '.join(inside)}, and the device {device} cannot. "
            "Choose an fp16, bf16 or GGUF file of SteadyDancer-14B."
        )
    if dtype in FP8:
        raise ValueError(
            f"weight_precision is fp8, but the device {device} cannot hold fp8 numbers. Set weight_precision to fp16."
        )
    if dtype is None and any(info.dtype in FP8 for info in contents.weights.tensors.values()):
        raise ValueError(
            f"{contents.title} holds fp8 weights, and the device {device} cannot. Set weight_precision to fp16: the "
            "weights are then converted while they are loaded and take twice the size of the file. Or choose a GGUF "
            "file."
        )


def supports_fp8(device: torch.device) -> bool:
    """Return whether ComfyUI can keep fp8 weights on the device, whatever it computes in."""
    return all(comfy.model_management.supports_cast(device, dtype) for dtype in FP8)


def _read_weights(contents: Contents) -> dict[str, Tensor]:
    """Return the transformer's weights by official name: lazy, or as ComfyUI maps files for its dynamic VRAM."""
    if comfy.memory_management.aimdo_enabled:
        found = {}
        for path in contents.weights.paths:
            found |= comfy.utils.load_torch_file(str(path))
    else:
        found = lazy_state_dict(contents.weights, scale_names(contents.weights.tensors))
    return {ours: found[name] for name, ours in contents.official.items()}


def _name_layers(contents: Contents, weights: Mapping[str, Tensor], with_fp8: bool) -> dict[str, str]:
    """Return the file's metadata, its quantized layers under official names; with_fp8: those in fp8 as well."""
    metadata = dict(contents.weights.metadata)
    if QUANTIZATION not in metadata:
        return metadata
    table, layers = json.loads(metadata.pop(QUANTIZATION)), {}
    for name, row in table["layers"].items():
        weight = contents.official.get(f"{name}.weight", f"{name}.weight")
        if with_fp8 or weight not in weights or weights[weight].dtype not in FP8:
            layers[weight.removesuffix(".weight")] = row
    return {**metadata, QUANTIZATION: json.dumps({**table, "layers": layers})} if layers or with_fp8 else metadata
