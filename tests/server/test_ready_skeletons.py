"""The ready skeletons in a real ComfyUI: what comes out, what is refused, and that an interrupt harms nothing."""

import copy
import json
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.prompt_edit import SAMPLE, find, set_custom, set_inputs
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptInterrupted, PromptRejected
from steadydancer_pack.miniature import ENLARGED, SIDE, write_all
from steadydancer_pack.tests.prompts import (
    RECONCILE,
    SAMPLER,
    VIDEO,
    error,
    file_of,
    latent_from,
    node,
    run,
    stock_ksampler,
    write_lora,
)
from steadydancer_pack.tools.templates.names import READY_SKELETONS
from steadydancer_pack.training import sample
from steadydancer_pack.training.network import SHIPPED_SIZE

WORKFLOW = json.loads(
    (Path(__file__).resolve().parents[2] / "workflows" / f"{READY_SKELETONS}.json").read_text("utf-8")
)
FRAMES, FPS, STEPS = 33, 16, 12
LOADER, FIRST_FRAME = "SteadyDancerLoadModel", "SteadyDancerExactFirstFrame"


@pytest.fixture(scope="module", autouse=True)
def miniature(server):
    write_all(server.base / "models", server.base / "input")


@pytest.fixture
def prompt(server):
    """The workflow with text guidance, shortened to 5 frames and 4 steps for the tests that do not look at it."""
    prompt = to_api_prompt(copy.deepcopy(WORKFLOW), server.client.object_info())
    set_inputs(prompt, find(prompt, RECONCILE), length=5)
    set_custom(prompt, find(prompt, SAMPLER), steps=4, text_guidance=5.0)
    return prompt


@pytest.fixture(scope="module")
def finished(server):
    """Run the workflow as shipped; return (API prompt, RunReport, outputs)."""
    prompt = to_api_prompt(WORKFLOW, server.client.object_info())
    prompt_id = server.client.queue(prompt, WORKFLOW)
    report = server.client.wait(prompt_id)
    return prompt, report, server.client.history(prompt_id)["outputs"]


@pytest.fixture(scope="module")
def video_file(server, finished):
    prompt, _, outputs = finished
    (entry,) = outputs[find(prompt, VIDEO)]["images"]
    return file_of(server, entry)


def test_progress_and_previews_come_step_by_step_and_the_nodes_report(finished):
    prompt, report, outputs = finished
    steps = [value for node, value, maximum in report.progress if node == find(prompt, SAMPLER) and maximum == STEPS]
    assert steps == sorted(steps) and steps[-1] == STEPS
    assert report.previews >= 1
    assert f"{SIDE}x{SIDE}, {FRAMES} frames" in outputs[find(prompt, RECONCILE)]["text"][0]


def test_the_mp4_is_what_was_asked_and_its_metadata_reopens_the_workflow(video_file, finished):
    with av.open(video_file) as file:
        metadata = dict(file.metadata)
        video, audio = file.streams.video[0], file.streams.audio[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video)]
        seconds = float(audio.duration * audio.time_base)
        assert video.codec_context.name == "h264" and float(video.average_rate) == FPS
    assert len(frames) == FRAMES and frames[0].shape == (ENLARGED * SIDE, ENLARGED * SIDE, 3)
    assert seconds == pytest.approx(FRAMES / FPS, abs=0.03)
    assert json.loads(metadata["workflow"]) == WORKFLOW
    assert json.loads(metadata["prompt"]).keys() == finished[0].keys()


