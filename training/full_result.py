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
    layers, lora = {}, {}  # a layer's down is [rank, inputs], its up [outputs, rank]
    for key in trained:
        if not (key.startswith(PATHS) and key.endswith(".down")):
            continue
        module = key.removesuffix(".down")
        layer = module.removeprefix(PATHS).replace("/", ".")
        layers[layer] = down, up = trained[key], trained[f"{module}.up"]
        name = f"diffusion_model.{layer}"
        lora[f"{name}.lora_down.weight"] = down.to(LORA_DTYPE).contiguous()
        lora[f"{name}.lora_up.weight"] = up.to(LORA_DTYPE).contiguous()
        lora[f"{name}.alpha"] = torch.tensor(float(alpha))
    if lora:
        with atomic_write(path.with_name(LORA)) as part:
            save_file(lora, part, metadata)
    own = {official(name.removeprefix(NETWORK)): t for name, t in trained.items() if name.startswith(NETWORK)}
    names = dict.fromkeys([*start.shapes, *own])
    pieces = [_piece(name, start, own.get(name), layers.get(name.removesuffix(".weight")), alpha) for name in names]
    write_safetensors(path, pieces, metadata, work=secrets.token_hex())


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
