"""What an artist gets on the page: saved values in the widgets of their names, and the pack's subgraph blueprints."""

import json
import re

import pytest

from steadydancer_pack.tests.browser.graph import LOAD, PACK, WORKFLOWS, in_time, ours, types

BLUEPRINTS = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted((PACK / "subgraphs").glob("*.json"))}
WIDGETS = "() => window.app.graph.nodes.flatMap(n => (n.widgets || []).map(w => [n.type, w.name, w.value]))"
# What is in the subgraph node of that title, null until that is there.
INSIDE = """title => {
    const added = window.app.graph.nodes.find(node => node.title === title);
    if (!added) return null;
    const nodes = added.subgraph.nodes;
    return {
        types: nodes.map(node => node.type).sort(),
        missing: nodes.map(node => node.type).filter(type => !(type in window.LiteGraph.registered_node_types)),
        inputs: added.inputs.map(input => input.name),
        outputs: added.outputs.map(output => output.name),
        widgets: (added.widgets ?? []).map(widget => widget.name),
    };
}"""


def values_of(page, name):
    page.evaluate(LOAD, WORKFLOWS[name])
    return {(kind, name): value for kind, name, value in page.evaluate(WIDGETS)}


def test_saved_widget_values_arrive_in_their_widgets(shared_page):
    values = values_of(shared_page, "quick_start")
    assert values["SteadyDancerSampler", "steps"] == 12
    assert values["SteadyDancerSampler", "solver"] == "official unipc"
    assert values["SteadyDancerSampler", "shift"] == 5
    assert values["SteadyDancerReconcileConditions", "length"] == 33
    assert values["ImageScaleBy", "scale_by"] == 4
    assert values["SteadyDancerVideoCombine", "save_metadata"] is True


def test_saved_widget_values_of_the_pose_nodes_arrive_in_their_widgets(shared_page):
    values = values_of(shared_page, "dance_from_video")
    assert values["SteadyDancerExtractPoses", "cache_mb"] == 1024
    assert values["SteadyDancerPickPerson", "rule"] == "largest"
    assert values["SteadyDancerRefinePoses", "smoothing"] == 0.5
    assert values["SteadyDancerAlignPoses", "mode"] == "robust"
    assert values["SteadyDancerAlignPoses", "legs_y"] == 0
    assert values["SteadyDancerAugmentPoses", "seed"] == 1234
    assert values["SteadyDancerDrawPoses", "hands"] is True


def test_saved_widget_values_of_what_needs_the_14b_files_arrive_in_their_widgets(shared_page):
    values = values_of(shared_page, "official_quality")
    assert values["SteadyDancerTrimLeadIn", "mode"] == "trim"
    assert values["SteadyDancerChunkSampler", "preset"] == "Official 40"
    assert values["SteadyDancerLoadPoseDetector", "colour_order"] == "trained"
    assert values["CLIPLoader", "type"] == "wan"


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_is_added_from_the_node_library(page, name):
    page.get_by_label("Create a new blank workflow").click()
    page.get_by_role("button", name=re.compile("^Node Library")).click()
    page.get_by_placeholder("Search").first.fill(name)
    page.get_by_role("treeitem").filter(has_text=re.compile(rf"^\s*{name}\s*$")).click()
    page.mouse.move(900, 500)
    page.mouse.click(900, 500)
    (inner,) = BLUEPRINTS[name]["definitions"]["subgraphs"]
    (outer,) = BLUEPRINTS[name]["nodes"]
    wanted = {
        "types": types(inner),
        "missing": [],
        "inputs": [socket["name"] for socket in inner["inputs"]],
        "outputs": [socket["name"] for socket in inner["outputs"]],
        "widgets": [widget for _, widget in outer["properties"]["proxyWidgets"]],
    }
    assert in_time(page, lambda: page.evaluate(INSIDE, name), wanted) == wanted
    assert page.get_by_test_id("error-overlay").count() == 0
    assert ours(page.errors) == []