def test_exact_first_frame_puts_the_photo_first(server, prompt):
    """Between decoder and enlargement, where an artist would add it."""
    enlarge = find(prompt, "ImageScaleBy")
    frames = {"images": prompt[enlarge]["inputs"]["image"], "photo": [find(prompt, SAMPLE), 0]}
    prompt["first"] = node(FIRST_FRAME, **frames, enabled=True, crossfade=3)
    set_inputs(prompt, enlarge, image=["first", 0])
    _, outputs = run(server, prompt)
    (entry,) = outputs[find(prompt, VIDEO)]["images"]
    photo = Image.open(server.base / "input" / "steadydancer_sample.png").convert("RGB")
    with av.open(file_of(server, entry)) as file:
        first = next(file.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(first.astype(float) - np.asarray(photo, dtype=float)).mean() < 4
    assert any("PSNR of frame 0" in line for line in outputs["first"]["text"])


def psnr(found, want):
    """Return the PSNR in dB of pictures in 0..255."""
    return 10 * np.log10(255**2 / np.square(found - want).mean())


def test_the_photos_figure_dances(video_file):
    """Nearer to the true answer than the photo held still is, and nearer than a moment of the dance that is not now."""
    with av.open(video_file) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    found = frames.reshape(FRAMES, SIDE, ENLARGED, SIDE, ENLARGED, 3).mean(axis=(2, 4))
    truth = sample.film(sample.answer().at(slice(FRAMES)), SIDE).frames.astype(float)
    right, still = psnr(found[1:], truth[1:]), psnr(truth[:1], truth[1:])
    late = psnr(found[1:], np.roll(truth[1:], 6, axis=0))
    assert right > still + 3 and right > late + 2


def values_of(prompt, sampler):
    """Return the sampler's inputs under the names that its parts have for them."""
    return {name.removeprefix("preset."): value for name, value in prompt[sampler]["inputs"].items()}


@pytest.mark.parametrize(
    ("solver", "scheduler"), [("euler", "simple"), ("official unipc", "official"), ("official dpm++", "official")]
)
def test_sampler_and_guider_nodes_give_one_latent(server, prompt, solver, scheduler):
    sampler = find(prompt, SAMPLER)
    set_custom(prompt, sampler, solver=solver, scheduler=scheduler)
    inputs = values_of(prompt, sampler)
    sampler_only = {"preset", "latent", "seed", "steps", "solver", "scheduler", "shift"}
    schedule = {"model": inputs["model"], "scheduler": scheduler, "steps": inputs["steps"], "solver": solver}
    solver_of = {"sampler": ["s", 0], "sigmas": ["s", 1]}
    parts = {
        "g": node("SteadyDancerGuider", **{name: inputs[name] for name in inputs.keys() - sampler_only}),
        "s": node("SteadyDancerSchedule", **schedule),
        "n": node("RandomNoise", noise_seed=inputs["seed"]),
        "c": node("SamplerCustomAdvanced", noise=["n", 0], guider=["g", 0], latent_image=inputs["latent"], **solver_of),
    }
    want = latent_from(server, prompt, sampler)
    assert want.isfinite().all() and error(latent_from(server, prompt | parts, "c"), want) <= 1e-5


def test_the_stock_ksampler_with_pose_guidance_gives_the_same_latent(server, prompt):
    sampler = find(prompt, SAMPLER)
    set_custom(prompt, sampler, solver="euler", scheduler="simple")
    inputs = values_of(prompt, sampler)
    window = {name: inputs[name] for name in ("pose_negative", "pose_guidance", "pose_start", "pose_end")}
    parts = {
        "p": node("SteadyDancerPoseGuidance", model=inputs["model"], **window),
        "k": stock_ksampler(prompt, ["p", 0], inputs["steps"], inputs["text_guidance"]),
    }
    assert error(latent_from(server, prompt | parts, "k"), latent_from(server, prompt, sampler)) <= 1e-5


def test_the_stock_lora_node_changes_the_latent(server, prompt):
    lora = write_lora(server, "test", "diffusion_model.blocks.0.cross_attn.k", SHIPPED_SIZE.dim, torch.randn)
    sampler = find(prompt, SAMPLER)
    plain = latent_from(server, prompt, sampler)
    model = prompt[sampler]["inputs"]["model"]
    loader = node("LoraLoaderModelOnly", model=model, lora_name=lora, strength_model=1.0)
    set_inputs(prompt, sampler, model=["lora", 0])
    assert error(latent_from(server, prompt | {"lora": loader}, sampler), plain) > 1e-3


def test_the_stock_context_window_node_runs(server, prompt):
    sampler = find(prompt, SAMPLER)
    set_inputs(prompt, find(prompt, RECONCILE), length=21)
    whole = latent_from(server, prompt, sampler)
    windows = {"context_length": 13, "context_overlap": 4, "context_stride": 1, "context_schedule": "standard_static"}
    off = dict.fromkeys(("closed_loop", "freenoise", "retain_first_frame", "split_conds_to_windows"), False)
    model = prompt[sampler]["inputs"]["model"]
    windows = node("WanContextWindowsManual", model=model, fuse_method="pyramid", **windows, **off)
    set_inputs(prompt, sampler, model=["w", 0])
    found = latent_from(server, prompt | {"w": windows}, sampler)
    assert found.shape == whole.shape == (1, 16, 6, 12, 12)
    assert found.isfinite().all() and error(found, whole) > 1e-3


def test_the_stock_loader_gives_the_same_latent(server, prompt):
    ours = latent_from(server, prompt, find(prompt, SAMPLER))
    stock = node("UNETLoader", unet_name="steadydancer_miniature.safetensors", weight_dtype="default")
    prompt[find(prompt, LOADER)] = stock
    assert torch.equal(latent_from(server, prompt, find(prompt, SAMPLER)), ours)


def without(*names):
    def change(inputs):
        for name in names:
            del inputs[name]

    return change


# What an artist does wrong -> (node, change of its inputs, what the red node says).
MISTAKES = {
    "pose guidance without pose-negative": (SAMPLER, without("pose_negative"), "pose_negative"),
    "window upside down": (
        SAMPLER,
        lambda i: i.update({"preset.pose_start": 0.5, "preset.pose_end": 0.2}),
        "starts? before it ends",
    ),
    "length 1": (RECONCILE, lambda i: i.update(length=1), "length is 1"),
    "fps the format cannot hold": (VIDEO, lambda i: i.update(format="GIF", fps=120.0), "fps is 120"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_words_and_the_next_prompt_runs(server, prompt, case):
    class_type, change, message = MISTAKES[case]
    good = copy.deepcopy(prompt)
    change(prompt[find(prompt, class_type)]["inputs"])
    with pytest.raises(PromptFailed, match=message):
        run(server, prompt)
    run(server, good)


def test_pose_guidance_0_needs_no_pose_negative(server, prompt):
    sampler = find(prompt, SAMPLER)
    seed = prompt[sampler]["inputs"]["seed"]
    set_custom(prompt, sampler, pose_guidance=0.0)
    connected = latent_from(server, prompt, sampler)
    del prompt[sampler]["inputs"]["pose_negative"]
    set_inputs(prompt, sampler, seed=seed + 1)  # else ComfyUI would answer both from its cache
    another = latent_from(server, prompt, sampler)
    set_inputs(prompt, sampler, seed=seed)
    assert torch.equal(latent_from(server, prompt, sampler), connected) and not torch.equal(another, connected)


NOT_A_FILE = "filename_prefix .* (does not name a file|is not filled in here)"


@pytest.mark.parametrize(
    ("class_type", "values", "message"),
    [
        (RECONCILE, {"length": 0}, "Value 0 smaller than min of 1: length"),
        (VIDEO, {"filename_prefix": "../../outside"}, NOT_A_FILE),
        (VIDEO, {"filename_prefix": "dance: take 2"}, NOT_A_FILE),
        (VIDEO, {"filename_prefix": "%date:yyyy-MM-dd%/clip"}, NOT_A_FILE),
        (LOADER, {"model_name": "steadydancer.pth"}, "model_name"),
        (LOADER, {"model_name": "../../secret.safetensors"}, "model_name"),
        (LOADER, {"model_name": "not_there.safetensors"}, "model_name"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_runs(server, prompt, class_type, values, message):
    (server.base / "models" / "diffusion_models" / "steadydancer.pth").write_bytes(b"")
    set_inputs(prompt, find(prompt, class_type), **values)
    with pytest.raises(PromptRejected, match=message):
        server.client.queue(prompt)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", "truncated"])
def test_a_damaged_model_file_is_named(server, prompt, content):
    folder = server.base / "models" / "diffusion_models"
    whole = (folder / "steadydancer_miniature.safetensors").read_bytes()
    (folder / "broken.safetensors").write_bytes(whole[:-100] if content == "truncated" else content)
    set_inputs(prompt, find(prompt, LOADER), model_name="broken.safetensors")
    with pytest.raises(PromptFailed, match="broken.safetensors is damaged"):
        run(server, prompt)


@pytest.mark.parametrize("stage", [SAMPLER, VIDEO])
def test_an_interrupt_stops_the_run_and_the_next_prompt_runs(server, prompt, stage):
    slow = copy.deepcopy(prompt)
    set_custom(slow, find(slow, SAMPLER), steps=500 if stage == SAMPLER else 4)
    set_inputs(slow, find(slow, VIDEO), loop=0 if stage == SAMPLER else 1000)
    stopped = threading.Event()

    def stop(kind, data):
        if kind == "progress" and data["node"] == find(slow, stage) and not stopped.is_set():
            stopped.set()
            server.client.interrupt()

    videos = set((server.base / "output" / "video").glob("*"))
    with pytest.raises(PromptInterrupted):
        server.client.wait(server.client.queue(slow), stop)
    assert set((server.base / "output" / "video").glob("*")) == videos
    run(server, prompt)
