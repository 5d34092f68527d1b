"""How a checkpoint stores its tensors: plain, or quantised in one of ComfyUI's ways.

The older way marks the file with a tensor `scaled_fp8` and gives a layer `scale_weight`; the newer one says it layer by
layer, in a tensor `<layer>.comfy_quant` or in the file's metadata, and calls the scale `weight_scale`.
"""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from .scaled_layers import MAX_NOTE, OLDER_MARKER, QUANTISATION
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
AGAIN = "Download it again, or convert the fp16 or bf16 file."


class Stored(NamedTuple):
    """A tensor of the source.

    name: upstream's; place: the source's; companions: places of the tensors that belong to it, by what they are;
    quantisation: the layer's entry in ComfyUI's per-layer format, if it is quantised.
    """

    name: str
    place: str
    info: TensorInfo
    companions: dict[str, str]
    quantisation: dict | None


def stored_tensors(source: WeightSource, names: Mapping[str, str]) -> list[Stored]:
    """Return the tensors of the source, without those that only say how others are stored.

    names: upstream's name of each wanted tensor -> its name in the source. Reads the few bytes of each comfy_quant.
    """
    layers = _companions_by_layer(names)
    claimed = {place for companions in layers.values() for place in companions.values()}
    marker = names.get(OLDER_MARKER)
    listed = _listed_layers(source)

    def stored(name: str, place: str) -> Stored:
        layer, _, part = name.rpartition(".")
        companions = layers.get(layer, {}) if part == "weight" else {}
        entry = listed.get(place.removesuffix(".weight"), listed.get(layer)) if part == "weight" else None
        quantisation = _quantisation(source, place, companions, entry, marker)
        return Stored(name, place, source.tensors[place], companions, quantisation)

    return [stored(*item) for item in names.items() if item[1] != marker and item[1] not in claimed]


def is_known(source: WeightSource, stored: Stored) -> bool:
    """Return whether the tensor's values can be told: floating-point numbers, plain or float8 with one scale."""
    scales = [math.prod(source.tensors[stored.companions[kind]].shape) for kind in SCALES if kind in stored.companions]
    if stored.quantisation is not None and FP8.get(stored.quantisation.get("format")) != stored.info.dtype:
        return False
    return stored.info.dtype.is_floating_point and all(numbers == 1 for numbers in scales)


def _companions_by_layer(names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    layers: dict[str, dict[str, str]] = {}
    for name, place in names.items():
        layer, _, part = name.rpartition(".")
        if part in COMPANIONS and f"{layer}.weight" in names:
            layers.setdefault(layer, {})[COMPANIONS[part]] = place
    return layers


def _listed_layers(source: WeightSource) -> dict[str, dict]:
    try:
        layers = dict(json.loads(source.metadata.get(QUANTISATION, "{}")).get("layers", {}).items())
        if not all(isinstance(entry, dict) for entry in layers.values()):
            raise ValueError("a layer's entry is not a table")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{source.title} is damaged: its metadata {QUANTISATION} cannot be read. {AGAIN}") from error
    return layers


def _quantisation(
    source: WeightSource, place: str, companions: Mapping[str, str], listed: dict | None, marker: str | None
) -> dict | None:
    if "comfy_quant" in companions:
        return _entry(source, companions["comfy_quant"])
    dtype = source.tensors[place].dtype
    if listed is not None or "weight_scale" not in companions or dtype not in FP8_NAMES:
        return listed
    two_numbers = marker is not None and math.prod(source.tensors[marker].shape) == 2  # no float8 matrix product
    return {"format": FP8_NAMES[dtype], **({"full_precision_matrix_mult": True} if two_numbers else {})}


def _entry(source: WeightSource, place: str) -> dict:
    if source.tensors[place].nbytes > MAX_NOTE:
        raise ValueError(f"{source.title} is damaged: {place} is longer than {MAX_NOTE} bytes. {AGAIN}")
    try:
        entry = json.loads(source.read(place).numpy().tobytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source.title} is damaged: {place} is not readable JSON. {AGAIN}") from error
    if not isinstance(entry, dict):
        raise ValueError(f"{source.title} is damaged: {place} is not a table. {AGAIN}")
    return entry
