"""What a stage of a whole model leaves: its weights under official names, and a LoRA for any loader.

weights.safetensors is float16, as SteadyDancer is published. LoRA layers are added to the tensors of the file that the
stage started from, in float32, so the training's own coarser copy leaves no trace. lora.safetensors has ComfyUI's
names (`diffusion_model.<layer>.lora_down.weight`, `.lora_up.weight`, `.alpha`); the pose tensors of stage 1 cannot be
in it, since the base model has no such layers.
"""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..media.atomic_write import atomic_write
from ..steadydancer_core.weights.convert_file import Piece, UnfitWeights, write_safetensors
from .wan_file import WanFile, official

NETWORK, PATHS = "velocity.network.", "adapter.paths."
LORA, LORA_DTYPE, WEIGHT_DTYPE = "lora.safetensors", torch.bfloat16, torch.float16


def write_result(path: Path, start: WanFile, trained: Mapping[str, Tensor], alpha: float, title: str) -> None:
    """Write what was `trained` in a stage that began with `start` to `path`, and its LoRA beside it.

    alpha: of the LoRA layers. ValueError where a weight is not finite in float16, or the disk is full.
    """
    metadata = {"format": "pt", "title": title, "base": start.title}
    layers = lora_layers(trained)
    if layers:
        write_lora(path.with_name(LORA), trained, alpha, metadata)
    own = {official(name.removeprefix(NETWORK)): t for name, t in trained.items() if name.startswith(NETWORK)}
    names = dict.fromkeys([*start.shapes, *own])
    pieces = [_piece(name, start, own.get(name), layers.get(name.removesuffix(".weight")), alpha) for name in names]
    write_safetensors(path, pieces, metadata, work=secrets.token_hex())


def lora_layers(trained: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return down [rank, inputs] and up [outputs, rank] of the LoRA layers by the official name of their layer."""
    layers = {}
    for key, down in trained.items():
        if key.startswith(PATHS) and key.endswith(".down"):
            module = key.removesuffix(".down")
            layers[module.removeprefix(PATHS).replace("/", ".")] = down, trained[f"{module}.up"]
    return layers


def write_lora(path: Path, trained: Mapping[str, Tensor], alpha: float, metadata: Mapping[str, str]) -> None:
    """Write the LoRA layers that were trained under ComfyUI's names."""
    tensors = {}
    for layer, (down, up) in lora_layers(trained).items():
        name = f"diffusion_model.{layer}"
        tensors[f"{name}.lora_down.weight"] = down.to(LORA_DTYPE).contiguous()
        tensors[f"{name}.lora_up.weight"] = up.to(LORA_DTYPE).contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(float(alpha))
    with atomic_write(path) as part:
        save_file(tensors, part, dict(metadata))


def _piece(name: str, start: WanFile, own: Tensor | None, layer: tuple[Tensor, Tensor] | None, alpha: float) -> Piece:
    shape = start.shapes[name] if own is None else tuple(own.shape)

    def rows() -> Iterator[Tensor]:
        weight = (start.map(name) if own is None else own).float()
        if layer is not None:
            down, up = layer
            weight = weight + alpha / len(down) * (up.float() @ down.float())
        half = weight.to(WEIGHT_DTYPE)
        if not half.isfinite().all():
            raise UnfitWeights(
                f"{name} does not fit float16: the training diverged. Train again with a lower learning rate."
            )
        yield half

    return Piece(((name, WEIGHT_DTYPE, shape),), rows)
