"""Prompt embeddings in a file: the CONDITIONING of CLIP Text Encode, kept so that no text encoder is needed again.

One safetensors file. Entry i of the conditioning is the tensor `cond.<i>` [B, rows, C] without its trailing all-zero
rows (Wan pads every prompt to 512), and one tensor `<key>.<i>` per tensor of the entry's dict. The metadata hold
`entries`, JSON with {"rows": full row count, "tensors": keys, "values": plain values} per entry, `prompt`, a note, and
`checksum`, of all the others; files of earlier versions have none.
"""

import hashlib
import json
import os
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from ...media.atomic_write import atomic_write
from .checkpoint import kind_of
from .safetensors_header import Entry, Header, read_header
from .weight_source import first_of

FORMAT = "steadydancer_prompt_embeddings"
VERSION = "1"
SUFFIX = ".safetensors"
PLAIN = (bool, int, float, str, type(None))
MAX_DIMENSIONS = 3  # what a text encoder gives; images and latents have 4 or 5
MAX_PADDING = 1 << 29  # bytes of zero rows in one file; Wan pads each prompt to 8 MB
MAX_REASON = 300  # characters

Conditioning = list[list]


def save(conditioning: Conditioning, path: str | Path, prompt: str = "", overwrite: bool = True) -> None:
    """Write `conditioning`, a list of [tensor [B, N, C], dict], to `path`, whose folder is made.

    ValueError, with nothing left behind, for more than a prompt, an unfit note `prompt`, or when it cannot be written.
    """
    tensors, entries, fault = {}, [], note_fault(prompt)
    if fault:
        raise ValueError(fault)
    if not conditioning:
        raise ValueError("The conditioning is empty. Save the prompt straight from CLIP Text Encode.")
    for i, (cond, extra) in enumerate(conditioning):
        kept, entry = _pack(cond, extra)
        tensors |= {f"{key}.{i}": tensor for key, tensor in kept.items()}
        entries.append(entry)
    try:
        _check_padding((tensors[f"cond.{i}"], entry["rows"]) for i, entry in enumerate(entries))
    except ValueError as error:
        raise ValueError(f"This is not a prompt: {error}. Save the prompt straight from CLIP Text Encode.") from error
    metadata = {"format": FORMAT, "version": VERSION, "entries": json.dumps(entries), "prompt": prompt}
    metadata["checksum"] = _checksum(tensors, metadata)
    _write(Path(path), to_bytes(tensors, metadata), overwrite)


def note_fault(prompt: str) -> str:
    """Return why `prompt` cannot be the note in a file, as a message; "" if it can."""
    half = next((char for char in prompt if "\ud800" <= char <= "\udfff"), None)
    if half is None:
        return ""
    return (
        f"prompt holds U+{ord(half):04X}, one half of a character that was cut in two, such as an emoji, and no "
        "file can keep that. Delete the box or question mark that is shown for it, or paste the text again."
    )


def load(path: str | Path) -> Conditioning:
    """Return the conditioning that `save` wrote, on the CPU; ValueError if `path` is no whole prompt-embedding file."""
    path = Path(path)
    header = _check(path)
    try:
        entries = json.loads(header.metadata["entries"])
        wanted = {f"{key}.{i}" for i, entry in enumerate(entries) for key in ("cond", *entry["tensors"])}
        if not entries or wanted != header.entries.keys():
            raise KeyError(f"tensors: {first_of(sorted(wanted ^ header.entries.keys()))}")
        _check_padding((header.entries[f"cond.{i}"], entry["rows"]) for i, entry in enumerate(entries))
        with safe_open(path, framework="pt") as file:  # copied, because Windows replaces no file that is mapped
            tensors = {name: file.get_tensor(name).clone() for name in header.entries}
        if "checksum" in header.metadata and header.metadata["checksum"] != _checksum(tensors, header.metadata):
            raise ValueError("its checksum differs, so the file was damaged after it was written")
        return [_unpack(tensors, i, **entry) for i, entry in enumerate(entries)]
    except (KeyError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"The description inside {path.name} does not fit its tensors ({str(error)[:MAX_REASON]}). Save the prompt "
            "again."
        ) from error


