"""The manifest of a run in chunks: equal for what is equal, different for any difference, and honest about the rest."""

import copy
import functools
import importlib.util
import json
import sys
import threading
import types
import weakref
from pathlib import Path

import comfy.context_windows
import comfy.model_management
import comfy.samplers
import comfy.sd
import pytest
import torch
from safetensors.torch import load_file

from steadydancer_pack.miniature import shipped, weights
from steadydancer_pack.nodes.common.lora_names import lora_names
from steadydancer_pack.steadydancer_core.long_video.run_manifest import describe_model, make_manifest, note_changes
from steadydancer_pack.steadydancer_core.long_video.value_names import COMFYUI, ValueNamer, digest
from steadydancer_pack.steadydancer_core.long_video.windows import apply_windows
from steadydancer_pack.steadydancer_core.memory.residency import swap_blocks
from steadydancer_pack.steadydancer_core.sampling import presets
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.schedule import make_solver
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.tests.model_files import per_layer

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


@functools.cache
def extra(name):
    """A module of comfy_extras, imported by its path as ComfyUI does it."""
    path = str(COMFYUI / "comfy_extras" / name)
    spec = importlib.util.spec_from_file_location(path, f"{path}.py")
    module = sys.modules[path] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Box:
    def __init__(self, content):
        self.content = content

    def method(self):
        return self.content


def closure(content):
    return lambda: content


def named(value):
    """Return the hash of a value that has one."""
    namer = ValueNamer()
    found = digest(namer(value))
    assert namer.unnamed == []
    return found


# Values


DIFFERENT_PLAIN = [(1, 1.0), (1, True), (1, "1"), (None, "None"), (0.0, -0.0), (b"a", b"b"), (1e-9, 2e-9)]
DIFFERENT_LISTS = [([1, 2], [12]), ([1, [2]], [1, 2]), (["ab", "c"], ["a", "bc"]), ({1}, {2})]
DIFFERENT_DICTS = [({"1": 2}, {1: 2}), ({1: 2}, {1: 3})]
ZEROS, EULER, SCHEDULER = torch.zeros(2), make_solver("euler"), comfy.samplers.normal_scheduler


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *(DIFFERENT_PLAIN + DIFFERENT_LISTS + DIFFERENT_DICTS),
        *((ZEROS, other) for other in (torch.zeros(1, 2), torch.zeros(2, dtype=torch.int32), ZEROS.numpy(), -ZEROS)),
        (torch.float16, torch.bfloat16),
        (PoseGuidance(1.0, 0.1, 0.4), PoseGuidance(1.0, 0.1, 0.5)),
        *((EULER, make_solver(other)) for other in ("heun", "official euler")),
        tuple(comfy.samplers.ksampler("euler", {"s_churn": churn}) for churn in (0.0, 0.1)),
        (functools.partial(SCHEDULER, sgm=True), SCHEDULER),
        (functools.partial(print, 1), functools.partial(print, 2)),
    ],
)
def test_a_difference_shows(a, b):
    assert named(a) == named(copy.copy(a)) != named(b) == named(copy.copy(b))


def test_neither_the_order_of_keys_nor_the_process_counts_but_one_pixel_does():
    assert named({"a": 1, 2: "b"}) == named({2: "b", "a": 1})
    assert named([1, "a", [2.5, None], {"b": (True,)}]).startswith("9af3efc4d22516fd25e0ca92")
    pixels = torch.zeros(500, 500, 3)
    before = named(pixels)
    pixels[250, 250, 1] = 1e-6
    assert named(pixels) != before
    ring = [1]
    ring.append(ring)
    assert named(ring)  # has an end


@pytest.mark.parametrize("name", [*comfy.samplers.SAMPLER_NAMES, "official unipc", "official dpm++", "official euler"])
def test_every_solver_and_scheduler_of_comfyui_has_a_name(name):
    values = [make_solver(name), comfy.samplers.SCHEDULER_HANDLERS]
    assert named(values) == named(values)


