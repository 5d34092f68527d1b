"""Look into a checkpoint before it is loaded: is it SteadyDancer, is it whole, and if not, what is it?

Only names are read, so a 30 GB file answers at once. Safetensors only: a pickle can run code.
"""

from functools import cache
from pathlib import Path

import comfy.ops
import torch
from comfy.ldm.wan.model import WanModel
from safetensors import SafetensorError, safe_open

from .detection import RENAMED
from .model import SteadyDancerWanModel

SUFFIXES = (".safetensors", ".sft")
# A name that only this kind of file has -> the kind; the first that fits is told to the user.
KINDS = (
    ("lora_down.weight", "a LoRA"),
    ("lora_A.weight", "a LoRA"),
    ("decoder.middle.0.residual.0.gamma", "a Wan VAE"),
    ("vision_model.encoder.layers.0", "a CLIP vision model"),
    ("encoder.block.0.layer.0", "a text encoder"),
    ("face_adapter.fuser_blocks.0", "Wan Animate"),
    ("vace_patch_embedding.weight", "Wan VACE"),
    ("patch_embedding_pose.weight", "SCAIL"),
    ("img_emb.proj.0.bias", "a plain Wan image-to-video model"),
    ("head.modulation", "a plain Wan text-to-video model"),
)


def check_file(path: str | Path) -> None:
    """Raise ValueError unless `path` is a whole SteadyDancer checkpoint in one safetensors file."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path.name} is a {path.suffix or 'nameless'} file; only .safetensors is loaded, because other formats "
            "can run code. Download the safetensors version of SteadyDancer."
        )
    check_names(path.name, read_names(path))


def read_names(path: str | Path) -> set[str]:
    """Return the names of all tensors of a safetensors file; ValueError if the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except SafetensorError as error:
        raise ValueError(
            f"{Path(path).name} is damaged or not complete ({error}). Delete it and download it again."
        ) from error


def check_names(title: str, names: set[str]) -> None:
    """Raise ValueError unless `names` hold every pose tensor; the message names the kind of file or what is missing."""
    found = {pose for pose in pose_tensor_names() if any(name.endswith(pose) for name in names)}
    missing = sorted(pose_tensor_names() - found)
    if not missing:
        return
    if not found:
        raise ValueError(
            f"{title} is {kind_of(names)}, not SteadyDancer: none of the {len(missing)} pose tensors is in it. "
            "Choose a SteadyDancer-14B file, for example Wan21_I2V_SteadyDancer_fp16.safetensors."
        )
    raise ValueError(
        f"{title} is SteadyDancer, but {len(missing)} of {len(pose_tensor_names())} pose tensors are missing: "
        f"{', '.join(missing)}. The file was cut or converted wrongly; download it again."
    )


def kind_of(names: set[str]) -> str:
    """Return what a file with tensors `names` is, in words."""
    return next((kind for marker, kind in KINDS if any(marker in name for name in names)), "an unknown file")


@cache
def pose_tensor_names() -> frozenset[str]:
    """Return the checkpoint names of SteadyDancer's own 42 tensors: those that plain Wan I2V lacks."""
    names = _tensor_names(SteadyDancerWanModel, in_dim=36) - _tensor_names(WanModel, in_dim=36, model_type="i2v")
    return frozenset(name.replace(new, old) for name in names for old, new in RENAMED.items())


def _tensor_names(model, **config) -> set[str]:
    empty = model(
        dim=128,
        num_heads=1,
        num_layers=0,
        device=torch.device("meta"),
        operations=comfy.ops.disable_weight_init,
        **config,
    )
    return set(empty.state_dict())
