"""The layers that serve CLIP vision, which a SteadyDancer without CLIP vision leaves out of its file.

Zeros take their place when the file is loaded: then what CLIP vision sees has no part in the result. All of them are
left out or none: a file with some of them is damaged.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

PARTS = ("img_emb.", "k_img.", "v_img.", "norm_k_img.")
VISION = 1280  # width of CLIP vision's features


def serves_clip_vision(name: str) -> bool:
    """Return whether a tensor of this name serves CLIP vision only."""
    return any(part in name for part in PARTS)


def has_clip_vision(names: Iterable[str]) -> bool:
    """Return whether any of the tensors serves CLIP vision."""
    return any(map(serves_clip_vision, names))


def with_clip_vision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the transformer's weights, by official name or ours, with zeros for CLIP vision where it has no layers."""
    whole = dict(state_dict)
    if not has_clip_vision(whole):
        modulation = whole["head.modulation"]
        blocks = {name.split(".")[1] for name in whole if name.startswith("blocks.")}
        for name, shape in _shapes(modulation.shape[-1], blocks).items():
            whole[name] = torch.zeros(shape, dtype=modulation.dtype, device="cpu")
    return whole


def _shapes(width: int, blocks: Iterable[str]) -> dict[str, tuple[int, ...]]:
    layers = {
        "img_emb.proj.0": (VISION,),
        "img_emb.proj.1": (VISION, VISION),
        "img_emb.proj.3": (width, VISION),
        "img_emb.proj.4": (width,),
    }
    norms = {}
    for block in blocks:
        attention = f"blocks.{block}.cross_attn"
        layers |= {f"{attention}.{name}": (width, width) for name in ("k_img", "v_img")}
        norms[f"{attention}.norm_k_img.weight"] = (width,)
    weights = {f"{layer}.weight": shape for layer, shape in layers.items()}
    return weights | {f"{layer}.bias": shape[:1] for layer, shape in layers.items()} | norms
