"""The header of a GGUF file: names, types and shapes of its tensors, and the few facts written beside them.

Format: little endian; "GGUF", version, number of tensors, number of facts; then the facts (key, type, value), then the
tensors (name, dimensions with the fastest first, type, offset), then padding, then the data.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

import math
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .safetensors_header import damaged

MAGIC, VERSIONS = b"GGUF", (2, 3)
MAX_NAME, MAX_COUNT, MAX_DIMENSIONS = 1 << 20, 1 << 24, 8
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
KEPT = ("general.", "comfy.gguf.orig_shape.")  # the rest is the business of language models
SHAPE_KEY = KEPT[1]
# Type number -> name, weights in a block, bytes of a block.
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 28: ("F64", 1, 8),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
# general.file_type -> the recipe, where it says more than the type of most weights.
RECIPES = {
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 21: "Q2_K_S",
}  # fmt: skip


class GgufTensor(NamedTuple):
    """type: GGUF's name of it, such as "Q8_0"; shape as in PyTorch; stored_shape: that of the data, if flattened."""

    type: str
    shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    nbytes: int


class GgufHeader(NamedTuple):
    tensors: dict[str, GgufTensor]
    facts: dict[str, object]


def read_gguf_header(path: str | Path) -> GgufHeader:
    """Return the header of a GGUF file; ValueError unless the file is whole."""
    path = Path(path)
    with path.open("rb") as file:
        try:
            return _read(path, file)
        except (struct.error, UnicodeDecodeError, OverflowError) as error:
            raise damaged(path, f"its header is cut off ({error})") from error


def recipe_of(header: GgufHeader) -> str:
    """Return the quantisation in words, such as "Q4_K_M": as its maker wrote it, else the type of most bytes."""
    written = header.facts.get("general.file_type")
    if isinstance(written, int) and written in RECIPES:
        return RECIPES[written]
    nbytes: dict[str, int] = {}
    for tensor in header.tensors.values():
        nbytes[tensor.type] = nbytes.get(tensor.type, 0) + tensor.nbytes
    return max(nbytes, key=nbytes.get, default="empty")


def _read(path: Path, file: BinaryIO) -> GgufHeader:
    magic, version, tensors, facts = _unpack(file, "4sIQQ")
    if magic != MAGIC:
        raise damaged(path, "it does not begin as a GGUF file does")
    if version not in VERSIONS:
        raise ValueError(f"{path.name} is GGUF version {version}; versions 2 and 3 are known. Download a newer file.")
    if max(tensors, facts) > MAX_COUNT:
        raise damaged(path, f"it speaks of {tensors} tensors")
    kept = dict(_fact(path, file) for _ in range(facts))
    rows = [_tensor(path, file, kept) for _ in range(tensors)]
    alignment = kept.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise damaged(path, f"its data is aligned to {alignment}")
    start = -(-file.tell() // alignment) * alignment
    end = max((start + offset + tensor.nbytes for _, tensor, offset in rows), default=0)
    if path.stat().st_size < end:
        raise damaged(path, f"it has {path.stat().st_size} bytes, its header speaks of {end}")
    return GgufHeader({name: tensor for name, tensor, _ in rows}, {k: v for k, v in kept.items() if k})


def _fact(path: Path, file: BinaryIO) -> tuple[str, object]:
    key = _string(path, file)
    kept = key.startswith(KEPT)
    value = _value(path, file, _unpack(file, "I")[0], kept)
    return (key, value) if kept else ("", None)


def _value(path: Path, file: BinaryIO, kind: int, kept: bool) -> object:
    if kind == STRING:
        return _string(path, file)
    if kind in SCALARS:
        return _unpack(file, SCALARS[kind])[0]
    if kind != ARRAY:
        raise damaged(path, f"its header has a value of the unknown type {kind}")
    kind, count = _unpack(file, "IQ")
    if kind == STRING:
        strings = (_string(path, file) for _ in range(count))
        return list(strings) if kept else sum(1 for _ in strings)
    if kind not in SCALARS:
        raise damaged(path, f"its header has a list of the unknown type {kind}")
    if kept and count <= MAX_COUNT:
        return list(_unpack(file, f"{count}{SCALARS[kind]}"))
    skipped = count * struct.calcsize(SCALARS[kind])
    if skipped > path.stat().st_size:
        raise damaged(path, f"its header has a list of {count} values")
    file.seek(skipped, 1)
    return None


def _tensor(path: Path, file: BinaryIO, facts: dict[str, object]) -> tuple[str, GgufTensor, int]:
    name = _string(path, file)
    dimensions = _unpack(file, "I")[0]
    if dimensions > MAX_DIMENSIONS:
        raise damaged(path, f"{name} has {dimensions} dimensions")
    stored = tuple(reversed(_unpack(file, f"{dimensions}Q")))
    kind, offset = _unpack(file, "IQ")
    if kind not in TYPES:
        raise ValueError(f"{path.name} holds {name} in the unknown GGUF type {kind}. Choose another quantisation.")
    label, weights, nbytes = TYPES[kind]
    shape = facts.get(f"{SHAPE_KEY}{name}")
    shape = tuple(shape) if isinstance(shape, list) else stored
    return name, GgufTensor(label, shape, stored, math.prod(stored) // weights * nbytes), offset


def _string(path: Path, file: BinaryIO) -> str:
    length = _unpack(file, "Q")[0]
    if length > MAX_NAME:
        raise damaged(path, f"a name in its header is {length} bytes long")
    text = file.read(length)
    if len(text) < length:
        raise struct.error("unexpected end")
    return text.decode("utf-8")


def _unpack(file: BinaryIO, form: str) -> tuple:
    form = "<" + form
    return struct.unpack(form, file.read(struct.calcsize(form)))
