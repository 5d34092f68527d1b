"""Model files as others publish them, written from made-up weights: every precision, layout and set of names."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from steadydancer_pack.steadydancer_core.weights.weight_names import IN_BLOCK, OUTSIDE

StateDict = dict[str, Tensor]
INDEX = "diffusion_pytorch_model.safetensors.index.json"
FP8, FP8_MAX = torch.float8_e4m3fn, 448.0
GGUF_TYPES = {"F32": (0, torch.float32), "F16": (1, torch.float16)}
Q8_0, Q8_BLOCK = 8, 32


def cast(weights: StateDict, dtype: torch.dtype) -> StateDict:
    return {name: weight.to(dtype) for name, weight in weights.items()}


def to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight in fp8, its largest value at fp8's largest, and the scale that undoes it."""
    scale = weight.abs().max().float().clamp(min=1e-12) / FP8_MAX
    return (weight / scale).to(FP8), scale


def scaled(weights: StateDict, layers: Callable[[str, Tensor], bool], key: str) -> StateDict:
    """Return the weights in float16, those of the chosen layers in fp8 with their scale under `key`."""
    out = cast(weights, torch.float16)
    for name, weight in weights.items():
        if name.endswith(".weight") and layers(name, weight):
            out[name], out[name.removesuffix("weight") + key] = to_fp8(weight)
    return out


def unscaled(weights: StateDict) -> StateDict:
    """Return the weights of a per-layer fp8 file in float32, without scales and markers; others as they are."""
    scales = {name: weights.get(f"{name}_scale", torch.ones(())) for name in weights}
    markers = (".weight_scale", ".comfy_quant")
    return {name: weight.float() * scales[name] for name, weight in weights.items() if not name.endswith(markers)}


def in_blocks(name: str, weight: Tensor) -> bool:
    return name.startswith("blocks.") and weight.ndim == 2


def anything(name: str, weight: Tensor) -> bool:
    return weight.ndim > 1


def older_marker(weights: StateDict, layers=in_blocks, plain_matmul: int = 2) -> StateDict:
    return {"scaled_fp8": torch.zeros(plain_matmul, dtype=FP8), **scaled(weights, layers, "scale_weight")}


def per_layer(weights: StateDict) -> StateDict:
    """Return scaled weights with a comfy_quant tensor for each layer."""
    out = scaled(weights, in_blocks, "weight_scale")
    row = torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)
    layers = [name.removesuffix("weight_scale") for name in out if name.endswith("weight_scale")]
    return out | {f"{layer}comfy_quant": row.clone() for layer in layers}


def layer_metadata(weights: StateDict) -> dict[str, str]:
    """Return the metadata that stands for comfy_quant tensors."""
    layers = [name.removesuffix(".weight_scale") for name in weights if name.endswith("weight_scale")]
    table = {"format_version": "1.0", "layers": {layer: {"format": "float8_e4m3fn"} for layer in layers}}
    return {"_quantization_metadata": json.dumps(table)}


def diffusers(weights: StateDict) -> StateDict:
    """Return the weights under the names of diffusers."""
    tables = {ours: theirs for theirs, ours in OUTSIDE.items()}, {ours: theirs for theirs, ours in IN_BLOCK.items()}

    def renamed(name: str) -> str:
        in_block = name.startswith("blocks.")
        head, rest = name.split(".", 2)[:2] if in_block else [], name.split(".", 2)[2] if in_block else name
        for ours, theirs in tables[in_block].items():
            if rest == ours or rest.startswith(f"{ours}."):
                rest = theirs + rest[len(ours) :]
                break
        return ".".join([*head, rest])

    return {renamed(name): weight for name, weight in weights.items()}


def prefixed(weights: StateDict, prefix: str = "model.diffusion_model.") -> StateDict:
    return {prefix + name: weight for name, weight in weights.items()}


def write_shards(folder: Path, weights: StateDict, parts: int = 3) -> Path:
    """Write the weights in several files, as the official folder has them, and return their index."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(weights)
    place = {
        name: f"model-{i * parts // len(names) + 1:05d}-of-{parts:05d}.safetensors" for i, name in enumerate(names)
    }
    for file in sorted(set(place.values())):
        save_file({name: weights[name] for name in names if place[name] == file}, folder / file, {"format": "pt"})
    size = sum(weight.nbytes for weight in weights.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": place}))
    return folder / INDEX


def write_gguf(path: Path, weights: StateDict, kind: str = "F16", facts: dict[str, str | int] | None = None) -> Path:
    """Write a GGUF file: convolutions and small tensors as F32, matrices as `kind` (F16 or Q8_0)."""
    facts = {"general.architecture": "wan", **(facts or {})}
    rows, blobs, offset = [], [], 0
    for name, weight in weights.items():
        number, data = _packed(weight, kind if weight.ndim == 2 and weight.shape[-1] % Q8_BLOCK == 0 else "F32")
        shape = struct.pack(f"<I{weight.ndim}Q", weight.ndim, *reversed(weight.shape))
        rows.append(_text(name) + shape + struct.pack("<IQ", number, offset))
        blobs.append(data + bytes(-len(data) % 32))
        offset += len(blobs[-1])
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(rows), len(facts))
    head += b"".join(_text(key) + _fact(value) for key, value in facts.items()) + b"".join(rows)
    path.write_bytes(head + bytes(-len(head) % 32) + b"".join(blobs))
    return path


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _fact(value: str | int) -> bytes:
    return struct.pack("<I", 8) + _text(value) if isinstance(value, str) else struct.pack("<II", 4, value)


def _packed(weight: Tensor, kind: str) -> tuple[int, bytes]:
    if kind in GGUF_TYPES:
        number, dtype = GGUF_TYPES[kind]
        return number, weight.to(dtype).contiguous().numpy().tobytes()
    blocks = weight.float().reshape(-1, Q8_BLOCK)
    scale = (blocks.abs().amax(1, keepdim=True) / 127).half()
    numbers = (blocks / scale.float().clamp(min=1e-12)).round().clamp(-127, 127).to(torch.int8)
    return Q8_0, torch.cat([scale.view(torch.int8), numbers], 1).numpy().tobytes()


def read_gguf(path: Path) -> StateDict:
    """Return the weights in a file of `write_gguf`, in float32."""
    from steadydancer_pack.steadydancer_core.weights.gguf_header import read_gguf_header

    header, data = read_gguf_header(path), path.read_bytes()
    padded = [tensor.nbytes + -tensor.nbytes % 32 for tensor in header.tensors.values()]
    start, out = len(data) - sum(padded), {}
    for (name, tensor), room in zip(header.tensors.items(), padded, strict=True):
        raw = torch.frombuffer(bytearray(data[start : start + tensor.nbytes]), dtype=torch.uint8)
        out[name] = _unpacked(raw, tensor.type).reshape(tensor.shape)
        start += room
    return out


def _unpacked(raw: Tensor, kind: str) -> Tensor:
    if kind in GGUF_TYPES:
        return raw.view(GGUF_TYPES[kind][1]).float()
    blocks = raw.reshape(-1, 2 + Q8_BLOCK)
    return blocks[:, :2].contiguous().view(torch.float16).float() * blocks[:, 2:].contiguous().view(torch.int8).float()
