"""How a checkpoint stores its tensors: plain, or quantized in one of ComfyUI's ways.

The older way marks the file with a tensor `scaled_fp8` and gives a layer `scale_weight`; the newer one says it layer by
layer, in a tensor `<layer>.comfy_quant` or in the file's metadata, and calls the scale `weight_scale`.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch

from .scaled_layers import MAX_NOTE, OLDER_MARKER, QUANTIZATION
from .weight_source import TensorInfo, WeightSource

FP8 = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
FP8_NAMES = {dtype: name for name, dtype in FP8.items()}
# What a layer's tensors beside weight and bias are called in files -> what they are.
COMPANIONS = {
    "weight_scale": "weight_scale", "scale_weight": "weight_scale",
    "input_scale": "input_scale", "scale_input": "input_scale",
    "comfy_quant": "comfy_quant",
}  # fmt: skip
SCALES = ("weight_scale", "input_scale")


class Stored(NamedTuple):
    """A tensor of the source.

    name: upstream's; place: the source's; companions: places of the tensors that belong to it, by what they are;
    quantization: the layer's entry in ComfyUI's per-layer format, if it is quantized.
    """

    name: str
    place: str
    info: TensorInfo
    companions: dict[str, str]
    quantization: dict | None


def stored_tensors(source: WeightSource, names: Mapping[str, str]) -> list[Stored]:
    """Return the tensors of the source, without those that only say how others are stored.

    names: upstream's name of each wanted tensor -> its name in the source. Reads the few bytes of each comfy_quant.
    """
    layers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, place in names.items():
        layer, _, part = name.rpartition(".")
        if part in COMPANIONS and f"{layer}.weight" in names:
            layers[layer][COMPANIONS[part]] = place
    marker, listed, found = names.get(OLDER_MARKER), _listed_layers(source), []
    claimed = {marker} | {place for companions in layers.values() for place in companions.values()}
    for name, place in names.items():
        if place not in claimed:
            layer, _, part = name.rpartition(".")
            companions = layers[layer] if part == "weight" else {}
            entry = listed.get(place.removesuffix(".weight"), listed.get(layer)) if part == "weight" else None
            quantization = _quantization(source, place, companions, entry, marker)
            found.append(Stored(name, place, source.tensors[place], companions, quantization))
    return found


def is_known(source: WeightSource, stored: Stored) -> bool:
    """Return whether the tensor's values are known: floating-point numbers, plain or float8 with one scale."""
    scales = [math.prod(source.tensors[stored.companions[kind]].shape) for kind in SCALES if kind in stored.companions]
    if stored.quantization is not None and FP8.get(stored.quantization.get("format")) != stored.info.dtype:
        return False
    return stored.info.dtype.is_floating_point and all(numbers == 1 for numbers in scales)


def _listed_layers(source: WeightSource) -> dict[str, dict]:
    """Return the entries in the file's metadata by layer."""
    try:
        layers = dict(json.loads(source.metadata.get(QUANTIZATION, "{}")).get("layers", {}).items())
        if not all(isinstance(entry, dict) for entry in layers.values()):
            raise ValueError("a layer's entry is not a table")
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(source, f"its metadata {QUANTIZATION} cannot be read") from error
    return layers


def _quantization(
    source: WeightSource, place: str, companions: Mapping[str, str], listed: dict | None, marker: str | None
) -> dict | None:
    """Return the entry of the layer whose weight is `place`, None if it is plain."""
    if "comfy_quant" in companions:
        note = companions["comfy_quant"]
        if source.tensors[note].nbytes > MAX_NOTE:
            raise _damaged(source, f"{note} is longer than {MAX_NOTE} bytes")
        try:
            entry = json.loads(source.read(note).numpy().tobytes())
        except (ValueError, RecursionError) as error:
            raise _damaged(source, f"{note} is not readable JSON") from error
        if not isinstance(entry, dict):
            raise _damaged(source, f"{note} is not a table")
        return entry
    dtype = source.tensors[place].dtype
    if listed is not None or "weight_scale" not in companions or dtype not in FP8_NAMES:
        return listed
    two_numbers = marker is not None and math.prod(source.tensors[marker].shape) == 2  # no float8 matrix product
    return {"format": FP8_NAMES[dtype], **({"full_precision_matrix_mult": True} if two_numbers else {})}


def _damaged(source: WeightSource, reason: str) -> ValueError:
    return ValueError(f"{source.title} is damaged: {reason}. Download it again, or convert the fp16 or bf16 file.")
