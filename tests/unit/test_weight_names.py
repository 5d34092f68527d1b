"""Names of tensors: those of diffusers, those behind a prefix, those of our modules become the official ones."""

import pytest

from steadydancer_pack.miniature.weights import MINIATURE, steadydancer_shapes
from steadydancer_pack.steadydancer_core.weights.weight_names import is_diffusers, official_names, prefix_of
from steadydancer_pack.tests.model_files import diffusers, prefixed

NAMES = list(steadydancer_shapes(**MINIATURE))
# From diffusers' WanTransformer3DModel, whose 87 names for two blocks all map onto ours, each with the same shape.
PAIRS = {
    "condition_embedder.time_embedder.linear_1.weight": "time_embedding.0.weight",
    "condition_embedder.time_proj.bias": "time_projection.1.bias",
    "condition_embedder.text_embedder.linear_2.weight": "text_embedding.2.weight",
    "condition_embedder.image_embedder.norm1.weight": "img_emb.proj.0.weight",
    "condition_embedder.image_embedder.ff.net.0.proj.weight": "img_emb.proj.1.weight",
    "condition_embedder.image_embedder.ff.net.2.bias": "img_emb.proj.3.bias",
    "condition_embedder.image_embedder.norm2.bias": "img_emb.proj.4.bias",
    "patch_embedding.weight": "patch_embedding.weight",
    "blocks.39.attn1.to_q.weight": "blocks.39.self_attn.q.weight",
    "blocks.0.attn1.to_out.0.bias": "blocks.0.self_attn.o.bias",
    "blocks.0.attn1.norm_k.weight": "blocks.0.self_attn.norm_k.weight",
    "blocks.0.attn2.to_v.weight": "blocks.0.cross_attn.v.weight",
    "blocks.0.attn2.add_k_proj.weight": "blocks.0.cross_attn.k_img.weight",
    "blocks.0.attn2.norm_added_k.weight": "blocks.0.cross_attn.norm_k_img.weight",
    "blocks.0.norm2.bias": "blocks.0.norm3.bias",
    "blocks.0.ffn.net.0.proj.weight_scale": "blocks.0.ffn.0.weight_scale",
    "blocks.0.ffn.net.2.comfy_quant": "blocks.0.ffn.2.comfy_quant",
    "blocks.0.scale_shift_table": "blocks.0.modulation",
    "scale_shift_table": "head.modulation",
    "proj_out.weight": "head.head.weight",
    "condition_embedding_spatial.fc.0.weight": "condition_embedding_spatial.fc.0.weight",
    "condition_embedding_align.cross_attn.in_proj_weight": "condition_embedding_align.cross_attn.in_proj_weight",
    "condition_embedding_align.cross_attn.in_proj.bias": "condition_embedding_align.cross_attn.in_proj_bias",
    "blocks.": "blocks..",
}


def test_names_of_diffusers():
    assert official_names(PAIRS) == PAIRS
    assert is_diffusers(PAIRS) and not is_diffusers(NAMES)


def test_every_name_survives_the_way_there_and_back():
    theirs = list(diffusers(dict.fromkeys(NAMES)))
    assert len(set(theirs)) == 129 and theirs != NAMES
    assert list(official_names(theirs).values()) == NAMES


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "transformer.", "model."])
@pytest.mark.parametrize("change", [dict, diffusers])
def test_a_prefix_is_taken_off(prefix, change):
    names = prefixed(change(dict.fromkeys(NAMES)), prefix)
    assert prefix_of(names) == prefix
    assert list(official_names(names).values()) == NAMES
    assert official_names([*names, "vae.decoder.conv1.weight"]).get("vae.decoder.conv1.weight") == (
        None if prefix else "vae.decoder.conv1.weight"
    )


def test_official_names_stay():
    assert official_names(NAMES) == {name: name for name in NAMES}
