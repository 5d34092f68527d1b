"""The subgraph blueprints: one node around nodes of ours, whose sockets and widgets all lead somewhere."""

import json
from pathlib import Path

import pytest

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.tests.workflow_layout import node_box
from steadydancer_pack.tests.workflow_nodes import misfits, object_info

PACK = Path(__file__).resolve().parents[2]
FILES = sorted((PACK / "subgraphs").glob("*.json"))
FROM_OUTSIDE = {"photo", "pose_frames", "images", "video", "poses", "photo_poses", "detector"}
INPUT, OUTPUT = -10, -20  # ComfyUI's ids of a subgraph's two ends


@pytest.fixture(scope="module")
def info():
    return object_info()


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def blueprint(request):
    """The node that stands for the subgraph, and the subgraph."""
    whole = json.loads(request.param.read_text("utf-8"))
    (host,), (inside,) = whole["nodes"], whole["definitions"]["subgraphs"]
    assert host["type"] == inside["id"] and whole["version"] == 0.4 and whole["links"] == []
    return host, inside


def as_workflow(inside):
    keys = "id", "origin_id", "origin_slot", "target_id", "target_slot", "type"
    return {"nodes": inside["nodes"], "links": [[link[key] for key in keys] for link in inside["links"]]}


def test_all_are_there_under_the_names_that_the_page_shows():
    wanted = ["Dance Poses from Video", "Finish", "Image to Video (SteadyDancer)", "SteadyDancer"]
    assert [file.stem for file in FILES] == wanted


def test_the_node_shows_the_sockets_of_the_subgraph_whose_links_are_known_at_both_ends(blueprint):
    host, inside = blueprint
    for side in ("inputs", "outputs"):
        shown = [(slot["name"], slot["type"], slot.get("label")) for slot in host[side]]
        assert shown == [(slot["name"], slot["type"], slot.get("label")) for slot in inside[side]]
    assert host["title"] == inside["name"] and inside["description"].endswith(".")
    nodes = {node["id"]: node for node in inside["nodes"]}
    for link in inside["links"]:
        start, end = link["origin_id"], link["target_id"]
        origin = inside["inputs"] if start == INPUT else nodes[start]["outputs"]
        target = inside["outputs"] if end == OUTPUT else nodes[end]["inputs"]
        one, other = origin[link["origin_slot"]], target[link["target_slot"]]
        assert link["id"] in one.get("linkIds", one.get("links")) and link["type"] == one["type"] == other["type"]
        assert link["id"] in other.get("linkIds", [other.get("link")])
    ends = [slot["link"] for node in nodes.values() for slot in node["inputs"] if slot["link"] is not None]
    ends += [key for slot in inside["outputs"] for key in slot["linkIds"]]
    assert sorted(ends) == sorted(link["id"] for link in inside["links"])


def test_every_widget_on_the_node_is_one_inside(blueprint, info):
    host, inside = blueprint
    nodes = {str(node["id"]): node for node in inside["nodes"]}
    widgets = [slot["name"] for slot in host["inputs"] if "widget" in slot]
    assert len(widgets) == len(host["properties"]["proxyWidgets"])
    for node, name in host["properties"]["proxyWidgets"]:
        spec = info[nodes[node]["type"]]["input"]
        assert name in spec.get("required", {}) | spec.get("optional", {})
        assert any(slot["name"] == name and "widget" in slot for slot in nodes[node]["inputs"])


def test_what_is_inside_is_whole_and_valid_flows_from_left_to_right_and_does_not_overlap(blueprint, info):
    _, inside = blueprint
    prompt = to_api_prompt(as_workflow(inside), info)
    files = {model["name"] for node in inside["nodes"] for model in node["properties"].get("models", ())}
    assert misfits(prompt, info, files) == []
    for node in prompt.values():
        required = info[node["class_type"]]["input"].get("required", {}).keys()
        assert required - node["inputs"].keys() <= FROM_OUTSIDE, node["class_type"]
    for node in inside["nodes"]:
        ours = node["type"].startswith("SteadyDancer")
        assert node["properties"]["cnr_id"] == ("steadydancer" if ours else "comfy-core")
    boxes = {node["id"]: node_box(node) for node in inside["nodes"]}
    for link in inside["links"]:
        if {link["origin_id"], link["target_id"]} <= boxes.keys():
            assert boxes[link["origin_id"]].right < boxes[link["target_id"]].left
    assert not any(a.meets(b) for i, a in boxes.items() for j, b in boxes.items() if i < j)
