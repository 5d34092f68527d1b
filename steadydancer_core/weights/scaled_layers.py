"""Scaled fp8 weights in layers that cannot compute with a scale: they are dequantized.

ComfyUI knows scaled weights in linear layers; convolutions would load without their scale. The pose stage is small and
sensitive: all of it is dequantized.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from .lazy_weights import lazy_tensor, read
from .safetensors_header import Entry

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
POSE_STAGE = ("condition_embedding_", "patch_embedding")
OLDER_MARKER = "scaled_fp8"
QUANTIZATION = "_quantization_metadata"  # the newer way without tensors: a table in the file's metadata
MAX_NOTE = 4096  # bytes of a tensor <layer>.comfy_quant, which holds a short text
SCALES = ("weight_scale", "scale_weight")
EXTRAS = (*SCALES, "comfy_quant", "input_scale", "scale_input", "weight_scale_2")


def unscale(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with float32 instead of scaled fp8 in the pose stage and in everything but linear layers."""
    out = dict(state_dict)
    for name, scale in _scales(state_dict).items():
        if state_dict[name].ndim != 2 or name.startswith(POSE_STAGE):
            out[name] = _product(state_dict[name], scale, torch.float32)
            _drop_scales(out, name)
    return out


def dequantize(state_dict: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the weights without any scaled fp8, for a device that cannot hold it; lazy, then of `dtype`."""
    out = {name: weight for name, weight in state_dict.items() if name != OLDER_MARKER}
    for name, scale in _scales(state_dict).items():
        weight = state_dict[name]
        out[name] = lazy_tensor(tuple(weight.shape), dtype, partial(_product, weight, scale, dtype))
        _drop_scales(out, name)
    return out


def scale_names(tensors: Mapping[str, Tensor | Entry]) -> dict[str, str]:
    """Return the name of the scale of each scaled fp8 weight by the weight's name."""
    fp8 = (name for name, weight in tensors.items() if name.endswith("weight") and weight.dtype in FP8)
    layers = {name: name.removesuffix("weight") for name in fp8}
    found = {name: [layer + key for key in SCALES if layer + key in tensors] for name, layer in layers.items()}
    return {name: keys[0] for name, keys in found.items() if keys}


def _scales(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: state_dict[scale] for name, scale in scale_names(state_dict).items()}


def _drop_scales(state_dict: dict[str, Tensor], name: str) -> None:
    for key in EXTRAS:
        state_dict.pop(name.removesuffix("weight") + key, None)


def _product(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return weight times its scale, which is one number or one for each output channel."""
    scale = scale.float()
    if scale.numel() > 1:
        scale = scale.reshape(-1, *[1] * (weight.ndim - 1))
    return (read(weight).float() * scale).to(dtype)
