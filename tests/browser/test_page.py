"""What an artist gets on the page: saved values in the widgets of their names, the pack's blueprints, reports.

The report of a node is read and copied, is renewed and comes back, and is in no workflow and in no prompt.
"""

import json
import re

import pytest

from steadydancer_pack.tests.browser.graph import (
    LOAD,
    PACK,
    REPORTS,
    VUE,
    WORKFLOWS,
    draw_with,
    in_time,
    node_of,
    ours,
    show,
    types,
)
from steadydancer_pack.tools.templates.names import OFFICIAL_QUALITY, READY_SKELETONS, STAGE_BY_STAGE

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
SAMPLER = node_of(WORKFLOWS[READY_SKELETONS], "SteadyDancerSampler")["id"]
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "COMBO", "COMFY_DYNAMICCOMBO_V3"}
LONG = "\n".join(f"Line {i} of a long report" for i in range(200))
EXECUTED = """([id, output]) => window.app.api.dispatchCustomEvent(
    'executed', {node: String(id), display_node: String(id), output, prompt_id: 'made up'})"""
# What is queued and what is saved of the nodes, but where they are, how large, and which lies on top.
SAVED = """async () => {
    const nodes = window.app.rootGraph.serialize().nodes;
    const {output} = await window.app.graphToPrompt();
    const saved = nodes.map(({id, widgets_values, properties, inputs}) => [id, [widgets_values, properties, inputs]]);
    return [output, Object.fromEntries(saved)];
}"""
SELECTED = """() => {
    const box = document.activeElement;
    return box.value.slice(box.selectionStart, box.selectionEnd);
}"""
SCROLLS = """() => {
    const box = [...document.querySelectorAll('textarea')].find(box => box.readOnly && box.checkVisibility());
    box.scrollTop = 1000;
    return box.scrollTop === 1000;
}"""
# What the page would queue, with all nodes and with one of them bypassed.
BYPASS = """async id => {
    const {output: whole} = await window.app.graphToPrompt();
    window.app.graph.getNodeById(id).mode = 4;
    const {output: bypassed} = await window.app.graphToPrompt();
    return [whole, bypassed];
}"""
MOVE = "id => window.app.graph.getNodeById(id).pos[0] += 40"
NOTE_CHANGE = """() => {
    const tracker = window.app.extensionManager.workflow.activeWorkflow.changeTracker;
    (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
}"""
COMMAND = "name => window.app.extensionManager.command.execute(name)"
COPY = """id => {
    const {canvas, graph} = window.app;
    canvas.selectItems([graph.getNodeById(id)]);
    canvas.copyToClipboard();
    canvas.pasteFromClipboard();
}"""
BOXES = """type => {
    const graphs = [window.app.rootGraph, ...window.app.rootGraph.subgraphs.values()];
    const nodes = graphs.flatMap(graph => graph.nodes).filter(node => node.type === type);
    const boxes = node => node.widgets.filter(widget => widget.name === 'steadydancer_report');
    return nodes.map(node => boxes(node).map(box => box.value));
}"""
JOBS = re.compile(r"/api/jobs(?:\?workflow_id=.*|/(newer|older))$")
KEPT_OUTPUTS = "outputs => { window.app.nodeOutputs = outputs; }"
WITHOUT_WIDGETS = "() => { Object.defineProperty(window.app, 'widgets', {value: undefined, configurable: true}); }"
WITH_WIDGETS = "() => { delete window.app.widgets; }"


SAVED_VALUES = {
    READY_SKELETONS: [
        ("SteadyDancerSampler", "preset.steps", 12),
        ("SteadyDancerSampler", "preset.solver", "official unipc"),
        ("SteadyDancerSampler", "preset.shift", 5),
        ("SteadyDancerReconcileConditions", "length", 33),
        ("ImageScaleBy", "scale_by", 4),
        ("SteadyDancerVideoCombine", "save_metadata", True),
    ],
    STAGE_BY_STAGE: [
        ("SteadyDancerExtractPoses", "cache_mb", 1024),
        ("SteadyDancerPickPerson", "rule", "largest"),
        ("SteadyDancerRefinePoses", "smoothing", 0.5),
        ("SteadyDancerAlignPoses", "mode", "robust"),
        ("SteadyDancerAlignPoses", "legs_y", 0),
        ("SteadyDancerAugmentPoses", "seed", 1234),
        ("SteadyDancerDrawPoses", "hands", True),
    ],
    OFFICIAL_QUALITY: [
        ("SteadyDancerAnimateFromVideo", "size", "576p"),
        ("SteadyDancerAnimateFromVideo", "source_fps", 16),
        ("SteadyDancerVideoCombine", "show_pose", "off"),
    ],
}


