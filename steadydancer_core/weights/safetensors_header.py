"""The header of a safetensors file, read without touching its tensors.

Format: 8 bytes of header length (little endian), a JSON header, then the tensors one behind the other without gaps.
Source: the format's description, https://github.com/huggingface/safetensors#format.
"""

import json
import math
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

LENGTH_BYTES, MAX_HEADER, MAX_DIGITS = 8, 16_000_000, 20
# What a file may claim before anything is computed from it; headers of real models stay far below.
MAX_TENSORS, MAX_VALUES, MAX_NAME, MAX_DIMENSIONS = 50_000, 1_000_000, 1000, 8
DTYPES = {"BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BOOL": torch.bool}
DTYPES |= {f"F{bits}": getattr(torch, f"float{bits}") for bits in (64, 32, 16)}
DTYPES |= {f"I{bits}": getattr(torch, f"int{bits}") for bits in (64, 32, 16, 8)}
DTYPES |= {f"U{bits}": getattr(torch, f"uint{bits}") for bits in (64, 32, 16, 8)}
if hasattr(torch, "float8_e8m0fnu"):  # block scales of mxfp8; torch 2.7 and newer
    DTYPES["F8_E8M0"] = torch.float8_e8m0fnu


class Entry(NamedTuple):
    """Where a tensor lies: `nbytes` from byte `start` of its file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    nbytes: int


class Header(NamedTuple):
    """Tensors in the order of the file, and what its maker wrote beside them."""

    entries: dict[str, Entry]
    metadata: dict[str, str]


def read_header(path: str | Path) -> Header:
    """Return the header of a safetensors file; ValueError unless the file is whole."""
    path = Path(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 2 <= length <= path.stat().st_size - LENGTH_BYTES:
            raise damaged(path, "its header is cut off or is not that of a safetensors file")
        if length > MAX_HEADER:
            raise damaged(path, f"its header is {length} bytes long, more than the {MAX_HEADER} that any model needs")
        text = file.read(length)
    table = parse_json(path, text)
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, Mapping) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(path, "its metadata is not a table of strings")
    check_names_fit(path, table)
    start = LENGTH_BYTES + length
    entries = {name: _entry(path, name, row, start) for name, row in table.items()}
    entries = dict(sorted(entries.items(), key=lambda item: (item[1].start, item[1].nbytes)))
    for name, entry in entries.items():
        if entry.start != start:
            raise damaged(path, f"{name} does not follow the tensor before it")
        start += entry.nbytes
    size = path.stat().st_size
    if size != start:
        raise damaged(path, f"it has {size} bytes, its header speaks of {start}")
    return Header(entries, dict(metadata))


def parse_json(path: Path, text: bytes) -> dict:
    """Return the JSON object in `text`; ValueError if it is none, holds a key twice or is larger than any model's."""

    def once(pairs: list[tuple[str, object]]) -> dict:
        table = dict(pairs)
        if len(table) < len(pairs):
            raise damaged(path, "a name appears in it twice")
        return table

    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise damaged(path, f"a number in it has {len(digits)} digits")
        return int(digits)

    if len(text) > MAX_HEADER or text.count(b",") > MAX_VALUES:
        raise damaged(path, f"it lists more than {MAX_VALUES} values or is longer than {MAX_HEADER} bytes")
    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=once, parse_int=whole)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, "it is not readable JSON where it should be") from error
    if not isinstance(table, dict):
        raise damaged(path, "its JSON is not a table")
    try:
        if b"\\u" in text:  # it may be an escaped half of a surrogate pair, which cannot be written
            json.dumps(table, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise damaged(path, "a string in it has half a character") from error
    return table


def check_names_fit(path: Path, names: Collection[str]) -> None:
    """Raise ValueError for more tensors than any model has, and for names that are none."""
    if len(names) > MAX_TENSORS:
        raise damaged(path, f"it lists {len(names)} tensors; no model has more than {MAX_TENSORS}")
    longest = max(map(len, names), default=0)
    if longest > MAX_NAME:
        raise damaged(path, f"a name in it is {longest} characters long")
    if not all(map(str.isprintable, names)):
        raise damaged(path, "a name in it has characters that cannot be shown")


def damaged(path: Path, reason: str) -> ValueError:
    """Return the error for a file that cannot be used as it is."""
    return ValueError(f"{path.name} is damaged or not complete: {reason}. Delete it and download it again.")


def _entry(path: Path, name: str, row: Any, start: int) -> Entry:
    try:
        kind, shape, (begin, end) = row["dtype"], tuple(row["shape"]), row["data_offsets"]
        sound = isinstance(kind, str) and all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"the entry of {name} cannot be read: {reprlib.repr(row)}") from error
    if len(shape) > MAX_DIMENSIONS:
        raise damaged(path, f"{name} has {len(shape)} dimensions")
    if not sound or end - begin != math.prod(shape) * _dtype(path, name, kind).itemsize:
        raise damaged(path, f"the entry of {name} contradicts itself: {reprlib.repr(row)}")
    return Entry(_dtype(path, name, kind), shape, start + begin, end - begin)


def _dtype(path: Path, name: str, kind: str) -> torch.dtype:
    if kind in DTYPES:
        return DTYPES[kind]
    raise ValueError(
        f"{path.name} stores {name} as {kind[:MAX_DIGITS]}, a kind of numbers that this pack does not know. Choose an "
        "fp16, bf16 or fp8 version of the file, or update the pack."
    )
