"""Look into a checkpoint before it is loaded, by its headers: is it SteadyDancer, is it whole, and if not, what is it?

Safetensors and GGUF only: a pickle can run code.
"""

import re
from functools import cache
from pathlib import Path

import comfy.ops
import comfy.quant_ops
import torch
from comfy.ldm.wan.model import WanModel

from ..model.transformer import SteadyDancerWanModel
from .clip_vision import has_clip_vision, serves_clip_vision
from .gguf_header import GgufHeader
from .weight_formats import Contents, block_numbers, format_of, layer_formats, look_into, precision
from .weight_names import is_diffusers, official_names
from .weight_source import INDEX_SUFFIX, SHARD, first_of

MAX_BLOCKS = 1000
HEAD_WIDTH = 128  # of an attention head in every Wan model: ComfyUI divides by it
WIDTH_TENSOR = "patch_embedding.bias"  # as long as the transformer is wide
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
GGUF_CONVOLUTIONS = ("F32", "F16")  # the types in which ComfyUI-GGUF can use a convolution over time
FIVE_D_HINT = (
    "GGUF tools leave these 5-dimensional tensors out unless they are put back. Choose a file with fix_5d_tensor in "
    "its name, for example Wan21_I2V_SteadyDancer_fp16-Q4_K_M_fix_5d_tensor.gguf."
)


def check_file(path: str | Path) -> Contents:
    """Return the contents of a whole SteadyDancer checkpoint; ValueError says what else `path` is or what it lacks."""
    contents = look_into(path)
    if not format_of(contents).loads:
        raise ValueError(
            f"{contents.title} holds its weights as {precision(contents)}; ComfyUI cannot compute with them. "
            "Choose an fp16, bf16, fp8_scaled or GGUF file of SteadyDancer-14B."
        )
    unknown = sorted(set(layer_formats(contents)) - comfy.quant_ops.QUANT_ALGOS.keys())
    if unknown:
        raise ValueError(
            f"{contents.title} holds layers as {', '.join(unknown)}, which this ComfyUI does not know. Update ComfyUI, "
            "or choose an fp16, bf16, fp8_scaled or GGUF file of SteadyDancer-14B."
        )
    names = set(contents.official.values())
    if SHARD.search(contents.title) and not pose_tensor_names() <= names:
        raise ValueError(
            f"{contents.title} is one part of a model in several files. Choose the {INDEX_SUFFIX} file beside it; if "
            "there is none, download it from where the part came from."
        )
    if contents.gguf:
        _check_gguf(contents, contents.gguf)
    check_names(contents.title, names)
    shape = next(contents.tensors[name].shape for name, ours in contents.official.items() if ours == WIDTH_TENSOR)
    if len(shape) != 1 or not shape[0] or shape[0] % HEAD_WIDTH:
        raise ValueError(
            f"{contents.title} is SteadyDancer with {WIDTH_TENSOR} of shape {list(shape)}; it must be [N] with N a "
            f"multiple of {HEAD_WIDTH}, [5120] in SteadyDancer-14B. The file was converted wrongly; download it again."
        )
    return contents


def check_names(title: str, names: set[str]) -> None:
    """Raise ValueError unless the official `names` hold every tensor; it tells the kind of file or what is missing.

    The layers for CLIP vision may be missing, all of them (clip_vision.py).
    """
    missing = sorted(pose_tensor_names() - names)
    if len(missing) == len(pose_tensor_names()):
        raise ValueError(
            f"{title} is {kind_of(names)}, not SteadyDancer: none of the {len(missing)} pose tensors is in it. "
            "Choose a SteadyDancer-14B file, for example Wan21_I2V_SteadyDancer_fp16.safetensors."
        )
    if missing:
        raise ValueError(
            f"{title} is SteadyDancer, but {len(missing)} of {len(pose_tensor_names())} pose tensors are missing: "
            f"{first_of(missing)}. The file was cut or converted wrongly; download it again."
        )
    blocks = block_numbers(names)
    if len(blocks) > MAX_BLOCKS:
        raise ValueError(
            f"{title} is SteadyDancer with {len(blocks)} blocks; SteadyDancer-14B has 40. The file was converted "
            "wrongly; download it again."
        )
    lacking = sorted(all_tensor_names(blocks) - names)
    if not has_clip_vision(names):
        lacking = [name for name in lacking if not serves_clip_vision(name)]
    if lacking:
        raise ValueError(
            f"{title} is SteadyDancer, but {len(lacking)} tensors of its transformer are missing, such as "
            f"{first_of(lacking)}. The file was cut or converted wrongly; download it again."
        )


def kind_of(names: set[str]) -> str:
    """Return what a file with tensors `names` is, in words."""
    return next((kind for marker, kind in KINDS if any(marker in name for name in names)), "an unknown file")


@cache
def pose_tensor_names() -> frozenset[str]:
    """Return the checkpoint names of SteadyDancer's own 42 tensors: those that plain Wan I2V lacks."""
    plain = _tensors(WanModel, in_dim=36, model_type="i2v", num_layers=0)
    return frozenset(_official_tensors() - plain.keys())


def all_tensor_names(blocks: set[str]) -> set[str]:
    """Return the checkpoint names of all tensors of a SteadyDancer whose blocks have these numbers, and of block 0."""
    names = _official_tensors(num_layers=1)
    return {re.sub(r"^blocks\.0\.", f"blocks.{block}.", name) for name in names for block in {"0", *blocks}}


def _check_gguf(contents: Contents, header: GgufHeader) -> None:
    found = {ours: header.tensors[name] for name, ours in contents.official.items()}
    if not pose_tensor_names() & found.keys():
        return
    if is_diffusers(contents.tensors):
        raise ValueError(
            f"{contents.title} is a GGUF file with diffusers names, which ComfyUI-GGUF does not know. Choose a GGUF "
            "file from MCG-NJU/SteadyDancer-GGUF."
        )
    tensors = _tensors(SteadyDancerWanModel, in_dim=36, num_layers=0)
    for name in sorted(name for name, dimensions in tensors.items() if dimensions == 5):
        tensor = found.get(name)
        if tensor is None:
            raise ValueError(f"{contents.title} is SteadyDancer without {name}. {FIVE_D_HINT}")
        if len(tensor.shape) != 5:
            raise ValueError(f"{contents.title} holds {name} flattened to {list(tensor.shape)}. {FIVE_D_HINT}")
        if tensor.type not in GGUF_CONVOLUTIONS:
            raise ValueError(f"{contents.title} holds {name} as {tensor.type}, not as F16 or F32. {FIVE_D_HINT}")


@cache
def _official_tensors(num_layers: int = 0) -> frozenset[str]:
    return frozenset(official_names(_tensors(SteadyDancerWanModel, in_dim=36, num_layers=num_layers)).values())


def _tensors(model, **config) -> dict[str, int]:
    """Return the number of dimensions of each tensor by name."""
    empty = model(dim=128, num_heads=1, device=torch.device("meta"), operations=comfy.ops.disable_weight_init, **config)
    return {name: tensor.ndim for name, tensor in empty.state_dict().items()}
