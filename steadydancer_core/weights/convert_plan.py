"""What becomes of each tensor when a checkpoint is converted.

The matrices of the blocks take the wanted precision: they are nearly the whole model. The matrices of the embeddings
and the head stay in 16 bits. All else becomes float32, in which the model computes its pose stage. fp8_scaled is
ComfyUI's per-layer format: `<layer>.weight` in float8, `<layer>.weight_scale` (float32, the value of a stored 1) and
`<layer>.comfy_quant` (JSON as uint8). The scale is a power of two, so that undoing it rounds nothing in fp16 or bf16.
`full_precision_matrix_mult` keeps the layer's input, which has no scale, out of float8. The older way marks the file
with a tensor `scaled_fp8` and calls the scale `scale_weight`. int8_convrot: see convrot.py.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from . import convrot
from .convert_file import ALIGNMENT, Piece, Rows, UnfitWeights
from .safetensors_header import Entry
from .scaled_layers import MAX_NOTE, OLDER_MARKER, QUANTIZATION
from .weight_source import SafetensorsSource

EXACT = torch.float32
FP8_LARGEST = torch.finfo(torch.float8_e4m3fn).max
SMALLEST_SCALE = 2.0**-14  # the smallest normal number of fp16, in which ComfyUI may compute the layer
PART_ELEMENTS = 4 << 20  # converted at a time

BLOCK_MATRIX = re.compile(r"blocks\.\d+\.(self_attn|cross_attn|ffn)\.\w+\.weight")
OTHER_MATRIX = re.compile(r"(text_embedding|time_embedding|time_projection|img_emb|head)\..+\.weight")

FP8 = {"float8_e4m3fn": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
FP8_NAMES = {dtype: name for name, dtype in FP8.items()}
SCALES = ("weight_scale", "input_scale")
# What a layer's tensors beside weight and bias are called in files -> what they are.
COMPANIONS = {"scale_weight": "weight_scale", "scale_input": "input_scale"} | {n: n for n in (*SCALES, "comfy_quant")}
# A new layer's entry: float8 weights, with a product in the precision of its input.
WEIGHT_ONLY = {dtype: {"format": name, "full_precision_matrix_mult": True} for dtype, name in FP8_NAMES.items()}


Precision = tuple[torch.dtype, torch.dtype]  # of the matrices in the blocks and outside them
PRECISIONS: dict[str, Precision | None] = {
    "keep": None,
    "fp16": (torch.float16, torch.float16),
    "bf16": (torch.bfloat16, torch.bfloat16),
    "fp8_scaled": (torch.float8_e4m3fn, torch.float16),
    "int8_convrot": (torch.int8, torch.float16),
}


class Stored(NamedTuple):
    """A tensor of the source; companions: places by what they are; quantization: its per-layer entry, if any."""

    name: str
    place: str
    info: Entry
    companions: dict[str, str]
    quantization: dict | None


def plan(source: SafetensorsSource, names: Mapping[str, str], precision: str, errors: dict[str, float]) -> list[Piece]:
    """Return the pieces of the converted file, the widest dtypes first, then by name: shards and one file agree.

    names: upstream's name -> that in the source. errors: gets the relative error of each int8 layer, by its name, when
    it is written. ValueError for a tensor stored in a way that cannot be undone.
    """
    pieces = [_piece(source, stored, PRECISIONS[precision], errors) for stored in stored_tensors(source, names)]
    return sorted(pieces, key=_rank)


def _rank(piece: Piece) -> tuple[bool, int, str]:
    name, dtype, _ = piece.tensors[0]
    return len(piece.tensors) > 1, -dtype.itemsize, name


def target_dtype(name: str, shape: tuple[int, ...], precision: Precision) -> torch.dtype:
    """Return the dtype that a tensor takes in a precision other than keep."""
    if len(shape) != 2:
        return EXACT
    kinds = zip((BLOCK_MATRIX, OTHER_MATRIX), precision, strict=True)
    return next((dtype for kind, dtype in kinds if kind.fullmatch(name)), EXACT)


def _piece(source: SafetensorsSource, stored: Stored, precision: Precision | None, errors: dict[str, float]) -> Piece:
    if not is_known(source, stored):
        return _copied(source, stored, precision)
    # Kept, a tensor has its own dtype, unless it is scaled float8 where ComfyUI knows no scale.
    wanted = precision or (stored.info.dtype, stored.info.dtype)
    dtype = target_dtype(stored.name, stored.info.shape, wanted)
    stays_plain = precision is None and stored.quantization is None
    if stays_plain:
        dtype = stored.info.dtype
    if dtype == torch.int8:
        return _rotated_layer(source, stored, errors)
    if dtype not in FP8_NAMES or stays_plain:
        return Piece(((stored.name, dtype, stored.info.shape),), lambda: _converted(source, stored, dtype))
    if stored.info.dtype in FP8_NAMES:
        return _kept_layer(source, stored)
    return _layer(stored, dtype, (), WEIGHT_ONLY[dtype], lambda: _quantized(source, stored, dtype))


def _copied(source: SafetensorsSource, stored: Stored, precision: Precision | None) -> Piece:
    """A tensor of unknown meaning, and what belongs to it, as they are."""
    if precision is not None:
        kind = (stored.quantization or {}).get("format", stored.info.dtype)
        scale = source.tensors.get(stored.companions.get("weight_scale", ""))
        scaled = f" with a scale of shape {list(scale.shape)}" if scale and scale.shape else ""
        raise ValueError(
            f"{source.title} stores {stored.name} as {kind}{scaled}, which cannot be converted. "
            "Convert the fp16, bf16 or fp8_scaled file of the model instead, or choose the precision keep."
        )
    layer = stored.name.removesuffix(".weight")
    places = {stored.name: stored.place} | {f"{layer}.{kind}": place for kind, place in stored.companions.items()}
    tensors = [(name, *source.tensors[place][:2]) for name, place in places.items()]
    entry = [] if stored.quantization is None or "comfy_quant" in stored.companions else [_entry(stored.quantization)]
    tensors += [(f"{layer}.comfy_quant", torch.uint8, tuple(found.shape)) for found in entry]
    return Piece(tuple(tensors), lambda: chain(map(source.read, places.values()), entry))


def _kept_layer(source: SafetensorsSource, stored: Stored) -> Piece:
    """A layer that is float8 already: its values stay, its scales get the names and shapes of the per-layer format."""
    input_scale = stored.companions.get("input_scale")

    def rows() -> Iterator[Tensor]:
        yield source.read(stored.place)
        yield _scale(source, stored)
        if input_scale is not None:
            yield _number(source.read(input_scale))

    extra = () if input_scale is None else ("input_scale",)
    return _layer(stored, stored.info.dtype, extra, stored.quantization or WEIGHT_ONLY[stored.info.dtype], rows)


def _layer(stored: Stored, dtype: torch.dtype, extra: Sequence[str], quantization: Mapping, rows: Rows) -> Piece:
    """A layer in the per-layer format; its last tensor is filled up so that the next layer is aligned."""
    layer = stored.name.removesuffix(".weight")
    scales = [(f"{layer}.{kind}", torch.float32, ()) for kind in ("weight_scale", *extra)]
    entry = _entry(quantization, math.prod(stored.info.shape) + 4 * len(scales))
    said = (f"{layer}.comfy_quant", torch.uint8, tuple(entry.shape))
    return Piece(((stored.name, dtype, stored.info.shape), *scales, said), lambda: chain(rows(), [entry]))


def _rotated_layer(source: SafetensorsSource, stored: Stored, errors: dict[str, float]) -> Piece:
    """A layer in INT8 ConvRot, filled up as the others."""
    layer, (rows, columns) = stored.name.removesuffix(".weight"), stored.info.shape
    entry = _entry(convrot.note(columns), rows * columns + 4 * rows)
    tensors = (
        (stored.name, torch.int8, stored.info.shape),
        (f"{layer}.weight_scale", torch.float32, (rows, 1)),
        (f"{layer}.comfy_quant", torch.uint8, tuple(entry.shape)),
    )

    def values() -> Iterator[Tensor]:
        scale = _scale(source, stored)
        for part in source.read(stored.place).split(max(1, PART_ELEMENTS // columns)):
            true = part.float() * scale
            if not math.isfinite(_largest(true)):
                raise _unfit(stored.name, true, torch.int8)
            yield true

    def measured(error: float) -> None:
        errors[layer] = error

    group = convrot.group_size(columns)
    return Piece(tensors, lambda: chain(convrot.quantize(values(), group, measured), [entry]))


def _entry(quantization: Mapping, before: int = 0) -> Tensor:
    """Return the layer's comfy_quant: JSON as bytes, with spaces up to the alignment after `before` bytes."""
    text = json.dumps(quantization).encode()
    text += b" " * (-(before + len(text)) % ALIGNMENT)
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)


