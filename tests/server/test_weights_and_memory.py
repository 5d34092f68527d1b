"""Every kind of model file, the memory nodes, presets and conversion in a real ComfyUI, beside the stock loaders."""

import copy

import pytest
import torch
from safetensors.torch import load_file, save_file

from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.comfy_client.prompt_run import PromptFailed
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests import model_files
from steadydancer_pack.tests.prompts import (
    RECONCILE,
    SAMPLER,
    VIDEO,
    chunk_sampler,
    error,
    latent_from,
    node,
    run,
    small_prompt,
    stock_ksampler,
    write_lora,
)
from steadydancer_pack.training.network import SHIPPED_SIZE

LOADER = "SteadyDancerLoadModel"


@pytest.fixture(scope="module")
def models(server):
    """The folder of diffusion models with the miniature in several formats."""
    write_all(server.base / "models", server.base / "input")
    folder = server.base / "models" / "diffusion_models"
    fp32 = model_files.unscaled(load_file(folder / "steadydancer_miniature.safetensors"))
    save_file(fp32, folder / "fp32.safetensors")
    save_file(model_files.cast(fp32, torch.float16), folder / "fp16.safetensors")
    save_file(model_files.cast(fp32, torch.bfloat16), folder / "bf16.safetensors")
    save_file(model_files.older_marker(fp32), folder / "older.safetensors")
    save_file(model_files.per_layer(fp32), folder / "per_layer.safetensors")
    save_file(model_files.cast(model_files.diffusers(fp32), torch.float16), folder / "diffusers.safetensors")
    model_files.write_shards(folder / "official", fp32)
    model_files.write_gguf(folder / "q8.gguf", fp32, "Q8_0")
    return folder


@pytest.fixture
def prompt(server, models):
    return small_prompt(server.client.object_info())


def latent_of(server, prompt, file):
    set_inputs(prompt, find(prompt, LOADER), model_name=file, weight_precision="default")
    return latent_from(server, prompt, find(prompt, SAMPLER))


# File -> what the loader says, and how far the latent may be from that of the float32 file.
FILES = {
    "steadydancer_miniature.safetensors": ("fp8 e4m3fn scaled", 1e-6),  # the float32 file is made of it, without loss
    "fp16.safetensors": ("fp16", 1e-6),
    "bf16.safetensors": ("bf16", 2e-2),
    "older.safetensors": ("fp8 e4m3fn scaled", 2e-1),
    "per_layer.safetensors": ("fp8 e4m3fn scaled", 2e-1),
    "diffusers.safetensors": ("diffusers", 1e-6),
    f"official/{model_files.INDEX}": ("3 files", 1e-6),
}


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_recognised_and_gives_nearly_the_same_video(server, prompt, file):
    words, bound = FILES[file]
    want = latent_of(server, prompt, "fp32.safetensors")
    found = latent_of(server, prompt, file)
    assert error(found, want) <= bound
    _, outputs = run(server, {"again": prompt[find(prompt, LOADER)], "save": node("PreviewAny", source=["again", 1])})
    assert words in outputs["save"]["text"][0]


@pytest.mark.parametrize("file", ["steadydancer_miniature.safetensors", "older.safetensors", "per_layer.safetensors"])
def test_the_stock_loader_gives_the_same_latent(server, prompt, file):
    ours = latent_of(server, prompt, file)
    prompt[find(prompt, LOADER)] = node("UNETLoader", unet_name=file, weight_dtype="default")
    assert torch.equal(latent_from(server, prompt, find(prompt, SAMPLER)), ours)