@pytest.mark.parametrize("name", SAVED_VALUES)
def test_saved_widget_values_arrive_in_their_widgets(shared_page, name):
    shared_page.evaluate(LOAD, WORKFLOWS[name])
    values = {(kind, widget): value for kind, widget, value in shared_page.evaluate(WIDGETS)}
    for kind, widget, wanted in SAVED_VALUES[name]:
        found = values[kind, widget]
        assert (type(found), found) == (type(wanted), wanted), (kind, widget)


SAMPLED = [1, "fixed", 12, 1.5, 1, 0.1, 0.4, "official unipc", "official", 5, 1, 1]
CHUNKS = [480, 832, 81, 5, 1, True, 20, False]
BEFORE = [  # what was saved when the widgets stood in another order, and what they hold now
    (
        "SteadyDancerSampler",
        [*SAMPLED, "use the values above"],
        {"preset": "Custom", "preset.steps": 12, "preset.text_guidance": 1.5, "preset.pose_every": 1, "seed": 1},
    ),
    ("SteadyDancerSampler", [*SAMPLED, "Fast 4"], {"preset": "Fast 4", "seed": 1}),
    ("SteadyDancerSampler", SAMPLED[:10], {"preset": "Custom", "preset.shift": 5, "preset.skip_negative_after": 1}),
    (
        "SteadyDancerChunkSampler",
        [*SAMPLED[:10], *CHUNKS, 1, 1, "Fast 4", "mine"],
        {"preset": "Fast 4", "seed": 1, "width": 480, "chunk_length": 81, "tiled_vae": False, "run_name": "mine"},
    ),
    (
        "SteadyDancerAnimateFromVideo",
        ["all", "official", 0.25, 4, 33, 480, 832, 7, "fixed", "first", "head"],
        {"person": "all", "size": "custom", "size.width": 480, "size.height": 832, "max_frames": 33, "lead_in": 4}
        | {"smoothing": 0.25, "mode": "official", "meet_at": "head", "seed": 7, "body_scale": 1, "source_fps": 16},
    ),
    (
        "SteadyDancerAnimateFromVideo",
        ["centre", "robust", 0.5, 0, 81, 0, 0, 7, "fixed"],
        {"person": "centre", "size": "576p", "max_frames": 81, "anchor": "first", "meet_at": "neck", "seed": 7},
    ),
]


@pytest.mark.parametrize(("kind", "saved", "values"), BEFORE)
def test_values_saved_before_the_widgets_moved_arrive_in_their_widgets(shared_page, kind, saved, values):
    node = {"id": 1, "type": kind, "pos": [0, 0], "size": [300, 300], "flags": {}, "order": 0, "mode": 0}
    node |= {"inputs": [], "outputs": [], "properties": {}, "widgets_values": saved}
    shared_page.evaluate(LOAD, {"nodes": [node], "links": [], "groups": [], "extra": {}, "version": 0.4})
    found = {widget: value for _, widget, value in shared_page.evaluate(WIDGETS)}
    assert {name: found.get(name) for name in values} == values


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_blueprint_is_added_from_the_node_library(page, name):
    page.get_by_label("Create a new blank workflow").click()
    if not page.get_by_placeholder("Search").count():
        page.get_by_role("button", name=re.compile("^Node Library")).click()
    page.get_by_placeholder("Search").first.fill(name)
    leaves = page.locator("[role=treeitem]:not([aria-expanded])")  # a category may have a blueprint's name
    leaves.filter(has_text=re.compile(rf"^\s*{re.escape(name)}\s*$")).click()
    page.mouse.move(900, 500)
    page.mouse.click(900, 500)
    (inner,) = BLUEPRINTS[name]["definitions"]["subgraphs"]
    wanted = {
        "types": types(inner),
        "missing": [],
        "inputs": [socket["name"] for socket in inner["inputs"]],
        "outputs": [socket["name"] for socket in inner["outputs"]],
        "widgets": [socket["name"] for socket in inner["inputs"] if socket["type"] in WIDGET_TYPES],
    }
    assert in_time(page, lambda: page.evaluate(INSIDE, name), wanted) == wanted
    assert page.get_by_test_id("error-overlay").count() == 0
    assert ours(page.errors) == []


@pytest.fixture
def sampler(shared_page):
    """A page with the quick start, its sampler in the middle; call it with the sampler's UI output."""
    page = shared_page
    page.errors.clear()
    page.evaluate(LOAD, WORKFLOWS[READY_SKELETONS])
    page.executed = lambda **output: page.evaluate(EXECUTED, [SAMPLER, output])
    yield page
    assert ours(page.errors) == []


