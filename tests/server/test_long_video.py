"""Long videos in a real ComfyUI, by our nodes and by the stock ones beside them."""

import copy
import json
from pathlib import Path

import av
import pytest
import torch

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.comfy_client.prompt_run import PromptFailed
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests.prompts import (
    RECONCILE,
    SAMPLER,
    VIDEO,
    chunk_sampler,
    file_of,
    latent_from,
    node,
    pictures,
    run,
    stock_ksampler,
)
from steadydancer_pack.tools.templates.names import READY_SKELETONS

SKELETONS = json.loads(
    (Path(__file__).resolve().parents[2] / "workflows" / f"{READY_SKELETONS}.json").read_text("utf-8")
)
FRAMES = 321
SHORT = {"chunk_length": 5, "overlap": 1}


@pytest.fixture(scope="module")
def long_prompt(server):
    """The ready skeletons with their dance repeated to 321 frames, in windows of 81."""
    write_all(server.base / "models", server.base / "input")
    prompt = to_api_prompt(copy.deepcopy(SKELETONS), server.client.object_info())
    reconcile, sampler = prompt[find(prompt, RECONCILE)]["inputs"], prompt[find(prompt, SAMPLER)]["inputs"]
    for name in ("pose_frames", "pose_negative_frames"):
        prompt[name] = node("RepeatImageBatch", image=reconcile[name], amount=10)
        reconcile[name] = [name, 0]
    windows = {"window": 81, "overlap": 16, "freenoise": True}
    prompt["windows"] = node("SteadyDancerLongVideoWindows", model=sampler["model"], **windows)
    reconcile |= {"length": FRAMES, "width": 32, "height": 32}
    sampler |= {"model": ["windows", 0], "preset.steps": 2, "preset.text_guidance": 5.0}
    return prompt


def test_321_frames_come_out_with_a_score_for_each_seam(server, long_prompt):
    prompt = copy.deepcopy(long_prompt)
    video = prompt[find(prompt, VIDEO)]["inputs"]
    decode = prompt[find(prompt, "VAEDecode")]
    tiles = {"tile_size": 64, "overlap": 32, "temporal_size": 64, "temporal_overlap": 8}
    decode |= {"class_type": "VAEDecodeTiled", "inputs": decode["inputs"] | tiles}
    prompt["seams"] = node("SteadyDancerSeamReport", images=video["images"], window=81, overlap=16)
    video["images"] = ["seams", 0]
    _, outputs = run(server, prompt)
    (entry,) = outputs[find(prompt, VIDEO)]["images"]
    with av.open(file_of(server, entry)) as file:
        assert sum(1 for _ in file.decode(video=0)) == FRAMES
    report = outputs["seams"]["text"][0].splitlines()
    assert [line.split(":")[0] for line in report[1:]] == ["frame 73", "frame 141", "frame 209", "frame 261"]


def test_the_stock_sampler_takes_the_windows_too(server, long_prompt):
    prompt = copy.deepcopy(long_prompt)
    prompt["stock"] = stock_ksampler(prompt, ["windows", 0], 1, 1.0)
    found = latent_from(server, prompt, "stock")
    assert found.shape[2] == 81 and found.isfinite().all()


def test_a_clip_of_one_window_is_sampled_as_without_the_node(server, long_prompt):
    prompt = copy.deepcopy(long_prompt)
    set_inputs(prompt, find(prompt, RECONCILE), length=33)
    inside = latent_from(server, prompt, find(prompt, SAMPLER))
    set_inputs(prompt, find(prompt, SAMPLER), model=prompt["windows"]["inputs"]["model"])
    assert torch.equal(latent_from(server, prompt, find(prompt, SAMPLER)), inside)


