"""What an artist does wrong with weights, LoRAs, windows and chunks: the red node says what to do."""

import copy
import threading

import pytest
import torch
from safetensors.torch import load_file

from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptInterrupted, PromptRejected
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests import model_files
from steadydancer_pack.tests.prompts import (
    SAMPLER,
    VIDEO,
    chunk_sampler,
    error,
    latent_from,
    node,
    run,
    small_prompt,
    write_lora,
)
from steadydancer_pack.training.network import SHIPPED_SIZE

LOADER = "SteadyDancerLoadModel"
WIDTH = SHIPPED_SIZE.dim
LAYER = "diffusion_model.blocks.0.self_attn.q"


@pytest.fixture(scope="module")
def models(server):
    write_all(server.base / "models", server.base / "input")
    return server.base / "models" / "diffusion_models"


@pytest.fixture
def prompt(server, models):
    return small_prompt(server.client.object_info())


def shards(folder, width=WIDTH):
    weights = model_files.unscaled(load_file(folder.parent / "steadydancer_miniature.safetensors"))
    if width != WIDTH:  # another model under the same names
        shapes = {name: [width if side == WIDTH else side for side in w.shape] for name, w in weights.items()}
        weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    return model_files.write_shards(folder, weights)


def only_the_index(folder):
    shards(folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()


def truncated(folder):
    shards(folder)
    file = sorted(folder.glob("*.safetensors"))[1]
    file.write_bytes(file.read_bytes()[:-1000])


def of_two_models(folder):
    shards(folder)
    other = folder.parent / "other"
    shards(other, 64)
    name = sorted(file.name for file in other.glob("*.safetensors"))[1]
    (folder / name).write_bytes((other / name).read_bytes())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (only_the_index, "only the table of contents of a model"),
        (truncated, r"model-00002-of-00003\.safetensors is damaged or not complete"),
        (of_two_models, "do not belong together"),
    ],
)
def test_a_folder_of_shards_that_is_not_whole(server, models, prompt, make, words):
    folder = models / make.__name__
    make(folder)
    sampler = find(prompt, SAMPLER)
    server.client.object_info()  # as pressing R does: the list is read anew
    bad = copy.deepcopy(prompt)
    set_inputs(bad, find(bad, LOADER), model_name=f"{folder.name}/{model_files.INDEX}")
    with pytest.raises(PromptFailed, match=words):
        latent_from(server, bad, sampler)
    assert latent_from(server, prompt, sampler).isfinite().all()


@pytest.mark.parametrize(
    ("name", "layer", "width", "words"),
    [
        ("wrong_width", LAYER, WIDTH // 2, "LoRA on the model was made for another one"),
        ("no_layer", "unet.up.0", WIDTH, None),
    ],
)
def test_a_lora_for_another_model(server, prompt, name, layer, width, words):
    file = write_lora(server, name, layer, width)
    sampler = find(prompt, SAMPLER)
    want = latent_from(server, prompt, sampler)
    model = prompt[sampler]["inputs"]["model"]
    prompt["lora"] = node("LoraLoaderModelOnly", model=model, lora_name=file, strength_model=1.0)
    set_inputs(prompt, sampler, model=["lora", 0])
    if words is None:  # nothing of it reaches the model; the preset that needs one says so
        assert torch.equal(latent_from(server, prompt, sampler), want)
        set_inputs(prompt, sampler, preset="Fast 4")
        _, outputs = run(server, prompt)
        assert "No LoRA acts on this model" in outputs[sampler]["text"][0]
        return
    with pytest.raises(PromptFailed, match=words):
        latent_from(server, prompt, sampler)
    set_inputs(prompt, sampler, model=model, seed=2)  # else ComfyUI would answer from its cache
    assert error(latent_from(server, prompt, sampler), want) > 0
    set_inputs(prompt, sampler, seed=1)
    assert torch.equal(latent_from(server, prompt, sampler), want)  # nothing of the LoRA stayed in the model


def test_windows_that_cannot_work(server, prompt):
    sampler = find(prompt, SAMPLER)
    model = prompt[sampler]["inputs"]["model"]
    prompt["windows"] = node("SteadyDancerLongVideoWindows", model=model, window=17, overlap=17, freenoise=True)
    set_inputs(prompt, sampler, model=["windows", 0])
    with pytest.raises(PromptFailed, match="each window must bring new frames"):
        run(server, prompt)
    set_inputs(prompt, "windows", window=4, overlap=0)
    with pytest.raises(PromptRejected, match="smaller than min of 5"):
        server.client.queue(prompt)
    set_inputs(prompt, "windows", window=17, overlap=8)
    assert latent_from(server, prompt, sampler).isfinite().all()


@pytest.fixture
def chunks(prompt):
    """33 frames in 3 chunks: the chunk sampler in the place of conditions, sampler and decoder."""
    prompt["chunks"] = chunk_sampler(prompt, seed=7, steps=4)
    set_inputs(prompt, find(prompt, VIDEO), images=["chunks", 0])
    return prompt


def test_an_overlap_as_long_as_the_chunk(server, chunks):
    set_inputs(chunks, "chunks", overlap=17)
    with pytest.raises(PromptFailed, match="leaves nothing new in a chunk of"):
        run(server, chunks)


def test_a_stopped_run_goes_on_from_its_finished_chunks(server, chunks):
    stopped = threading.Event()
    set_inputs(chunks, "chunks", steps=8)  # the second chunk must outlast the way of an interrupt to the server

    def stop(kind, data):
        if kind == "progress" and data["node"] == "chunks" and data["value"] > 8 and not stopped.is_set():
            stopped.set()
            server.client.interrupt()

    with pytest.raises(PromptInterrupted):
        server.client.wait(server.client.queue(chunks), stop)
    _, outputs = run(server, chunks)
    assert "1 of 3 chunks were finished before and taken from disk" in outputs["chunks"]["text"][0]
