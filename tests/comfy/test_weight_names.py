"""Names of tensors: those of diffusers, those behind a prefix, those of our modules become the official ones."""

import time

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


def test_official_names_stay_and_every_name_survives_the_way_there_and_back():
    assert official_names(NAMES) == {name: name for name in NAMES}
    theirs = list(diffusers(dict.fromkeys(NAMES)))
    assert len(set(theirs)) == 129 and theirs != NAMES
    assert list(official_names(theirs).values()) == NAMES


COMFYUIS = ("model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "model.model.")
OF_TRAINING = ("net.", "module.", "_orig_mod.", "dit.", "unet.", "pipe.dit.")
CLIP_FIRST = ["clip_vision.vision_model.embeddings.patch_embedding.weight", "vae.decoder.conv1.weight"]


@pytest.mark.parametrize("prefix", ["", *COMFYUIS, *OF_TRAINING])
@pytest.mark.parametrize("change", [dict, diffusers])
def test_a_prefix_is_taken_off(prefix, change):
    names = prefixed(change(dict.fromkeys(NAMES)), prefix)
    assert prefix_of(names) == prefix
    assert list(official_names(names).values()) == NAMES
    vae = "vae.decoder.conv1.weight"
    assert official_names([*names, vae]).get(vae) == (None if prefix else vae)


@pytest.mark.parametrize("change", [dict, diffusers])
@pytest.mark.parametrize("own", [True, False])
def test_the_prefix_is_the_transformers_wherever_it_stands_in_the_file(own, change):
    """A picture encoder has a patch_embedding too, and plain Wan has nothing that only SteadyDancer has."""
    names = [name for name in NAMES if own or not name.startswith("condition_embedding_")]
    theirs = list(prefixed(change(dict.fromkeys(names))))
    for mixed in (CLIP_FIRST + theirs, theirs + CLIP_FIRST, (theirs + CLIP_FIRST)[::-1]):
        assert prefix_of(mixed) == "model.diffusion_model."
        assert sorted(official_names(mixed).values()) == sorted(names)


def test_of_two_transformers_comfyui_s_is_taken_and_another_parts_words_change_nothing():
    both = [*prefixed(dict.fromkeys(NAMES), "model_ema."), *prefixed(dict.fromkeys(NAMES))]
    assert prefix_of(both) == prefix_of(both[::-1]) == "model.diffusion_model."
    assert prefix_of([*prefixed(dict.fromkeys(NAMES), "ema."), *NAMES]) == ""
    names = [*prefixed(dict.fromkeys(NAMES)), "text.condition_embedder.proj.weight"]
    assert list(official_names(names).values()) == NAMES


VACE = ["vace_patch_embedding.weight", "blocks.0.ffn.0.weight"]


@pytest.mark.parametrize("names", [CLIP_FIRST, VACE, ["model.patch_embedding.weight"], []])
def test_what_has_no_transformer_has_no_prefix(names):
    assert prefix_of(names) == ""


MANY_PREFIXES = ["blocks.0.x", *(f"p{i}.patch_embedding.weight" for i in range(20_000))]
MANY_DOTS = ["condition_embedder." + "a." * 490 + str(i) for i in range(1000)]


@pytest.mark.parametrize("names", [MANY_PREFIXES, MANY_DOTS], ids=["prefixes", "dots"])
def test_odd_names_take_no_time(names):
    start = time.process_time()
    assert official_names(names) == {name: name for name in names}
    assert time.process_time() - start < 1
