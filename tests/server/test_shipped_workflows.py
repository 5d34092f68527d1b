"""The workflows that name the 14B files, with the miniature in their place: each graph runs to its videos."""

import json
from pathlib import Path

import av
import pytest
from PIL import Image, ImageOps

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests.comfy.test_negative_prompt import ONE_VIDEO
from steadydancer_pack.tests.on_miniature import on_the_miniature
from steadydancer_pack.tests.prompts import SAMPLER, VIDEO, file_of, run
from steadydancer_pack.tools.templates.names import CHECK_THE_DANCE, FAST_4_STEPS, MANY_PHOTOS, OWN_POSE_VIDEO

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
FRAMES = 9
VIDEOS = dict.fromkeys(ONE_VIDEO, 1) | {MANY_PHOTOS: 3}
QUICK = {"preset": "Custom", "preset.steps": 2}
SMALL = {"width": 48, "height": 48}
# What nodes of a type take: fewer frames and steps, the sample's files.
INSTEAD = {
    "SteadyDancerSampler": QUICK,
    "SteadyDancerChunkSampler": QUICK | {"chunk_length": FRAMES, "overlap": 5, "keep_chunks": False},
    "SteadyDancerReconcileConditions": SMALL,
    "LoadImage": {"image": "steadydancer_sample.png"},
    "LoadVideo": {"file": "steadydancer_sample_dance.mp4"},
    "SteadyDancerAnimateFromVideo": {"max_frames": FRAMES, "size": "custom", "size.width": 48, "size.height": 48},
    "SteadyDancerDrawPoses": SMALL,
}
FROM_THE_CACHE = "The poses of this video come from the cache."
TRIM = "SteadyDancerTrimLeadIn"


@pytest.fixture(scope="module", autouse=True)
def files(server):
    write_all(server.base / "models", server.base / "input")


@pytest.mark.parametrize("name", VIDEOS)
def test_a_graph_for_the_14b_files_runs_to_its_videos(server, name):
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    prompt = on_the_miniature(to_api_prompt(workflow, server.client.object_info()), INSTEAD)
    if name == OWN_POSE_VIDEO:
        set_inputs(prompt, find(prompt, "LoadVideo"), file="steadydancer_sample_pose.mp4")
    _, outputs = run(server, prompt)
    videos = outputs[find(prompt, VIDEO)]["images"]
    assert len(videos) == VIDEOS[name]
    assert all(file_of(server, entry).is_file() for entry in videos)


def test_a_new_seed_samples_decodes_and_saves_only_and_a_new_photo_takes_the_poses_of_the_dance_from_the_cache(server):
    workflow = json.loads((WORKFLOWS / f"{FAST_4_STEPS}.json").read_text("utf-8"))
    prompt = on_the_miniature(to_api_prompt(workflow, server.client.object_info()), INSTEAD)
    kinds = {key: node["class_type"] for key, node in prompt.items()}
    set_inputs(prompt, find(prompt, SAMPLER), seed=1)
    run(server, prompt)
    set_inputs(prompt, find(prompt, SAMPLER), seed=2)
    report, _ = run(server, prompt)
    assert sorted(kinds[key] for key in report.node_seconds) == sorted([SAMPLER, "VAEDecode", TRIM, VIDEO])
    with Image.open(server.base / "input" / "steadydancer_sample.png") as photo:
        ImageOps.autocontrast(photo.convert("RGB"), cutoff=5).save(server.base / "input" / "other.png")
    set_inputs(prompt, find(prompt, "LoadImage"), image="other.png")
    before = server.log().count(FROM_THE_CACHE)
    report, _ = run(server, prompt)
    assert server.log().count(FROM_THE_CACHE) == before + 1
    unchanged = {"LoadVideo", "SteadyDancerLoadModel", "VAELoader", "SteadyDancerLoadPromptEmbeddings"}
    assert {kinds[key] for key in report.node_seconds} == {*kinds.values()} - unchanged


def test_the_dance_is_checked_at_the_first_run_before_a_file_is_chosen_and_then_on_own_files(server):
    workflow = json.loads((WORKFLOWS / f"{CHECK_THE_DANCE}.json").read_text("utf-8"))
    prompt = to_api_prompt(workflow, server.client.object_info())
    poses = find(prompt, "SteadyDancerAnimateFromVideo")
    set_inputs(prompt, poses, max_frames=FRAMES)
    _, outputs = run(server, prompt)
    (preview,) = outputs[poses]["images"]
    assert preview["type"] == "temp" and outputs[poses]["animated"] == [True]
    with av.open(str(file_of(server, preview))) as file:
        assert file.streams.video[0].frames == FRAMES and file.streams.audio
    assert "off the photo's own pose (white): neck 0 %" in outputs[poses]["shown"][0]
    for kind, chosen in (("LoadImage", "image"), ("LoadVideo", "file")):
        set_inputs(prompt, find(prompt, kind), **{chosen: INSTEAD[kind][chosen]})
    set_inputs(prompt, find(prompt, "PrimitiveBoolean"), value=True)
    report, outputs = run(server, prompt)
    assert outputs[poses]["shown"] and {find(prompt, "LoadImage"), find(prompt, "LoadVideo")} <= {*report.node_seconds}