def nested(depth):
    return [nested(depth - 1)] if depth else []


LAMBDA = "closure.<locals>.<lambda>"


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "Box": [Box(1), Box],
        "Box.method": [Box(1).method, functools.partial(Box(1).method), torch.no_grad()(Box.method)],
        "Box (key)": [{"key": [Box(1)]}],
        "Box (extra_options > noise)": [comfy.samplers.KSAMPLER(print, {"noise": Box(1)})],
        LAMBDA: [closure(1)],
        f"{LAMBDA} (sampler_function)": [comfy.samplers.KSAMPLER(closure(1))],
        "normal_scheduler": [functools.wraps(SCHEDULER)(lambda *args: None)],
        "builtins.print": [functools.wraps(print)(lambda: None)],
        "list.append": [[].append],
        "nested too deeply": [nested(500)],
        "lock": [threading.Lock()],
        "ReferenceType": [weakref.ref(Box(1))],
        "generator": [(character for character in "a")],
        "SimpleNamespace": [types.SimpleNamespace(a=1)],
        "Linear": [torch.nn.Linear(1, 1)],
    }.items(),
)
def test_what_has_no_value_to_compare_is_listed_by_name(name, values):
    for value in values:
        namer = ValueNamer()
        namer({"value": value})
        assert namer.unnamed[0].replace("value > ", "").removesuffix(" (value)").endswith(name)


# Models


def described(model):
    """Return the hash of a MODEL, and what of it has no name."""
    namer = ValueNamer(sample=True)
    return digest(describe_model(model, namer)), namer.unnamed


def nudge(state):
    state["blocks.1.ffn.0.weight"] *= 1.01


def other_precision(state):
    for key in state:
        state[key] = state[key].bfloat16()


def test_the_same_file_loaded_again_is_the_same_model_and_another_one_is_not(model):
    assert described(load_model()) == described(model) == described(model.clone()) == (described(model)[0], [])
    assert len({described(load_model(change))[0] for change in (None, nudge, other_precision)}) == 3


def test_scaled_fp8_weights_have_a_name():
    detection.register()
    found = [
        comfy.sd.load_diffusion_model_state_dict(per_layer(weights.steadydancer_state_dict(torch.float16)))
        for _ in range(2)
    ]
    assert described(found[0]) == described(found[1]) == (described(found[0])[0], [])


def test_a_weight_changed_in_place_shows():
    model = load_model()
    before = described(model)
    with torch.no_grad():
        model.model.diffusion_model.blocks[0].self_attn.q.weight.mul_(1.01)
    assert described(model) != before


def with_lora(model, value=1.0, strength=1.0, layer=WEIGHT):
    """As a loader makes it, from a file of any name."""
    lora = {"q.lora_up.weight": torch.full((128, 4), value), "q.lora_down.weight": torch.full((4, 128), value)}
    loaded = comfy.lora.load_lora(lora, {"q": layer})
    patched = model.clone()
    assert patched.add_patches(loaded, strength)
    return patched


def test_a_lora_counts_by_content_strength_and_layer_and_not_by_the_name_of_its_file(model):
    other_layer = WEIGHT.replace(".q.", ".k.")
    changes = {}, {"value": 2.0}, {"strength": 0.5}, {"layer": other_layer}
    models = [model, *(with_lora(model, **change) for change in changes)]
    keys = {described(changed)[0] for changed in models}
    assert len(keys) == 5 and described(with_lora(model)) == described(models[1])
    stacked = with_lora(with_lora(model, strength=0.5), layer=other_layer)
    found = describe_model(stacked, ValueNamer(sample=True))["loras"]
    assert [(lora["strength"], lora["layers"]) for lora in found] == [(0.5, 1), (1.0, 1)]


def test_a_lora_that_was_applied_changes_nothing():
    model = load_model()
    patched = with_lora(model)
    before = described(model), described(patched)
    comfy.model_management.load_models_gpu([patched])
    try:
        assert WEIGHT in patched.backup
        assert (described(model), described(patched)) == before
    finally:
        patched.detach()


