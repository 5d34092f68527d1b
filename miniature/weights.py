"""Made-up weights: every tensor follows from its own name, so nothing is stored and all machines agree.

The recipe is that of the golden files (tests/golden). For tests and timings: what is shipped was trained. Shapes are
those of SteadyDancer-14B (Wan 2.1 I2V plus 42 pose tensors) at any width and depth.
dim d, ffn_dim f, text_dim t; 16 latent channels, 36 input channels, CLIP width 1280, sinusoid width 256.
"""

import math
import zlib

import numpy as np
import torch

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

LATENT, INPUT, CLIP, SINUSOID, ALIGN, PATCH = 16, 36, 1280, 256, 128, (1, 2, 2)
NORM_PARTS = ("norm", ".bn1.", ".bn2.")
NORM_PREFIXES = ("img_emb.proj.0.", "img_emb.proj.4.")
ATTENTIONS = (
    ("self_attn", ("q", "k", "v", "o"), ("norm_q", "norm_k")),
    ("cross_attn", ("q", "k", "v", "o", "k_img", "v_img"), ("norm_q", "norm_k", "norm_k_img")),
)
MINIATURE = {"dim": 128, "ffn_dim": 256, "layers": 2, "text_dim": 64}


def uniform(name: str, shape: Shape) -> np.ndarray:
    """Return float64 values in [-1, 1) that depend on `name` and `shape` alone."""
    return np.random.RandomState(zlib.crc32(name.encode("utf-8"))).uniform(-1, 1, shape)


def made_up(name: str, shape: Shape) -> np.ndarray:
    """Return the float32 weight called `name`: matrices keep the variance, norms stay near 1, the rest near 0."""
    u = uniform(name, shape)
    is_norm = name.startswith(NORM_PREFIXES) or any(part in name for part in NORM_PARTS)
    if is_norm and name.endswith("weight"):
        u = 1 + 0.1 * u
    elif is_norm or len(shape) < 2 or "modulation" in name:
        u = 0.1 * u
    else:
        u = u * math.sqrt(3 / math.prod(shape[1:]))
    return u.astype(np.float32)


def made_up_input(name: str, shape: Shape, scale: float = 1.0) -> np.ndarray:
    """Return the float32 test input called `name`, in -scale..scale."""
    return (uniform("input:" + name, shape) * scale).astype(np.float32)


def steadydancer_shapes(dim: int, ffn_dim: int, layers: int, text_dim: int) -> Shapes:
    """Return the shape of every tensor by its key: 23 and 32 per layer of Wan's, 42 of SteadyDancer's own."""
    blocks = [_block_shapes(f"blocks.{i}", dim, ffn_dim) for i in range(layers)]
    parts = [_embedding_shapes(dim, text_dim), *blocks, _pose_shapes()]
    return {key: shape for part in parts for key, shape in part.items()}


def steadydancer_state_dict(dtype: torch.dtype = torch.float32, **config: int) -> dict[str, torch.Tensor]:
    """Return a complete made-up checkpoint on the CPU, with heads of 128; config: what differs from MINIATURE."""
    shapes = steadydancer_shapes(**MINIATURE | config)
    return {key: torch.from_numpy(made_up(key, shape)).to(dtype) for key, shape in shapes.items()}


def layer(name: str, *weight: int) -> Shapes:
    """Return the shapes of a layer with a weight and a bias; a norm's weight has one dimension."""
    return {f"{name}.weight": weight, f"{name}.bias": weight[:1]}


def _embedding_shapes(d: int, text_dim: int) -> Shapes:
    return {
        **layer("patch_embedding", d, INPUT, *PATCH),
        **layer("patch_embedding_fuse", d, INPUT + 2 * LATENT, *PATCH),
        **layer("patch_embedding_ref_c", d, LATENT, *PATCH),
        **layer("text_embedding.0", d, text_dim),
        **layer("text_embedding.2", d, d),
        **layer("time_embedding.0", d, SINUSOID),
        **layer("time_embedding.2", d, d),
        **layer("time_projection.1", 6 * d, d),
        **layer("img_emb.proj.0", CLIP),
        **layer("img_emb.proj.1", CLIP, CLIP),
        **layer("img_emb.proj.3", d, CLIP),
        **layer("img_emb.proj.4", d),
        **layer("head.head", LATENT * math.prod(PATCH), d),
        "head.modulation": (1, 2, d),
    }


def _block_shapes(block: str, d: int, ffn_dim: int) -> Shapes:
    shapes = {
        f"{block}.modulation": (1, 6, d),
        **layer(f"{block}.norm3", d),
        **layer(f"{block}.ffn.0", ffn_dim, d),
        **layer(f"{block}.ffn.2", d, ffn_dim),
    }
    for attention, projections, norms in ATTENTIONS:
        for projection in projections:
            shapes |= layer(f"{block}.{attention}.{projection}", d, d)
        for norm in norms:
            shapes[f"{block}.{attention}.{norm}.weight"] = (d,)
    return shapes


def _pose_shapes() -> Shapes:
    spatial, align = "condition_embedding_spatial", "condition_embedding_align"
    weights = {
        "conv": (16, 16, 1, 1),
        "conv_q": (4, 16, 1, 1),
        "conv_p": (16, 4, 1, 1),
        "fc.0": (4, 16),
        "fc.1.fc.0": (4, 4),
        "fc_phi": (16, 4),
        "fc_scale": (16, 4),
    }
    shapes: Shapes = {f"{spatial}.{name}.weight": shape for name, shape in weights.items()}
    for i in (0, 2, 4):
        stage = f"condition_embedding_temporal.{i}"
        shapes[f"{stage}.spatial.weight"] = (LATENT, 1, 1, 3, 3)
        shapes |= layer(f"{stage}.temporal", LATENT, LATENT, 3, 1, 1)
    for norm in ("norm1", "norm2"):
        shapes |= {f"{align}.{norm}.{part}": (1, ALIGN, 1, 1) for part in ("weight", "bias")}
    return {
        **shapes,
        **layer(f"{spatial}.bn1", 4),
        **layer(f"{spatial}.bn2", 4),
        **layer(f"{align}.proj_p", ALIGN, LATENT, 1, 1),
        **layer(f"{align}.proj_r", ALIGN, LATENT, 1, 1),
        **layer(f"{align}.proj_p_back", LATENT, ALIGN, 1, 1),
        f"{align}.cross_attn.in_proj_weight": (3 * ALIGN, ALIGN),
        f"{align}.cross_attn.in_proj_bias": (3 * ALIGN,),
        **layer(f"{align}.cross_attn.out_proj", ALIGN, ALIGN),
        **layer(f"{align}.ffn_pose.0", ALIGN, ALIGN, 1, 1),
        **layer(f"{align}.ffn_pose.2", ALIGN, ALIGN, 1, 1),
    }
