"""What an artist sees: each workflow opens whole, runs by the button, and comes back out of its own video."""

import json
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
WORKFLOWS = {file.stem: json.loads(file.read_text("utf-8")) for file in FILES}
RUN_MINIATURE = ("quick_start", "dance_from_video", "dance_in_one_node")
LOAD = "workflow => window.app.loadGraphData(workflow)"
NODES = "() => window.app.graph.nodes.map(n => ({type: n.type, missing: n.has_errors === true}))"
WIDGETS = "() => window.app.graph.nodes.flatMap(n => (n.widgets || []).map(w => [n.type, w.name, w.value]))"
# Every combo of the graph whose value is none of its choices.
INVALID = """() => window.app.graph.nodes.flatMap(n => (n.widgets || [])
    .filter(w => w.type === 'combo' && Array.isArray(w.options.values) && !w.options.values.includes(w.value))
    .map(w => `${n.type}.${w.name}=${w.value}`))"""
# A player on the page that holds frames of a file in the output folder.
PLAYABLE = """() => [...document.querySelectorAll('video')]
    .some(v => v.src.includes('type=output') && v.readyState >= 2 && v.videoWidth > 0)"""


def types(workflow):
    return sorted(node["type"] for node in workflow["nodes"])


def to_download(workflow):
    """Return the names of the files that ComfyUI's page offers to download; none of them is here."""
    return {model["name"] for node in workflow["nodes"] for model in node["properties"].get("models", ())}


@pytest.fixture(scope="module", autouse=True)
def kept_dance(server):
    """The file that keep_a_dance writes and pose_editor loads."""
    folder = server.base / "output" / "poses"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SteadyDancer_00001_.json").write_text("[]", encoding="utf-8")


def ours(errors):
    return [error for error in errors if "steadydancer" in error.lower()]


def test_every_workflow_is_offered_as_a_template(server):
    templates = server.get("/workflow_templates")
    assert sorted(templates["steadydancer"]) == sorted(WORKFLOWS)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_opens_with_every_node_and_widget(page, name):
    page.evaluate(LOAD, WORKFLOWS[name])
    nodes = page.evaluate(NODES)
    assert sorted(node["type"] for node in nodes) == types(WORKFLOWS[name])
    assert not any(node["missing"] for node in nodes)
    invalid = {found.partition("=")[2] for found in page.evaluate(INVALID)}
    assert invalid == to_download(WORKFLOWS[name])
    assert ours(page.errors) == []


def test_saved_widget_values_arrive_in_their_widgets(page):
    page.evaluate(LOAD, WORKFLOWS["quick_start"])
    values = {(kind, name): value for kind, name, value in page.evaluate(WIDGETS)}
    assert values["SteadyDancerSampler", "steps"] == 12
    assert values["SteadyDancerSampler", "solver"] == "official unipc"
    assert values["SteadyDancerSampler", "shift"] == 5
    assert values["SteadyDancerReconcileConditions", "length"] == 33
    assert values["ImageScaleBy", "scale_by"] == 4
    assert values["SteadyDancerVideoCombine", "save_metadata"] is True


def test_saved_widget_values_of_the_pose_nodes_arrive_in_their_widgets(page):
    page.evaluate(LOAD, WORKFLOWS["dance_from_video"])
    values = {(kind, name): value for kind, name, value in page.evaluate(WIDGETS)}
    assert values["SteadyDancerExtractPoses", "cache_mb"] == 1024
    assert values["SteadyDancerPickPerson", "rule"] == "largest"
    assert values["SteadyDancerRefinePoses", "smoothing"] == 0.5
    assert values["SteadyDancerAlignPoses", "mode"] == "robust"
    assert values["SteadyDancerAlignPoses", "legs_y"] == 0
    assert values["SteadyDancerAugmentPoses", "seed"] == 1234
    assert values["SteadyDancerDrawPoses", "hands"] is True


def test_saved_widget_values_of_what_needs_the_14b_files_arrive_in_their_widgets(page):
    page.evaluate(LOAD, WORKFLOWS["official_quality"])
    values = {(kind, name): value for kind, name, value in page.evaluate(WIDGETS)}
    assert values["SteadyDancerTrimLeadIn", "mode"] == "trim"
    assert values["SteadyDancerChunkSampler", "preset"] == "Official 40"
    assert values["SteadyDancerLoadPoseDetector", "colour_order"] == "trained"
    assert values["CLIPLoader", "type"] == "wan"


@pytest.mark.parametrize("name", RUN_MINIATURE)
def test_run_makes_a_video_that_plays_and_brings_the_graph_back(page, server, name):
    workflow = WORKFLOWS[name]
    page.evaluate(LOAD, workflow)
    page.get_by_test_id("queue-button").click()
    page.wait_for_function(PLAYABLE, timeout=180_000)
    assert ours(page.errors) == []
    videos = sorted((server.base / "output" / "video").glob("*.mp4"))
    page.evaluate("() => window.app.graph.clear()")
    drop(page, videos[-1])
    page.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(workflow["nodes"]))
    assert sorted(node["type"] for node in page.evaluate(NODES)) == types(workflow)


def drop(page, file):
    """Hand the file to ComfyUI as dropping it on the canvas does."""
    page.set_input_files("#comfy-file-input", file)
