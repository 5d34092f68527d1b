"""The header of a GGUF file: names, types and shapes of its tensors, and the few facts written beside them.

Format, little endian: "GGUF", version, numbers of tensors and facts; the facts (key, type, value); the tensors (name,
dimensions with the fastest first, type, offset); padding; data. Source: versions 2 and 3 of
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
import os
import struct
from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .safetensors_header import MAX_DIMENSIONS, MAX_TENSORS, check_names_fit, damaged

MAGIC, VERSIONS = b"GGUF", (2, 3)
# What a file may claim before anything is read for it. Language models, whose files hold their whole vocabulary, have
# the most strings: 0.8 million.
MAX_STRING, MAX_STRINGS, MAX_LIST, MAX_HEADER, MAX_SHOWN = 1 << 20, 1 << 20, 1024, 1 << 26, 20
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
KEPT = ("general.", "comfy.gguf.orig_shape.")  # the rest is the business of language models
SHAPE_KEY = KEPT[1]
# Weights in a block -> the types with such blocks: number, name, bytes of a block.
BLOCKS = {
    1: "0 F32 4, 1 F16 2, 24 I8 1, 25 I16 2, 26 I32 4, 27 I64 8, 28 F64 8, 30 BF16 2",
    32: "2 Q4_0 18, 3 Q4_1 20, 6 Q5_0 22, 7 Q5_1 24, 8 Q8_0 34, 9 Q8_1 40, 20 IQ4_NL 18, 39 MXFP4 17",
    256: "10 Q2_K 84, 11 Q3_K 110, 12 Q4_K 144, 13 Q5_K 176, 14 Q6_K 210, 15 Q8_K 292, 16 IQ2_XXS 66, 17 IQ2_XS 74, "
    "18 IQ3_XXS 98, 19 IQ1_S 50, 21 IQ3_S 110, 22 IQ2_S 82, 23 IQ4_XS 136, 29 IQ1_M 56, 34 TQ1_0 54, 35 TQ2_0 66",
}
ROWS = [(weights, *row.split()) for weights, rows in BLOCKS.items() for row in rows.split(", ")]
TYPES = {int(number): (name, weights, int(nbytes)) for weights, number, name, nbytes in ROWS}
# general.file_type -> the recipe, where it says more than the type of most weights.
RECIPES = {21: "Q2_K_S"} | dict(enumerate(["Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M"], 11))


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
    """Return the quantization in words, such as "Q4_K_M": as its maker wrote it, else the type of most bytes."""
    written = header.facts.get("general.file_type")
    if isinstance(written, int) and written in RECIPES:
        return RECIPES[written]
    nbytes: Counter[str] = Counter()
    for tensor in header.tensors.values():
        nbytes[tensor.type] += tensor.nbytes
    return nbytes.most_common(1)[0][0] if nbytes else "empty"


def _read(path: Path, file: BinaryIO) -> GgufHeader:
    reader = _Reader(path, file)
    magic, version, tensors, facts = reader.unpack("4sIQQ")
    if magic != MAGIC:
        raise damaged(path, "it does not begin as a GGUF file does")
    if version not in VERSIONS:
        raise ValueError(f"{path.name} is GGUF version {version}; versions 2 and 3 are known. Download a newer file.")
    for count, what in ((tensors, "tensors"), (facts, "metadata keys")):
        if count > MAX_TENSORS:
            raise damaged(path, f"it lists {count} {what}; no model has more than {MAX_TENSORS}")
    kept = _by_name(path, [fact for fact in (reader.fact() for _ in range(facts)) if fact is not None])
    rows = [reader.tensor(kept) for _ in range(tensors)]
    found = _by_name(path, [(name, tensor) for name, tensor, _ in rows])
    check_names_fit(path, found)
    alignment = kept.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1:
        raise damaged(path, f"its data is aligned to {str(alignment)[:MAX_SHOWN]}")
    end_of_header, end = file.tell(), 0
    for name, tensor, offset in sorted(rows, key=lambda row: (row[2], row[1].nbytes)):
        if offset < end:
            raise damaged(path, f"{name} overlaps the tensor before it")
        end = offset + tensor.nbytes
    needed = -(-end_of_header // alignment) * alignment + end if rows else end_of_header
    size = path.stat().st_size
    if size < needed:
        raise damaged(path, f"it has {size} bytes, its header speaks of {needed}")
    return GgufHeader(found, kept)


def _by_name(path: Path, pairs: list[tuple[str, object]]) -> dict:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise damaged(path, "a name appears in it twice")
    return table


class _Reader:
    """Reads a header from the start of its file to the end. What is not kept is passed over, not held in memory."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file, self.size, self.strings_left = path, file, path.stat().st_size, MAX_STRINGS

    def unpack(self, form: str) -> tuple:
        form = "<" + form
        return struct.unpack(form, self.file.read(struct.calcsize(form)))

    def fact(self) -> tuple[str, object] | None:
        """Return the next key and its value; None if it is not kept."""
        key = self.string()
        kept = key.startswith(KEPT)
        value = self.value(self.unpack("I")[0], kept)
        return (key, value) if kept else None

    def value(self, kind: int, kept: bool) -> object:
        if kind == ARRAY:
            return self.array(kept)
        if kind == STRING:
            return self.string() if kept else self.pass_string()
        if kind not in SCALARS:
            raise damaged(self.path, f"its header has a value of the unknown type {kind}")
        return self.unpack(SCALARS[kind])[0]

    def array(self, kept: bool) -> list | None:
        kind, count = self.unpack("IQ")
        if kind != STRING and kind not in SCALARS:
            raise damaged(self.path, f"its header has a list of the unknown type {kind}")
        if count > (MAX_LIST if kept else self.size):
            raise damaged(self.path, f"its header has a list of {count} values")
        if kind == STRING:
            values = [self.string() if kept else self.pass_string() for _ in range(count)]
            return values if kept else None
        if kept:
            return list(self.unpack(f"{count}{SCALARS[kind]}"))
        self.file.seek(count * struct.calcsize(SCALARS[kind]), os.SEEK_CUR)
        return None

    def tensor(self, facts: dict[str, object]) -> tuple[str, GgufTensor, int]:
        """Return name, tensor and the offset of its data."""
        name = self.string()
        dimensions = self.unpack("I")[0]
        if dimensions > MAX_DIMENSIONS:
            raise damaged(self.path, f"{name} has {dimensions} dimensions")
        stored = tuple(reversed(self.unpack(f"{dimensions}Q")))
        kind, offset = self.unpack("IQ")
        if kind not in TYPES:
            raise ValueError(
                f"{self.path.name} holds {name} in the unknown GGUF type {kind}. Choose another quantization."
            )
        label, weights, nbytes = TYPES[kind]
        count = math.prod(stored)
        shape = facts.get(f"{SHAPE_KEY}{name}", list(stored))
        sizes = shape if isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS else []
        sizes_fit = all(type(size) is int and size >= 0 for size in sizes) and math.prod(sizes) == count
        if count % weights or sizes != shape or not sizes_fit:
            raise damaged(self.path, f"the shape of {name} contradicts itself")
        return name, GgufTensor(label, tuple(sizes), stored, count // weights * nbytes), offset

    def string(self) -> str:
        length = self.length()
        if length > MAX_STRING or self.file.tell() > MAX_HEADER:
            raise damaged(self.path, f"a name in its header is {length} bytes long")
        text = self.file.read(length)
        if len(text) < length:
            raise struct.error("unexpected end")
        return text.decode("utf-8")

    def pass_string(self) -> None:
        length = self.length()
        if length > self.size:
            raise damaged(self.path, f"its header has a string of {length} bytes")
        self.file.seek(length, os.SEEK_CUR)

    def length(self) -> int:
        """Return the length in bytes of the string that follows."""
        self.strings_left -= 1
        if self.strings_left < 0:
            raise damaged(self.path, f"its header has more than {MAX_STRINGS} strings")
        return self.unpack("Q")[0]