def _converted(source: SafetensorsSource, stored: Stored, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield the values of a tensor in parts, without their scale."""
    scale = _scale(source, stored) if "weight_scale" in stored.companions else None
    for part in _parts(source.read(stored.place)):
        if scale is None and part.dtype == dtype:
            yield part
            continue
        values = part.float() if scale is None else part.float() * scale
        result = values.to(dtype)
        if not math.isfinite(_largest(result)):
            raise _unfit(stored.name, values, dtype)
        yield result


def _quantized(source: SafetensorsSource, stored: Stored, dtype: torch.dtype) -> Iterator[Tensor]:
    """Yield the float8 values of a matrix in parts, then its scale."""
    matrix = source.read(stored.place)
    peaks = [_largest(part) for part in _parts(matrix)]
    if not all(map(math.isfinite, peaks)):
        raise _unfit(stored.name, matrix, dtype)
    scale = power_of_two_scale(max(peaks))
    for part in _parts(matrix):
        yield part.float().div_(scale).to(dtype)
    yield torch.tensor(scale, dtype=torch.float32, device="cpu")


def power_of_two_scale(largest: float) -> float:
    """Return the smallest power of two that brings values up to `largest` into float8 e4m3fn."""
    mantissa, exponent = math.frexp(largest / FP8_LARGEST)  # mantissa in [0.5, 1)
    return max(2.0 ** (exponent - (mantissa == 0.5)), SMALLEST_SCALE)


def _parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return the tensor's values in order as flat views."""
    return tensor.reshape(-1).split(PART_ELEMENTS)


def _scale(source: SafetensorsSource, stored: Stored) -> Tensor:
    place = stored.companions.get("weight_scale")
    if place is None:
        return torch.tensor(1.0, dtype=torch.float32, device="cpu")
    return _number(source.read(place))


def _number(tensor: Tensor) -> Tensor:
    return tensor.float().reshape(())


def _largest(values: Tensor) -> float:
    """Return the largest magnitude; NaN if there is one. Several times as fast as isfinite and abs."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return max(-low.item(), high.item())


def _unfit(name: str, values: Tensor, dtype: torch.dtype) -> UnfitWeights:
    largest = _largest(values)
    if not math.isfinite(largest):
        return UnfitWeights(
            f"{name} holds NaN or infinity: the source is damaged, and so would be the result. Download it again."
        )
    return UnfitWeights(
        f"{name} has values up to {largest:.6g}, above {torch.finfo(dtype).max:.6g}, the most that "
        f"{str(dtype).removeprefix('torch.')} holds. Choose bf16, which holds them."
    )


def stored_tensors(source: SafetensorsSource, names: Mapping[str, str]) -> list[Stored]:
    """Return the tensors of the source, without those that say how others are stored; reads each small comfy_quant."""
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


def is_known(source: SafetensorsSource, stored: Stored) -> bool:
    """Return whether the tensor's values are known: floating-point numbers, plain or float8 with one scale."""
    scales = [math.prod(source.tensors[stored.companions[kind]].shape) for kind in SCALES if kind in stored.companions]
    if stored.quantization is not None and FP8.get(stored.quantization.get("format")) != stored.info.dtype:
        return False
    return stored.info.dtype.is_floating_point and all(numbers == 1 for numbers in scales)


def _listed_layers(source: SafetensorsSource) -> dict[str, dict]:
    """Return the entries in the file's metadata by layer."""
    try:
        layers = dict(json.loads(source.metadata.get(QUANTIZATION, "{}")).get("layers", {}).items())
        if not all(isinstance(entry, dict) for entry in layers.values()):
            raise ValueError("a layer's entry is not a table")
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(source, f"its metadata {QUANTIZATION} cannot be read") from error
    return layers


def _quantization(
    source: SafetensorsSource, place: str, companions: Mapping[str, str], listed: dict | None, marker: str | None
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


def _damaged(source: SafetensorsSource, reason: str) -> ValueError:
    return ValueError(f"{source.title} is damaged: {reason}. Download it again, or convert the fp16 or bf16 file.")