def windows(model, overlap):
    return apply_windows(model, 33, overlap)


def easy_cache(model, threshold):
    return extra("nodes_easycache").EasyCacheNode.execute(model, threshold, 0.15, 0.95, False)[0]


def tcfg(model, times):
    for _ in range(times // 8):
        model = extra("nodes_tcfg").TCFG.execute(model)[0]
    return model


def option(model, value):
    changed = model.clone()
    changed.model_options["transformer_options"]["option"] = value
    return changed


@pytest.mark.parametrize("change", [windows, easy_cache, tcfg, option])
def test_stock_nodes_without_closures_are_known_by_their_values(model, change):
    (once, none), (again, _), (other, _) = (described(change(model, value)) for value in (8, 8, 16))
    assert once == again and len({once, other, described(model)[0]}) == 3 and none == []


def test_a_run_changes_neither_windows_nor_the_model(model):
    windowed = windows(model, 8)
    before = described(windowed)
    windowed.model_options["context_handler"]._step = 3
    assert described(windowed) == before


def test_blocks_to_swap_and_shift_change_nothing(model):
    shifted = model.clone()
    shifted.add_object_patch("model_sampling", Box(1))
    for changed in (swap_blocks(model, 1), swap_blocks(model, 2), shifted):
        assert described(changed) == described(model)


def apg(model):
    return extra("nodes_apg").APG.execute(model, 1.0, 5.0, 0.0)[0]


def changed_by(method, *args):
    def change(model):
        changed = model.clone()
        getattr(changed, method)(*args)
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (apg, "nodes_apg.APG.execute.<locals>.pre_cfg_function"),
        (changed_by("set_model_unet_function_wrapper", closure(1)), "closure.<locals>.<lambda>"),
        (changed_by("set_model_attn1_patch", Box(1).method), "Box.method"),
        (changed_by("add_object_patch", "diffusion_model.blocks.0", Box(1)), "Box (diffusion_model.blocks.0)"),
        (changed_by("add_wrapper", "outer_sample", closure(1)), "closure.<locals>.<lambda>"),
        (changed_by("set_injections", "lora", [Box(1)]), "Box (lora)"),
        (changed_by("set_additional_models", "control", [load_model]), "load_model (control)"),
    ],
)
def test_a_patch_without_a_value_is_named(model, change, name):
    found, unnamed = described(change(model))
    assert found != described(model)[0]
    assert any(name in entry for entry in unnamed), unnamed


def test_a_vae_is_known_by_its_weights(model):
    def of(change):
        state = load_file(shipped("steadydancer_miniature_vae.safetensors"))
        state["conv2.bias"] = state["conv2.bias"] + change
        return manifest(model, comfy.sd.VAE(sd=state)).key

    assert of(0) == of(0) != of(1)


# Runs


class NoVae:
    first_stage_model, vae_dtype = torch.nn.Linear(1, 1), torch.float32


def manifest(model, vae=NoVae, photo=0.0, name="", loras=(), **settings):
    inputs = {"photo": torch.full((1, 8, 8, 3), photo), "first_pose": torch.zeros(1, 8, 8, 3)}
    return make_manifest(model, vae, presets.ROWS[0], {"seed": 7, **settings}, inputs, name, loras)


def files(folder):
    return list(folder.glob("*.json"))