def _check_padding(prompts: Iterable[tuple[Tensor | Entry, int]]) -> None:
    """Raise ValueError unless each (rows [B, used, C], full row count) is a prompt, and all are small enough."""
    padding = 0
    for stored, rows in prompts:
        if len(stored.shape) != 3 or type(rows) is not int or rows < stored.shape[1]:
            raise ValueError(f"{reprlib.repr(rows)} rows of {list(stored.shape)}")
        padding += stored.shape[0] * (rows - stored.shape[1]) * stored.shape[2] * stored.dtype.itemsize
        if padding > MAX_PADDING:
            raise ValueError(f"{rows} rows of {list(stored.shape)} are more than any prompt has")


def _pack(cond: Tensor, extra: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of one entry by key, and its line in the metadata."""
    if not isinstance(cond, Tensor) or cond.ndim != 3:
        found = f"shape {tuple(cond.shape)}" if isinstance(cond, Tensor) else type(cond).__name__
        raise ValueError(
            f"The conditioning holds {found} where the embeddings of a prompt, [1, rows, channels], are needed. "
            "Save the prompt straight from CLIP Text Encode."
        )
    wrong = []
    for key, value in extra.items():
        plain = value.ndim <= MAX_DIMENSIONS if isinstance(value, Tensor) else type(value) in PLAIN
        if not isinstance(key, str) or key == "cond" or "latent" in key or not plain:
            wrong.append(key)
    if wrong:
        raise ValueError(
            f"This conditioning holds more than a prompt: {', '.join(map(str, wrong))}. A prompt-embedding file keeps "
            "only the prompt, without latents, control, hooks or clip vision. "
            "Save the prompt straight from CLIP Text Encode, before it goes into any other node."
        )
    tensors = {key: value for key, value in extra.items() if isinstance(value, Tensor)}
    values = {key: value for key, value in extra.items() if key not in tensors}
    entry = {"rows": cond.shape[1], "tensors": list(tensors), "values": values}
    used = (cond != 0).any(dim=2).any(dim=0).nonzero()
    kept = {"cond": cond[:, : int(used.max()) + 1 if used.numel() else 0], **tensors}
    # A copy each: safetensors refuses tensors that share memory, and a view would write its whole storage.
    return {key: t.detach().cpu().clone(memory_format=torch.contiguous_format) for key, t in kept.items()}, entry


def _unpack(stored: dict[str, Tensor], i: int, rows: int, tensors: list[str], values: dict[str, Any]) -> list:
    if not all(type(value) in PLAIN for value in values.values()):
        raise ValueError("a value in it is not plain")
    used = stored[f"cond.{i}"]
    cond = used.new_zeros(used.shape[0], rows, used.shape[2])
    cond[:, : used.shape[1]] = used
    return [cond, {**values, **{key: stored[f"{key}.{i}"] for key in tensors}}]


def _check(path: Path) -> Header:
    """Return the header of `path`; ValueError unless it says that it is ours."""
    if path.suffix.lower() != SUFFIX:
        raise ValueError(
            f"{path.name} is a {path.suffix or 'nameless'} file; only {SUFFIX} is loaded, because other formats can "
            "run code. Save the prompt with Save Prompt Embeddings."
        )
    if not path.is_file():
        raise ValueError(f"There is no file {path}. Choose another one, or save the prompt again.")
    header = read_header(path)
    metadata = header.metadata
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path.name} is {kind_of(set(header.entries))}, not prompt embeddings. "
            "Choose a file that Save Prompt Embeddings has written."
        )
    version = metadata.get("version")
    if version != VERSION:
        raise ValueError(
            f"{path.name} is a prompt-embedding file of version {reprlib.repr(version)}; this pack reads version "
            f"{VERSION}. Update the pack, or save the prompt again."
        )
    return header


def _checksum(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    digest = hashlib.blake2b(json.dumps([metadata["entries"], metadata["prompt"]]).encode(), digest_size=20)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _write(path: Path, data: bytes, overwrite: bool) -> None:
    """Write `data` so that `path` is whole at every moment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, overwrite) as part:
            part.write_bytes(data)
    except OSError as error:
        if os.path.lexists(path) and not overwrite:
            raise ValueError(f"{path} exists already. Choose another name, or switch overwrite on.") from error
        raise ValueError(
            f"The prompt could not be saved as {path}: {error.strerror or error}. "
            "Free some space, make the folder writable, or choose another name."
        ) from error