def test_shards_are_hidden_behind_their_index_and_a_missing_one_is_named(server, prompt, models):
    listed = server.client.object_info()[LOADER]["input"]["required"]["model_name"][1]["options"]
    assert [name for name in listed if "official" in name] == [f"official/{model_files.INDEX}"]
    shards = sorted((models / "official").glob("*.safetensors"))
    folder = models / "incomplete"
    folder.mkdir()
    for file in (models / "official").iterdir():
        if file != shards[1]:
            (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(PromptFailed, match=shards[1].name):
        latent_of(server, prompt, f"incomplete/{model_files.INDEX}")


def test_gguf_without_its_pack_names_the_pack(server, prompt):
    assert "q8.gguf" in server.client.object_info()[LOADER]["input"]["required"]["model_name"][1]["options"]
    with pytest.raises(PromptFailed, match="ComfyUI-GGUF through ComfyUI-Manager"):
        latent_of(server, prompt, "q8.gguf")


@pytest.mark.parametrize("sampler", ["ours", "stock"])
def test_blocks_to_swap_and_fit_report_change_nothing_in_the_video(server, prompt, sampler):
    inputs = prompt[find(prompt, SAMPLER)]["inputs"]
    source = find(prompt, SAMPLER)
    if sampler == "stock":
        source = "stock"
        prompt["stock"] = stock_ksampler(prompt, inputs["model"], 2, 2.0)
    want = latent_from(server, prompt, source)
    prompt["fit"] = node("SteadyDancerFitReport", model=inputs["model"], latent=inputs["latent"])
    prompt["swap"] = node("SteadyDancerBlocksToSwap", model=["fit", 0], blocks_to_swap=2)
    set_inputs(prompt, source, model=["swap", 0])
    assert torch.equal(latent_from(server, prompt, source), want)
    _, outputs = run(server, prompt)
    assert f"{SHIPPED_SIZE.layers} blocks" in outputs["fit"]["text"][0]


def test_more_blocks_than_there_are_is_told(server, prompt):
    blocks = SHIPPED_SIZE.layers
    set_inputs(prompt, find(prompt, LOADER), blocks_to_swap=41)
    with pytest.raises(PromptFailed, match=rf"41.*{blocks} blocks|{blocks} blocks.*41"):
        latent_from(server, prompt, find(prompt, SAMPLER))


@pytest.mark.parametrize(("preset", "passes"), [("Official 40", 91), ("Balanced 20", 33), ("Fast 6", 8), ("Fast 4", 5)])
def test_a_preset_tells_what_it_cost(server, prompt, preset, passes):
    set_inputs(prompt, find(prompt, SAMPLER), preset=preset)
    _, outputs = run(server, prompt)
    assert f"{passes} forward passes" in outputs[find(prompt, SAMPLER)]["text"][0]


def test_a_converted_model_loads_and_a_second_conversion_does_not_replace_it(server, prompt, models):
    values = {"precision": "fp8_scaled", "file_name": "converted", "overwrite": False}
    convert = {"c": node("SteadyDancerConvertModel", model_name=f"official/{model_files.INDEX}", **values)}
    _, outputs = run(server, convert)
    assert "sha256" in outputs["c"]["text"][0]
    want = latent_of(server, copy.deepcopy(prompt), "fp32.safetensors")
    # The miniature's weights are 8 bits wide already, so that a conversion to 8 bits must not change them again.
    assert error(latent_of(server, prompt, "converted.safetensors"), want) <= 1e-6
    convert["c"]["inputs"]["model_name"] = "bf16.safetensors"
    with pytest.raises(PromptFailed, match=r"converted\.safetensors"):
        run(server, convert)


def test_the_model_patched_for_windows_and_swap_runs_with_a_lora(server, prompt):
    lora = write_lora(server, "windows", "diffusion_model.blocks.0.cross_attn.k", SHIPPED_SIZE.dim, torch.randn)
    sampler = find(prompt, SAMPLER)
    inputs = prompt[sampler]["inputs"]
    set_inputs(prompt, find(prompt, RECONCILE), length=33)
    plain = latent_from(server, prompt, sampler)
    prompt["swap"] = node("SteadyDancerBlocksToSwap", model=inputs["model"], blocks_to_swap=1)
    prompt["lora"] = node("LoraLoaderModelOnly", model=["swap", 0], lora_name=lora, strength_model=1.0)
    prompt["windows"] = node("SteadyDancerLongVideoWindows", model=["lora", 0], window=17, overlap=8, freenoise=True)
    set_inputs(prompt, sampler, model=["windows", 0])
    found = latent_from(server, prompt, sampler)
    assert found.isfinite().all() and error(found, plain) > 1e-3


def test_chunks_make_the_whole_dance_and_are_found_again(server, prompt):
    prompt["chunks"] = chunk_sampler(prompt, seed=1, **{"preset.steps": 1})
    set_inputs(prompt, find(prompt, VIDEO), images=["chunks", 0])
    _, outputs = run(server, prompt)
    text = outputs["chunks"]["text"][0]
    assert "33 frames in 3 chunk(s)" in text and text.count("frame ") == 2
    video = find(prompt, VIDEO)
    file = outputs[video]["images"]
    set_inputs(prompt, "chunks", chunks_gb=2)  # else ComfyUI would answer from its own cache
    _, outputs = run(server, prompt)
    assert "3 of 3 chunks were finished before" in outputs["chunks"]["text"][0]
    set_inputs(prompt, "chunks", frames_on_disk=True)
    with pytest.raises(PromptFailed, match="frames_on_disk is on, so there are no images"):
        run(server, prompt)
    set_inputs(prompt, video, images=["chunks", 2])
    _, outputs = run(server, prompt)
    assert outputs[video]["images"] == file  # the same frames, so nothing is saved again