def shown(page, *reports: str) -> bool:
    show(page, SAMPLER)
    return in_time(page, lambda: page.evaluate(REPORTS, SAMPLER), list(reports)) == list(reports)


@pytest.mark.parametrize("renderer", VUE)
def test_the_newest_report_is_shown_once_and_copied_as_text(sampler, renderer):
    draw_with(sampler, renderer)
    saved = sampler.evaluate(SAVED)
    sampler.executed(text=["5 forward passes"])
    assert shown(sampler, "5 forward passes")
    sampler.executed(text=["7 forward passes\nin all"])
    assert shown(sampler, "7 forward passes\nin all")
    sampler.locator("textarea[readonly]:visible").click()
    sampler.keyboard.press("Control+A")
    sampler.keyboard.type("x")
    assert sampler.evaluate(SELECTED) == "7 forward passes\nin all"
    assert sampler.evaluate(SAVED) == saved
    sampler.executed(text=["the whole"], shown=["a part"])
    assert shown(sampler, "a part")
    sampler.executed(text=["the whole"], shown=[""])
    assert shown(sampler)


@pytest.mark.parametrize("renderer", VUE)
def test_a_long_report_scrolls(sampler, renderer):
    draw_with(sampler, renderer)
    sampler.executed(text=[LONG])
    assert shown(sampler, LONG) and sampler.evaluate(SCROLLS)


def test_a_report_stays_with_its_node(sampler):
    """Through undo and redo; a copy of the node has none."""
    draw_with(sampler, "classic")
    sampler.evaluate(NOTE_CHANGE)
    sampler.executed(text=["5 forward passes"])
    sampler.evaluate(MOVE, SAMPLER)
    sampler.evaluate(NOTE_CHANGE)
    for command in ("Comfy.Undo", "Comfy.Redo"):
        sampler.evaluate(COMMAND, command)
        assert shown(sampler, "5 forward passes"), command
    sampler.evaluate(COPY, SAMPLER)
    assert sorted(sampler.evaluate(BOXES, "SteadyDancerSampler")) == [[], ["5 forward passes"]]


@pytest.mark.parametrize(("anchor_frame", "reports"), [(0, [["older"]]), (7, [[]])])
def test_the_history_brings_back_the_report_of_a_node_with_the_same_values(shared_page, anchor_frame, reports):
    """Of a node in a subgraph, which runs under an id such as 9:6, and from the newest job that ran it."""
    page, align = shared_page, "SteadyDancerAlignPoses"
    blueprint = BLUEPRINTS["Dance Poses from Video"]
    page.errors.clear()
    ran = {"9:6": {"class_type": align, "inputs": {"anchor_frame": anchor_frame}}}
    jobs = {
        "newer": {"outputs": {}, "workflow": {"prompt": ran}},
        "older": {"outputs": {"9:6": {"text": ["older"]}}, "workflow": {"prompt": ran}},
    }
    answers = {"": {"jobs": [{"id": id} for id in jobs]}} | jobs
    page.route(JOBS, lambda route: route.fulfill(json=answers[JOBS.search(route.request.url)[1] or ""]))
    with page.expect_response("**/api/jobs/older"):
        page.evaluate(LOAD, blueprint)
    page.unroute(JOBS)
    assert in_time(page, lambda: page.evaluate(BOXES, align), reports) == reports
    page.evaluate(EXECUTED, ["9:6", {"text": ["new"]}])
    assert page.evaluate(BOXES, align) == [["new"]]
    subgraph = blueprint["nodes"][0]["type"]
    page.evaluate(KEPT_OUTPUTS, {f"{subgraph}:6": {"text": ["kept by the page"]}})
    assert page.evaluate(BOXES, align) == [["kept by the page"]]
    assert ours(page.errors) == []


def test_a_page_that_has_moved_its_widgets_shows_no_error(sampler):
    sampler.evaluate(WITHOUT_WIDGETS)
    sampler.executed(text=["5 forward passes"])
    assert shown(sampler) and sampler.errors == []
    sampler.evaluate(WITH_WIDGETS)
    sampler.executed(text=["5 forward passes"])
    assert shown(sampler, "5 forward passes")


def test_a_bypassed_align_poses_passes_the_dance_on(page):
    align = node_of(WORKFLOWS[STAGE_BY_STAGE], "SteadyDancerAlignPoses")["id"]
    page.evaluate(LOAD, WORKFLOWS[STAGE_BY_STAGE])
    whole, bypassed = page.evaluate(BYPASS, align)
    dance = whole[str(align)]["inputs"]["poses"]
    fed = [(id, name) for id, node in whole.items() for name, at in node["inputs"].items() if at == [str(align), 0]]
    assert fed and all(bypassed[id]["inputs"][name] == dance for id, name in fed)
