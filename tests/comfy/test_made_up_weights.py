"""The made-up weights of tests and timings: shapes are those of ComfyUI's model, and values have their ranges."""

import math

import comfy.ldm.wan.model
import comfy.ops
import numpy as np
import pytest

from steadydancer_pack.miniature import weights

OWN = ("condition_embedding_", "patch_embedding_fuse.", "patch_embedding_ref_c.")


def test_size_of_the_golden_config():
    shapes = weights.steadydancer_shapes(dim=256, ffn_dim=512, layers=2, text_dim=64)
    assert len(shapes) == 129 and sum(key.startswith(OWN) for key in shapes) == 42
    assert sum(map(math.prod, shapes.values())) == 4_677_776


def test_the_base_is_comfyuis_wan_i2v():
    sizes = {"dim": 5120, "ffn_dim": 13824, "num_layers": 3, "text_dim": 4096, "num_heads": 40, "freq_dim": 256}
    factory = {"device": "meta", "operations": comfy.ops.disable_weight_init}
    model = comfy.ldm.wan.model.WanModel(
        model_type="i2v", in_dim=36, out_dim=16, patch_size=(1, 2, 2), **sizes, **factory
    )
    shapes = weights.steadydancer_shapes(5120, 13824, 3, 4096)
    base = {key: shape for key, shape in shapes.items() if not key.startswith(OWN)}
    assert base == {key: tuple(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("key", "shape", "low", "high"),
    [
        ("blocks.0.self_attn.norm_q.weight", (64,), 0.9, 1.1),
        ("condition_embedding_align.norm1.weight", (1, 64, 1, 1), 0.9, 1.1),
        ("condition_embedding_spatial.bn1.weight", (4,), 0.9, 1.1),
        ("img_emb.proj.0.weight", (64,), 0.9, 1.1),
        ("img_emb.proj.4.bias", (64,), -0.1, 0.1),
        ("condition_embedding_align.norm2.bias", (1, 64, 1, 1), -0.1, 0.1),
        ("head.modulation", (1, 2, 64), -0.1, 0.1),
        ("head.head.bias", (64,), -0.1, 0.1),
        ("img_emb.proj.3.weight", (8, 48), -0.25, 0.25),
    ],
)
def test_made_up_weights_by_kind(key, shape, low, high):
    weight = weights.made_up(key, shape)
    assert weight.dtype == np.float32 and weight.shape == shape
    assert low <= weight.min() < weight.max() <= high
    u = (weight.astype(np.float64) - (low + high) / 2) / ((high - low) / 2)
    np.testing.assert_allclose(u, weights.uniform(key, shape), atol=1e-5)