def chunk_parts(prompt, bodies):
    """Return what a chunk sampler with Fast 4 does as nodes, with one sampler per chunk, and the last one's id."""
    given = chunk_sampler(prompt, **SHORT)["inputs"]
    sampling = ("model", "preset", "colour_match", "keep_chunks", "chunks_gb")
    plan = {name: value for name, value in given.items() if not name.startswith(sampling)}
    model = given["model"]
    parts = {
        "plan": node("SteadyDancerPlanChunks", **plan, seed=0),
        "solver": node("SteadyDancerSchedule", model=model, solver="official euler", scheduler="official", steps=4),
    }
    solver = {"sampler": ["solver", 0], "sigmas": ["solver", 1]}
    guidance = {"text_guidance": 1.0, "pose_guidance": 1.0, "pose_start": 0.1, "pose_end": 0.4}
    for i in range(bodies):
        before = {"video": [f"join{i - 1}", 0]} if i else {}
        conditions = {name: [f"next{i}", place] for place, name in enumerate(("positive", "negative", "pose_negative"))}
        noise = {"noise": [f"next{i}", 4], "latent_image": [f"next{i}", 3]}
        parts |= {
            f"next{i}": node("SteadyDancerNextChunk", plan=["plan", 0], **before),
            f"guider{i}": node("SteadyDancerGuider", model=model, **conditions, **guidance),
            f"sample{i}": node("SamplerCustomAdvanced", guider=[f"guider{i}", 0], **noise, **solver),
            f"decode{i}": node("VAEDecode", samples=[f"sample{i}", 0], vae=given["vae"]),
            f"join{i}": node(
                "SteadyDancerJoinChunks", chunk=[f"next{i}", 6], frames=[f"decode{i}", 0], colour_match=1.0
            ),
        }
    return parts, f"join{bodies - 1}"


def test_chunks_in_parts_are_the_frames_of_one_node_and_a_chunk_too_many_samples_nothing(server, long_prompt):
    prompt = {key: entry for key, entry in copy.deepcopy(long_prompt).items() if entry["class_type"] != VIDEO}
    for name in ("pose_frames", "pose_negative_frames"):
        prompt[name] = node("ImageFromBatch", image=prompt[name]["inputs"]["image"], batch_index=0, length=13)
    set_inputs(prompt, find(prompt, SAMPLER), model=prompt["windows"]["inputs"]["model"])
    parts, last = chunk_parts(prompt, 4)  # for the 3 chunks of 13 frames
    one = chunk_sampler(prompt, preset="Fast 4", seed=0, keep_chunks=False, **SHORT)
    shown = {name: node("PreviewImage", images=[source, 0]) for name, source in (("a", "one"), ("b", last))}
    report, outputs = run(server, prompt | parts | {"one": one} | shown)
    want, found = (pictures(server, outputs[name]) for name in shown)
    assert len(want) == 13 and (found == want).all()
    ran = report.node_seconds.keys()
    assert {"sample2", "next3", last} <= ran and not {"guider3", "sample3", "decode3"} & ran
    assert outputs[last]["text"][0].splitlines()[0] == "3 of 3 chunks, 13 of 13 frames"
    parts["join1"]["inputs"]["frames"] = ["decode0", 0]
    with pytest.raises(PromptFailed, match="sampled with another 'Next Chunk' than its chunk comes from"):
        run(server, prompt | parts | {"b": shown["b"]})


def test_chunks_continue_from_latents_and_the_first_one_from_a_finished_clip(server, long_prompt):
    prompt = {key: entry for key, entry in copy.deepcopy(long_prompt).items() if entry["class_type"] != VIDEO}
    for name in ("pose_frames", "pose_negative_frames"):
        prompt[name] = node("ImageFromBatch", image=prompt[name]["inputs"]["image"], batch_index=0, length=13)
    set_inputs(prompt, find(prompt, SAMPLER), model=prompt["windows"]["inputs"]["model"])
    chunks = {"preset": "Fast 4", "chunk_length": 9, "overlap": 5, "continue_from": "latents", "keep_chunks": False}
    prompt["clip"] = chunk_sampler(prompt, **chunks, seed=0)
    prompt["inverted"] = node("ImageInvert", image=["clip", 0])
    prompt["continued"] = chunk_sampler(prompt, **chunks, seed=0, transition_video=["inverted", 0])
    shown = {f"{name} shown": node("PreviewImage", images=[name, 0]) for name in ("clip", "continued")}
    _, outputs = run(server, prompt | shown)
    clip, continued = (pictures(server, outputs[name]).astype(int) for name in shown)
    assert len(clip) == len(continued) == 13
    assert abs(continued[0] - (255 - clip[-5])).mean() < 0.3 * abs(continued[0] - clip[-5]).mean()
