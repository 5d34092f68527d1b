"""The networks that are trained: ComfyUI's Wan 2.1 I2V and this pack's SteadyDancer, at the size of a table.

Initial values of the base are Wan's (Xavier for matrices, a head of zeros); those of the pose tensors are our choice:
the fused embedding starts as the base's with nothing from the pose, so stage 1 starts as the base model. What serves
CLIP vision stays zero in the miniature, which has none.
"""

import math
from typing import Literal, NamedTuple, overload

import comfy.model_management
import comfy.ops
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.ldm.wan.model import WanModel
from torch import Tensor, nn

from ..steadydancer_core.model.transformer import SteadyDancerWanModel
from ..steadydancer_core.weights.clip_vision import serves_clip_vision

PATCH, INPUT, LATENT, CLIP_WIDTH = (1, 2, 2), 36, 16, 1280
POSE_PARTS = ("condition_embedding_", "patch_embedding_fuse", "patch_embedding_ref_c")


def attention(_stock, q: Tensor, k: Tensor, v: Tensor, heads: int, *args, **kwargs) -> Tensor:
    """Return attention of q, k, v [B, L, heads * width]; on a processor by two plain products.

    ComfyUI's choice for a processor works in slices to save memory; for clips of a few hundred tokens the products are
    several times faster, gradients included.
    """
    if q.device.type != "cpu":
        return attention_pytorch(q, k, v, heads, *args, **kwargs)
    q, k, v = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weight = (q @ k.transpose(-1, -2)).float().mul(q.shape[-1] ** -0.5).softmax(-1)
    return (weight.to(v.dtype) @ v).transpose(1, 2).flatten(2)


ATTENTION = {"optimized_attention_override": attention}


class Layers(comfy.ops.disable_weight_init):
    """ComfyUI's layers. Patch embeddings stay in float32 under autocast, since ComfyUI runs them so."""

    class Conv3d(comfy.ops.disable_weight_init.Conv3d):
        def forward(self, *args, **kwargs) -> Tensor:
            with torch.autocast(args[0].device.type, enabled=False):
                return super().forward(*args, **kwargs)


class TrainedDancer(SteadyDancerWanModel):
    """SteadyDancer, whose pose stage stays in float32 under autocast too."""

    def embed_tokens(self, x: Tensor, *conditions) -> Tensor:
        """Return the token grid; see SteadyDancerWanModel."""
        with torch.autocast(x.device.type, enabled=False):
            return super().embed_tokens(x, *conditions)


class Size(NamedTuple):
    """A network's widths; ComfyUI takes dim // 128 for the number of heads."""

    dim: int
    ffn_dim: int
    layers: int
    text_dim: int


MINIATURE = Size(256, 1024, 6, 64)
SHIPPED_SIZE = Size(256, 512, 5, 64)  # of the file in the pack, until one of MINIATURE's size takes its place
WAN_14B = Size(5120, 13824, 40, 4096)


class Scale(NamedTuple):
    """A miniature: the side of its frames in pixels, its network, and how many of a table's batches it takes as one."""

    pixels: int
    network: Size
    batches: int


SMALL = Scale(128, MINIATURE, 1)
LARGE = Scale(160, Size(384, 768, 8, 64), 8)  # for a GPU


@overload
def build(size: Size, pose: Literal[True], dtype: torch.dtype = ..., device: str = ...) -> SteadyDancerWanModel: ...
@overload
def build(size: Size, pose: bool, dtype: torch.dtype = ..., device: str = ...) -> WanModel: ...
def build(size: Size, pose: bool, dtype: torch.dtype = torch.float32, device: str = "cpu") -> WanModel:
    """Return the base, or with `pose` SteadyDancer, with unset weights."""
    network = TrainedDancer if pose else WanModel
    return network(
        model_type="i2v",
        patch_size=PATCH,
        in_dim=INPUT,
        dim=size.dim,
        ffn_dim=size.ffn_dim,
        text_dim=size.text_dim,
        num_heads=size.dim // 128,
        num_layers=size.layers,
        device=device,
        dtype=dtype,
        operations=Layers,
    )


def allow_gradients() -> None:
    """Tell ComfyUI that gradients are wanted: some of its faster operations have none."""
    comfy.model_management.in_training = True  # ty: ignore[invalid-assignment]  declared by its first value


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Give every weight its initial value."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        weight.copy_(_initial(name, weight.shape, generator))


def _initial(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if "modulation" in name:
        return torch.randn(shape, generator=generator) / math.sqrt(shape[-1])
    if serves_clip_vision(name) or name.startswith("head.head") or name.endswith("bias"):
        return torch.zeros(shape)
    if len(shape) == 1 or "norm" in name or ".bn" in name:
        return torch.ones(shape)
    if name.startswith(("text_embedding", "time_embedding")):
        return 0.02 * torch.randn(shape, generator=generator)
    inputs, outputs = math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    if not name.startswith(POSE_PARTS):
        inputs = (inputs + (shape[0] if name.startswith("patch") else outputs)) / 2
    return torch.randn(shape, generator=generator) / math.sqrt(inputs)


@torch.no_grad()
def add_pose(model: SteadyDancerWanModel, base: dict[str, Tensor], seed: int) -> None:
    """Load the base's weights and start the pose tensors from them; see the module's docstring."""
    initialize(model, seed)
    model.load_state_dict(base, strict=False)
    patch = base["patch_embedding.weight"].float()
    fuse, first_pose = model.patch_embedding_fuse, model.patch_embedding_ref_c
    fuse.weight[:, :INPUT], fuse.weight[:, INPUT:] = patch, 0.1 * fuse.weight[:, INPUT:]
    first_pose.weight.copy_(patch[:, -LATENT:])
    for layer in (fuse, first_pose):
        layer.bias.copy_(base["patch_embedding.bias"])


def base_part(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that the base model has too."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(POSE_PARTS)}
