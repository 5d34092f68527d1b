"""Keys of finished chunks: equal for what is equal, also in another process; different for any difference."""

import collections
import functools
import threading
import weakref

import comfy.model_management
import comfy.sd
import pytest
import torch
from safetensors.torch import load_file

from steadydancer_pack.miniature import shipped, weights
from steadydancer_pack.steadydancer_core.long_video.chunk_key import (
    Unidentified,
    chunk_key,
    identify_model,
    identify_vae,
)
from steadydancer_pack.steadydancer_core.memory.residency import swap_blocks
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.weights import detection

WEIGHT = "diffusion_model.blocks.0.self_attn.q.weight"


def load_model(change=None):
    detection.register()
    state = weights.steadydancer_state_dict(torch.float16)
    if change is not None:
        change(state)
    return comfy.sd.load_diffusion_model_state_dict(state)


@pytest.fixture(scope="module")
def model():
    return load_model()


class Box:
    def __init__(self, content):
        self.content = content


class Slotted:
    __slots__ = ("content",)

    def __init__(self, content):
        self.content = content


def closure(content):
    return lambda: content


def test_a_key_does_not_depend_on_the_process():
    key = "3ce5d9b41a7bc253da0039a7ae099374f3f2f9a211bc4fd4323ee7f4094f84c9"
    assert chunk_key(1, "a", [2.5, None], {"b": (True,)}) == key


@pytest.mark.parametrize(
    "wrap", [Box, Slotted, closure, lambda x: functools.partial(print, x), lambda x: [x], lambda x: {x}]
)
def test_equal_content_is_an_equal_key_and_other_content_another(wrap):
    assert chunk_key(wrap("a")) == chunk_key(wrap("a")) != chunk_key(wrap("b"))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0), (1, True), (1, "1"), ([1, 2], [12]), ([1, [2]], [1, 2]), ((1,), [1]), (["ab", "c"], ["a", "bc"]),
        (torch.zeros(2), torch.zeros(1, 2)), (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2).numpy(), torch.zeros(2)), (torch.tensor([0.0]), torch.tensor([-0.0])),
        (lambda x: x + 1, lambda x: x + 2), (PoseGuidance(1.0, 0.1, 0.4), PoseGuidance(1.0, 0.1, 0.5)),
    ],
)  # fmt: skip
def test_what_differs_has_another_key(a, b):
    assert chunk_key(a) != chunk_key(b)


def test_the_order_of_a_dict_does_not_count():
    assert chunk_key({"a": 1, "b": 2}) == chunk_key({"b": 2, "a": 1}) != chunk_key({"a": 2, "b": 1})


def test_one_pixel_of_a_large_picture_counts():
    pixels = torch.zeros(500, 500, 3)
    key = chunk_key(pixels)
    pixels[250, 250, 1] = 1e-6
    assert chunk_key(pixels) != key


def test_a_cycle_has_an_end():
    def ring(content):
        box = Box(content)
        box.itself = [box]
        return box

    assert chunk_key(ring(1)) == chunk_key(ring(1)) != chunk_key(ring(2))


@pytest.mark.parametrize(
    "hidden", [threading.Lock(), weakref.ref(Box(1)), (i for i in "a"), [].append, Box(threading.Lock())]
)
def test_what_hides_its_content_is_refused(hidden):
    with pytest.raises(Unidentified):
        chunk_key(hidden)


def test_a_container_that_python_knows_nothing_of_is_read_by_what_a_copy_holds():
    assert chunk_key(collections.deque([1])) != chunk_key(collections.deque([2]))


def test_the_same_file_loaded_again_is_the_same_model(model):
    assert identify_model(load_model()) == identify_model(model) == identify_model(model.clone())


def nudge(state):
    state["blocks.1.ffn.0.weight"] *= 1.01


def other_precision(state):
    for key in state:
        state[key] = state[key].bfloat16()


@pytest.mark.parametrize("change", [nudge, other_precision])
def test_another_file_is_another_model(model, change):
    assert identify_model(load_model(change)) != identify_model(model)


def with_lora(model, value=1.0, strength=1.0):
    patched = model.clone()
    patched.add_patches({WEIGHT: ("diff", (torch.full((128, 128), value),))}, strength)
    return patched


def test_a_lora_counts_by_content_and_strength(model):
    keys = {identify_model(m) for m in (model, with_lora(model), with_lora(model, 2.0), with_lora(model, 1.0, 0.5))}
    assert len(keys) == 4
    assert identify_model(with_lora(model)) in keys


def test_a_loaded_lora_lies_in_the_weights_and_changes_no_key():
    model = load_model()
    patched = with_lora(model)
    before = identify_model(model), identify_model(patched)
    comfy.model_management.load_models_gpu([patched])
    try:
        assert WEIGHT in patched.backup
        assert (identify_model(model), identify_model(patched)) == before
    finally:
        patched.detach()


def test_blocks_to_swap_and_shift_change_no_key(model):
    key = identify_model(model)
    assert identify_model(swap_blocks(model, 1)) == identify_model(swap_blocks(model, 2)) == key


@pytest.mark.parametrize(
    "patch",
    [
        lambda m: m.set_model_unet_function_wrapper(closure(1)),
        lambda m: m.set_model_attn1_patch(closure(1)),
        lambda m: m.add_object_patch("diffusion_model.blocks.0", Box(1)),
        lambda m: m.add_wrapper("outer_sample", closure(1)),
        lambda m: m.model_options["transformer_options"].update(option=1),
    ],
)
def test_every_patch_of_a_model_counts(model, patch):
    patched = model.clone()
    patch(patched)
    assert identify_model(patched) != identify_model(model)


def test_a_vae_is_known_by_its_weights():
    state = load_file(shipped("steadydancer_miniature_vae.safetensors"))
    key = identify_vae(comfy.sd.VAE(sd=dict(state)))
    assert identify_vae(comfy.sd.VAE(sd=dict(state))) == key
    state["conv2.bias"] = state["conv2.bias"] + 1
    assert identify_vae(comfy.sd.VAE(sd=dict(state))) != key
