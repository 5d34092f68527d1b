"""What an artist sees: the quick start opens whole, runs by its button, and comes back out of its own video."""

import json
from pathlib import Path

WORKFLOW = json.loads((Path(__file__).resolve().parents[2] / "workflows" / "quick_start.json").read_text("utf-8"))
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


def ours(errors):
    return [error for error in errors if "steadydancer" in error.lower()]


def test_the_quick_start_is_offered_as_a_template(page, server):
    templates = server.get("/workflow_templates")
    assert "quick_start" in templates["steadydancer"]


def test_the_quick_start_opens_with_every_node_and_widget(page):
    page.evaluate(LOAD, WORKFLOW)
    nodes = page.evaluate(NODES)
    assert sorted(node["type"] for node in nodes) == types(WORKFLOW)
    assert not any(node["missing"] for node in nodes)
    assert page.evaluate(INVALID) == []
    assert ours(page.errors) == []


def test_saved_widget_values_arrive_in_their_widgets(page):
    page.evaluate(LOAD, WORKFLOW)
    values = {(kind, name): value for kind, name, value in page.evaluate(WIDGETS)}
    assert values["SteadyDancerSampler", "steps"] == 10
    assert values["SteadyDancerSampler", "solver"] == "official unipc"
    assert values["SteadyDancerSampler", "shift"] == 5
    assert values["SteadyDancerReconcileConditions", "length"] == 33
    assert values["SteadyDancerVideoCombine", "save_metadata"] is True


def test_run_makes_a_video_that_plays_and_brings_the_graph_back(page, server):
    page.evaluate(LOAD, WORKFLOW)
    page.get_by_test_id("queue-button").click()
    page.wait_for_function(PLAYABLE, timeout=180_000)
    assert ours(page.errors) == []
    videos = sorted((server.base / "output" / "video").glob("*.mp4"))
    page.evaluate("() => window.app.graph.clear()")
    drop(page, videos[-1])
    page.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(WORKFLOW["nodes"]))
    assert sorted(node["type"] for node in page.evaluate(NODES)) == types(WORKFLOW)


def drop(page, file):
    """Hand the file to ComfyUI as dropping it on the canvas does."""
    page.set_input_files("#comfy-file-input", file)
