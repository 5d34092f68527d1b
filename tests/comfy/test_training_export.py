"""What is shipped: the network in 8 bits under official names, its prompts, and the loader that takes it."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file

from steadydancer_pack.steadydancer_core.model.transformer import SteadyDancerWanModel
from steadydancer_pack.steadydancer_core.weights import detection, prompt_embeddings
from steadydancer_pack.steadydancer_core.weights.clip_vision import serves_clip_vision
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.training.evaluation.run import zeroed
from steadydancer_pack.training.export import MODEL, PROMPTS, VAE, export, model_file
from steadydancer_pack.training.network import Size, build, initialize
from steadydancer_pack.training.prompts import WIDTH, prompt_vectors

TINY = Size(128, 64, 1, WIDTH)


@pytest.fixture(scope="module")
def state():
    network = build(TINY, pose=True)
    initialize(network, 0)
    return network.state_dict()


@pytest.fixture(scope="module")
def shipped(state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "weights.safetensors")
    (folder / "vae").write_bytes(b"a VAE")
    export(folder / "weights.safetensors", folder / "vae", folder / "shipped")
    return folder / "shipped"


def test_matrices_of_the_blocks_take_8_bits_all_else_is_float16_and_clip_vision_is_left_out(state):
    stored = model_file(state, {"a": "b"})
    assert stored == model_file(state, {"a": "b"})
    tensors, matrix = load(stored), "blocks.0.ffn.0.weight"
    kept = {name for name in state if not serves_clip_vision(name)}
    assert kept == {name for name in tensors if not name.endswith(("weight_scale", "comfy_quant"))}
    assert tensors[matrix].dtype == torch.float8_e4m3fn
    assert {tensors[name].dtype for name in ("patch_embedding_fuse.weight", "blocks.0.norm3.weight")} == {torch.float16}
    error = (tensors[matrix].float() * tensors[f"{matrix}_scale"] - state[matrix]).abs()
    assert (error <= state[matrix].abs() / 16 + 1e-4).all()  # e4m3 has 3 bits after the first


def test_trained_layers_for_clip_vision_stay_whole(state):
    trained = {**state, "img_emb.proj.4.bias": torch.ones(TINY.dim)}
    assert set(state) <= set(load(model_file(trained, {})))


def test_weights_that_are_not_numbers_are_refused(state):
    broken = dict(state) | {"head.head.bias": torch.full_like(state["head.head.bias"], 1e6)}
    with pytest.raises(ValueError, match=r"head\.head\.bias does not fit float16"):
        model_file(broken, {})


def test_the_pack_s_loader_takes_the_file_and_computes_what_was_trained(shipped, state):
    detection.register()
    model = load_model(shipped / MODEL).model.diffusion_model
    assert isinstance(model, SteadyDancerWanModel)
    found = model.blocks[0].ffn[0].weight.float()
    assert torch.allclose(found, state["blocks.0.ffn.0.weight"], atol=0.02)
    seeing = [weight for name, weight in model.named_parameters() if serves_clip_vision(name)]
    assert len(seeing) == 13 and not any(weight.any() for weight in seeing)


def test_everything_shipped_is_written_with_the_prompts_of_the_training(shipped):
    assert {path.name for path in shipped.iterdir()} == {MODEL, VAE, *PROMPTS.values()}
    for prompt, name in PROMPTS.items():
        assert torch.equal(prompt_embeddings.load(shipped / name)[0][0], prompt_vectors(prompt)[None])


def test_a_zeroed_module_puts_out_nothing_and_only_meanwhile():
    network = build(TINY, pose=True)
    initialize(network, 0)
    pose = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16, 2, 4, 4)).astype(np.float32))
    before = network.condition_embedding_temporal(pose)
    with zeroed(network, ("condition_embedding_temporal",)):
        assert not network.condition_embedding_temporal(pose).any()
    assert torch.equal(network.condition_embedding_temporal(pose), before) and before.any()