def test_a_manifest_lies_beside_the_chunks_can_be_read_and_may_fail_to_be_written(model, tmp_path):
    assert note_changes(tmp_path / "chunks", manifest(model)) == ""
    (path,) = files(tmp_path / "chunks")
    fields = json.loads(path.read_text("utf-8"))
    assert path.stem == manifest(model).key and fields == manifest(model).fields
    assert (fields["settings"]["steps"], fields["settings"]["text"]["scale"]) == (40, 5.0)
    (tmp_path / "file").write_text("in the way")
    assert note_changes(Path(tmp_path, "file", "chunks"), manifest(model)) == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, ""),
        ({"name": "mine"}, ""),
        ({"seed": 8}, "seed 7 -> 8"),
        ({"photo": 0.5}, "photo"),
        ({"overlap": 5}, "overlap null -> 5"),
    ],
)
def test_what_changed_since_the_last_run_is_named(model, tmp_path, change, text):
    note_changes(tmp_path, manifest(model))
    assert note_changes(tmp_path, manifest(model, **change)) == text
    assert note_changes(tmp_path, manifest(model, **change)) == ""


def test_a_lora_that_changed_is_named(model, tmp_path):
    note_changes(tmp_path, manifest(with_lora(model)))
    assert note_changes(tmp_path, manifest(with_lora(model, strength=0.5))) == "model loras 1 strength 1.0 -> 0.5"


def test_a_lora_file_is_named_beside_the_key(model, tmp_path):
    note_changes(tmp_path, manifest(with_lora(model), loras=["a.safetensors"]))
    renamed = manifest(with_lora(model), loras=["b.safetensors"])
    assert renamed.key == manifest(with_lora(model)).key and note_changes(tmp_path, renamed) == ""
    other = manifest(with_lora(model, value=2.0), loras=["c.safetensors"])
    assert 'lora_files 1 "b.safetensors" -> "c.safetensors", model loras 1 weights' in note_changes(tmp_path, other)


PROMPT = {
    "1": {"class_type": "SteadyDancerLoadModel", "inputs": {"unet_name": "model.safetensors"}},
    "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "first.safetensors"}},
    "3": {
        "class_type": "Power Lora Loader (rgthree)",
        "inputs": {
            "model": ["2", 0],
            "lora_1": {"on": True, "lora": "second.safetensors", "strength": 1.0},
            "lora_2": {"on": False, "lora": "off.safetensors", "strength": 1.0},
            "lora_3": "None",
        },
    },
    "4": {"class_type": "LoraLoader", "inputs": {"model": ["9", 0], "lora_name": "elsewhere.safetensors"}},
    "5": {"class_type": "SteadyDancerChunkSampler", "inputs": {"model": ["3", 0], "seed": 7}},
}


@pytest.mark.parametrize(
    ("prompt", "node", "names"),
    [
        (PROMPT, "5", ("first.safetensors", "second.safetensors")),
        (PROMPT, "4", ("elsewhere.safetensors",)),
        (PROMPT, "1", ()),
        (PROMPT, "nowhere", ()),
        (None, "5", ()),
        ({"5": {"inputs": {"model": ["5", 0], "lora": "self.safetensors"}}}, "5", ("self.safetensors",)),
    ],
)
def test_the_names_of_loras_are_read_from_the_prompt(prompt, node, names):
    assert lora_names(prompt, node) == names


def test_another_video_is_not_compared(model, tmp_path):
    first = manifest(model)
    note_changes(tmp_path, first)
    other = copy.deepcopy(first)
    other.fields["inputs"] = {"photo": "a", "first_pose": "b"}
    assert note_changes(tmp_path, other) == "" and len(files(tmp_path)) == 2


@pytest.mark.parametrize("damage", [b"", b"[1]", b"{}", b'{"inputs": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_passed_over(model, tmp_path, damage):
    note_changes(tmp_path, manifest(model))
    (tmp_path / f"{'0' * 64}.json").write_bytes(damage)
    assert note_changes(tmp_path, manifest(model, seed=8)) == "seed 7 -> 8"


def test_only_the_newest_manifests_stay(model, tmp_path, monkeypatch):
    monkeypatch.setattr("steadydancer_pack.steadydancer_core.long_video.run_manifest.MOST_MANIFESTS", 3)
    for seed in range(5):
        note_changes(tmp_path, manifest(model, seed=seed))
    assert len(files(tmp_path)) == 3
