"""Prompt embeddings as .safetensors files: a prompt once encoded needs no text encoder of 11 GB any more.

A CONDITIONING is a list of entries [cond, options]: cond is a tensor [B, N, C] of N tokens, options a dict. In the file,
entry i has the tensors "i.cond" without its trailing zero rows (Wan pads every prompt to N = 512), and "i.pooled_output" and
"i.attention_mask" where it has them; the metadata holds format, version, the prompt's text and, as JSON, N and the plain options.
"""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

Conditioning = list[list]

SUFFIX = ".safetensors"
FORMAT, VERSION = "steadydancer_prompt_embeddings", "1"
TENSOR_OPTIONS = ("pooled_output", "attention_mask")
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
FORBIDDEN_IN_NAMES = set('<>:"|?*')

# What a file of another kind is, by a part of a key that only this kind has; the first hit counts.
OTHER_KINDS = (
    (("lora_A", "lora_B", "lora_up", "lora_down", "lokr_", "hada_"), "a LoRA", "models/loras"),
    (("emb_params", "string_to_param"), "a textual inversion", "models/embeddings"),
    (("latent_tensor",), "a saved latent", "the input folder"),
    (("vision_model.", "visual.transformer"), "a CLIP vision model", "models/clip_vision"),
    (("encoder.block.", "shared.weight", "text_model.", "token_embedding"), "a text encoder", "models/text_encoders"),
    (("decoder.conv_in", "decoder.conv1.", "decoder.middle."), "a VAE", "models/vae"),
    (("patch_embedding", "blocks.", "input_blocks."), "a diffusion model", "models/diffusion_models"),
)


def save(conditioning: Conditioning, path: Path, prompt: str = "") -> None:
    """Write `conditioning` to `path`, whole or not at all; `prompt` is kept as a note for people.

    Raises ValueError for conditioning that carries more than a prompt (latents, control, masks, ...).
    """
    if not conditioning:
        raise ValueError("Found an empty conditioning; connect the output of CLIP Text Encode.")
    tensors: dict[str, Tensor] = {}
    entries = []
    for index, (cond, options) in enumerate(conditioning):
        entries.append({"tokens": _tokens(cond), "options": _plain_options(options)})
        tensors[f"{index}.cond"] = _without_trailing_zeros(cond)
        tensors |= {f"{index}.{key}": options[key] for key in TENSOR_OPTIONS if torch.is_tensor(options.get(key))}
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    metadata = {"format": FORMAT, "version": VERSION, "prompt": prompt, "entries": json.dumps(entries)}
    _write_atomically(Path(path), to_bytes(tensors, metadata))


def load(path: Path) -> Conditioning:
    """Return the conditioning saved in `path`, on the CPU, equal to the saved one in values, shapes and dtypes.

    Raises ValueError for pickle files, damaged files and safetensors files of any other kind.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise ValueError(
            f"{path.name} is a {path.suffix} file, which can run code when it is opened, and is not read. "
            "Prompt embeddings are .safetensors files: encode the prompt again and use Save Prompt Embeddings."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _refuse_other_kinds(path.name, metadata, list(file.keys()))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  safe_open is no dict
    except SafetensorError as error:
        raise ValueError(_damaged(path.name, str(error))) from error
    return _conditioning(path.name, metadata, tensors)


def path_for(folder: Path, name: str) -> Path:
    """Return the file in `folder` for a name such as "dances/waltz"; ValueError for names that lead elsewhere."""
    parts = PurePosixPath(name.strip().replace("\\", "/")).parts
    if not parts:
        raise ValueError("The name is empty; give the prompt embeddings a name, for example dances/waltz.")
    bad = [part for part in parts if part in ("/", "..") or part.startswith(".") or not part.isprintable()]
    if bad or FORBIDDEN_IN_NAMES & set(name):
        raise ValueError(
            f"Found the name {name!r}. Names are relative and stay inside the prompt_embeddings folder: subfolders are "
            "fine (dances/waltz); '..', a drive, a leading '/' or '.' and the characters < > : \" | ? * are not."
        )
    file = parts[-1] if parts[-1].lower().endswith(SUFFIX) else parts[-1] + SUFFIX
    return Path(folder, *parts[:-1], file)


def _tokens(cond: Any) -> int:
    if not torch.is_tensor(cond) or cond.ndim != 3:
        found = f"a tensor of shape {tuple(cond.shape)}" if torch.is_tensor(cond) else type(cond).__name__
        raise ValueError(f"Found {found} as a prompt; it must be a tensor of shape [batch, tokens, channels].")
    return cond.shape[1]


def _plain_options(options: dict) -> dict:
    """Return the options that JSON holds; None stays, the tensors of TENSOR_OPTIONS are left to the caller."""
    others = {key: value for key, value in options.items() if not (key in TENSOR_OPTIONS and torch.is_tensor(value))}
    plain = {key: value for key, value in others.items() if value is None or type(value) in (bool, int, float, str)}
    extra = sorted(str(key) for key in others.keys() - plain.keys())
    if extra:
        raise ValueError(
            f"This conditioning carries more than a prompt: {', '.join(extra)}. "
            "Save the prompt straight from CLIP Text Encode, before any node that adds latents, control, masks or images."
        )
    return plain


def _without_trailing_zeros(cond: Tensor) -> Tensor:
    used = (cond.float() != 0).any(dim=2).any(dim=0).nonzero()  # rows [n, 1]
    return cond[:, : int(used[-1]) + 1 if len(used) else 0]


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _refuse_other_kinds(name: str, metadata: dict[str, str], keys: list[str]) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{name} holds no prompt embeddings; {_kind(keys)}. "
            "Choose a file that was written by Save Prompt Embeddings."
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"{name} is of version {metadata.get('version')} of the prompt embedding format; this pack reads version "
            f"{VERSION}. Update the pack or save the prompt again."
        )


def _kind(keys: list[str]) -> str:
    for marks, kind, place in OTHER_KINDS:
        if any(mark in key for key in keys for mark in marks):
            return f"it looks like {kind}, which belongs in {place}"
    return f"its first tensors are {', '.join(sorted(keys)[:3]) or '(none)'}"


def _damaged(name: str, detail: str) -> str:
    return f"{name} is truncated or damaged ({detail}). Copy it again or save the prompt again."


def _conditioning(name: str, metadata: dict[str, str], tensors: dict[str, Tensor]) -> Conditioning:
    try:
        entries = json.loads(metadata["entries"])
        return [_entry(index, entry, tensors) for index, entry in enumerate(entries)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(_damaged(name, f"its description does not fit its tensors: {error}")) from error


def _entry(index: int, entry: dict, tensors: dict[str, Tensor]) -> list:
    rows = tensors[f"{index}.cond"]
    batch, used, channels = rows.shape
    if entry["tokens"] < used:
        raise ValueError(f"{used} rows for {entry['tokens']} tokens")
    cond = rows.new_zeros(batch, entry["tokens"], channels)
    cond[:, :used] = rows
    found = {key: tensors[f"{index}.{key}"] for key in TENSOR_OPTIONS if f"{index}.{key}" in tensors}
    return [cond, {**entry["options"], **found}]
