"""The shipped workflows as a picture: nothing overlaps, all flows to the right, all can be read when it opens."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from steadydancer_pack.tests.workflow_layout import (
    NOTES,
    Wire,
    covered,
    crossings,
    curve,
    group_box,
    meet,
    node_box,
    wires,
)

PACK = Path(__file__).resolve().parents[2]
FILES = sorted((PACK / "workflows").glob("*.json"))
FEW = 6  # nodes that need no groups
GAP = 10  # pixels between two nodes
CLEAR = 4  # pixels between a wire and a node that it does not belong to
CANVAS, SMALL_CANVAS = (1920, 1000), (1383, 860)  # on screens of 1920x1080 and 1440x900
PAGE_MARGIN = 10  # the page's own around the nodes


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def workflow(request):
    return json.loads(request.param.read_text("utf-8"))


def name(node):
    return node.get("title") or node["type"]


def test_nodes_and_groups_stand_apart_and_every_node_of_many_in_one_group(workflow):
    pairs = itertools.combinations(workflow["nodes"], 2)
    assert [(name(a), name(b)) for a, b in pairs if node_box(a).grown(GAP).meets(node_box(b))] == []
    groups = {group["title"]: group_box(group) for group in workflow["groups"]}
    assert len(groups) == len(workflow["groups"])
    for node in workflow["nodes"]:
        around = [title for title, box in groups.items() if box.holds(node_box(node))]
        assert len(around) == (bool(groups) and node["type"] not in NOTES), name(node)
    assert groups or len(workflow["nodes"]) <= FEW
    assert [titles for titles in itertools.combinations(groups, 2) if groups[titles[0]].meets(groups[titles[1]])] == []


def test_wires_run_from_left_to_right_or_down_and_with_few_nodes_over_none(workflow):
    boxes = {node["id"]: node_box(node) for node in workflow["nodes"]}
    drawn = wires(workflow)
    assert [wire.names for wire in drawn if boxes[wire.start[0]].left > boxes[wire.end[0]].left] == []
    assert workflow["groups"] or covered(workflow, drawn, CLEAR) == []


def test_the_bends_of_a_wire_belong_to_it(workflow):
    """ComfyUI drops a reroute that no link names."""
    reroutes = {entry["id"]: entry for entry in workflow["extra"].get("reroutes", ())}
    used = {key: set() for key in reroutes}
    for entry in workflow["extra"].get("linkExtensions", ()):
        key = entry["parentId"]
        while key is not None:
            used[key].add(entry["id"])
            key = reroutes[key].get("parentId")
    assert used == {key: set(entry["linkIds"]) for key, entry in reroutes.items()}
    assert set().union(*used.values()) <= {link[0] for link in workflow["links"]}


def test_a_workflow_opens_large_enough_to_read(workflow):
    """The page fits a template into three quarters of its canvas, and writes no word below 8 of a font's 14 pixels."""
    boxes = [node_box(node) for node in workflow["nodes"]]
    width = max(box.right for box in boxes) - min(box.left for box in boxes) + 2 * PAGE_MARGIN
    height = max(box.bottom for box in boxes) - min(box.top for box in boxes) + 2 * PAGE_MARGIN
    canvas = CANVAS if workflow["groups"] else SMALL_CANVAS
    assert 0.75 * min(canvas[0] / width, canvas[1] / height) >= 8 / 14


def two_nodes(*slots):
    """Return a workflow of two nodes, three slots each, with links between (output, input)."""
    sides = {"inputs": [{"name": n} for n in "abc"], "outputs": [{"name": n} for n in "abc"], "size": (100, 80)}
    places = {1: (0, 0), 2: (300, 0), 3: (300, 200)}
    nodes = [{"id": key, "pos": place, **sides} for key, place in places.items()]
    return {"nodes": nodes, "links": [[i, 1, out, target, into, "X"] for i, (out, target, into) in enumerate(slots)]}


@pytest.mark.parametrize(
    ("slots", "crossed"),
    [
        ([(0, 2, 0), (1, 2, 1)], 0),
        ([(0, 2, 1), (1, 2, 0)], 0),  # between the same nodes: no layout can change it
        ([(0, 2, 0), (1, 3, 0)], 0),
        ([(0, 3, 0), (1, 2, 0)], 1),
        ([(0, 3, 0), (0, 2, 0)], 0),  # of one output
    ],
)
def test_crossings_are_counted(slots, crossed):
    assert len(crossings(wires(two_nodes(*slots)))) == crossed


def test_a_wire_over_a_node_is_seen_and_a_bend_leads_it_around():
    """And curves that only come near do not meet."""
    workflow = {"nodes": [{"id": 9, "type": "X", "pos": (100, 0), "size": (100, 100)}]}
    ends = np.array([0.0, 50.0]), np.array([300.0, 50.0])
    bend = np.array([150.0, 200.0])
    for points, over in ((ends, 1), ((ends[0], bend, ends[1]), 0)):
        wire = Wire((1, 0), (2, 0), "a -> b", curve(list(points)))
        assert len(covered(workflow, [wire], CLEAR)) == over
    level = curve([np.array([0.0, 0.0]), np.array([100.0, 0.0])])
    assert not meet(level, level + [0, 1]) and meet(level, curve([np.array([0.0, 9.0]), np.array([100.0, -9.0])]))
