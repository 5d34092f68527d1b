"""The shipped files: the network in 8 bits where that costs little, its prompts, and what they are made of.

Matrices of the blocks and the largest beside them are scaled fp8 (e4m3) in the form that ComfyUI writes and reads
(`<layer>.comfy_quant`, `<layer>.weight_scale`), all else is float16. The layers for CLIP vision, which the miniature
does without, are left out.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..steadydancer_core.weights import prompt_embeddings
from ..steadydancer_core.weights.clip_vision import serves_clip_vision
from .container import safetensors_bytes
from .prompts import NEGATIVE, POSITIVE, prompt_vectors

EIGHT_BITS = ("blocks.", "img_emb.proj.", "time_projection.")
FP8, LARGEST = torch.float8_e4m3fn, 448.0
FORMAT = {"format": "float8_e4m3fn", "full_precision_matrix_mult": True}
MODEL, VAE = "steadydancer_miniature.safetensors", "steadydancer_miniature_vae.safetensors"
PROMPTS = {
    POSITIVE: "steadydancer_miniature_positive.safetensors",
    NEGATIVE: "steadydancer_miniature_negative.safetensors",
}


def model_file(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the network as a safetensors file. ValueError where a weight is not finite in float16."""
    tensors: dict[str, Tensor] = {}
    for name, weight in trained_part(state).items():
        if name.startswith(EIGHT_BITS) and name.endswith(".weight") and weight.ndim == 2:
            layer, largest = name.removesuffix(".weight"), weight.abs().max().item()
            # a power of two that brings the largest weight just below the format's largest number
            scale = 2.0 ** torch.tensor(largest / LARGEST).log2().ceil().item() if largest else 1.0
            tensors[name] = (weight.float() / scale).to(FP8)
            tensors[f"{layer}.weight_scale"] = torch.tensor(scale)
            tensors[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps(FORMAT).encode()), dtype=torch.uint8)
        else:
            tensors[name] = weight.half()
            if not tensors[name].isfinite().all():
                raise ValueError(f"{name} does not fit float16. Train again with a lower learning rate: it diverged.")
    return safetensors_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(metadata))


def trained_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's tensors without those for CLIP vision where all of these are zero: loading brings them."""
    seen = {name for name in state if serves_clip_vision(name)}
    if any(state[name].any() for name in seen):
        return dict(state)
    return {name: tensor for name, tensor in state.items() if name not in seen}


def export(weights: Path, vae: Path, folder: Path) -> list[Path]:
    """Write model, VAE and prompts into `folder` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"name": "SteadyDancer miniature", "license": "Apache-2.0", "weights": "trained on the drawn world"}
    (folder / MODEL).write_bytes(model_file(load_file(weights), facts))
    (folder / VAE).write_bytes(vae.read_bytes())
    for prompt, name in PROMPTS.items():
        prompt_embeddings.save([[prompt_vectors(prompt)[None], {}]], folder / name, prompt)
    return [folder / name for name in (MODEL, VAE, *PROMPTS.values())]
