"""What an artist does with a workflow on ComfyUI's page, in either renderer: opens it, runs it, drops its video."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from steadydancer_pack.comfy_client.prompt_edit import with_loaders
from steadydancer_pack.tools.templates.names import QUICK_START, READY_SKELETONS, STAGE_BY_STAGE

PACK = Path(__file__).resolve().parents[2]
FILES = sorted((PACK / "workflows").glob("*.json"))
WORKFLOWS = {file.stem: json.loads(file.read_text("utf-8")) for file in FILES}
WITH_LOADERS = {  # of files, in the place of the bundled sample
    name: with_loaders(WORKFLOWS[name]) for name in (READY_SKELETONS, STAGE_BY_STAGE, QUICK_START)
}
VUE = {"classic": False, "Nodes 2.0": True}  # by the name of the renderer
WAIT, RUN_TIME, TICK = 60_000, 180_000, 50  # ms; RUN_TIME is for a whole run
CLICKS = 6
MIDDLE = (600, 400)  # of the page, where the canvas is
BYPASSED = 4
SET = "([name, value]) => window.app.extensionManager.setting.set(name, value)"
LOAD = "workflow => window.app.loadGraphData(workflow)"
TYPES = "() => window.app.graph.nodes.map(node => node.type).sort()"
DRAWN_BY_VUE = """vue => window.app.graph.nodes
    .every(node => !!document.querySelector(`[data-node-id="${node.id}"]`) === vue)"""
VALUES = """() => Object.fromEntries(window.app.graph.nodes.map(node => [node.id,
    (node.widgets || []).filter(widget => widget.serialize !== false && !widget.name.startsWith('$$'))
        .map(widget => [widget.name, widget.value])]))"""
# Nodes 2.0: by node id the rows of widgets, [what it is called, what it shows]. What has no name is the text of a note.
DRAWN = """() => Object.fromEntries(window.app.graph.nodes.map(node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`);
    const shown = row => {
        const one = selector => row.querySelector(selector);
        if (one('[role=spinbutton]')) return Number(one('[role=spinbutton]').getAttribute('aria-valuenow'));
        if (one('[role=switch]')) return one('[role=switch]').ariaChecked === 'true';
        if (one('[aria-pressed]')) return one('[aria-pressed=true]')?.value === 'on';
        if (one('textarea, input:not([type=file])')) return one('textarea, input:not([type=file])').value;
        return one('button')?.innerText.trim();
    };
    const name = row => row.querySelector('[data-testid=widget-layout-field-label], label')?.innerText.trim() ?? 'text';
    const rows = element?.querySelectorAll('[data-testid=node-widget]') ?? [];
    return [node.id, [...rows].map(row => [name(row), shown(row)])];
}))"""
# What the report boxes of a node say, in either renderer; those that are seen.
REPORTS = """id => {
    const drawn = document.querySelector(`[data-node-id="${id}"]`);
    const {widgets = []} = window.app.graph.getNodeById(id);
    const boxes = drawn ? [...drawn.querySelectorAll('textarea')] : widgets.map(widget => widget.element);
    return boxes.filter(box => box?.readOnly && box.checkVisibility()).map(box => box.value);
}"""
CENTRE = """id => {
    const {graph, canvas} = window.app;
    const node = graph.getNodeById(id);
    const [left, top, width, height] = node.getBounding();
    const box = canvas.canvas.getBoundingClientRect();
    canvas.ds.scale = Math.min(box.width * 0.6 / width, box.height * 0.8 / height, 1.5);
    canvas.ds.offset = [box.width / 2 / canvas.ds.scale - left - width / 2,
                        box.height / 2 / canvas.ds.scale - top - height / 2];
    canvas.setDirty(true, true);
}"""


def types(workflow: dict) -> list[str]:
    """Return the types of the workflow's nodes, sorted."""
    return sorted(node["type"] for node in workflow["nodes"])


def files_of(workflow: dict) -> list[dict]:
    """Return what the workflow says of each file that is not here, by name; a bypassed node needs none."""
    graphs = [workflow, *workflow.get("definitions", {}).get("subgraphs", ())]
    nodes = (node for graph in graphs for node in graph["nodes"] if node["mode"] != BYPASSED)
    models = [model for node in nodes for model in node["properties"].get("models", ())]
    return sorted(models, key=lambda model: model["name"])


def ours(errors: list[str]) -> list[str]:
    """Return those console errors that name the pack; that the tests' ComfyUI keeps other hosts out is none of them."""
    return [error for error in errors if "steadydancer" in error.lower() and "Content Security Policy" not in error]


def draw_with(page: Page, renderer: str) -> None:
    """Let the page draw nodes with the renderer "classic" or "Nodes 2.0", and wait until the open graph is drawn so."""
    page.evaluate(SET, ["Comfy.VueNodes.Enabled", VUE[renderer]])
    page.wait_for_function(DRAWN_BY_VUE, arg=VUE[renderer])


def browse_templates(page: Page) -> None:
    """Open Templates and choose the pack among its extensions."""
    page.get_by_role("button", name="Templates", exact=True).click()
    page.get_by_role("dialog").get_by_text("steadydancer", exact=True).click()


def open_template(page: Page, name: str) -> int:
    """Open a workflow of the pack from Templates as an artist does, and wait until its nodes are there.

    The page makes all cards anew when its list changes; a click that had begun then reaches none, and is repeated. The
    number of such clicks is returned.
    """
    browse_templates(page)
    card, cards = page.get_by_test_id(f"template-workflow-{name}"), page.get_by_test_id("template-workflows-content")
    repeated = -1
    for _ in range(CLICKS):
        card.click()
        repeated += 1
        with suppress(PlaywrightTimeout):
            cards.wait_for(state="detached", timeout=WAIT / CLICKS)
            break
    expect(cards).to_have_count(0)
    wanted = types(WORKFLOWS[name])
    assert in_time(page, lambda: page.evaluate(TYPES), wanted) == wanted
    return repeated


def enter_app_mode(page: Page) -> None:
    """Press the keys of App mode, and wait for its form."""
    expect(page.get_by_role("dialog")).to_have_count(0)  # while one closes, the page takes no keys
    page.keyboard.press("Alt+m")
    expect(page.get_by_test_id("linear-widgets")).to_be_visible()


def press_run(page: Page) -> None:
    """Press the button Run, coming from the canvas: what opened below the mouse, such as a hint to log in, closes."""
    page.mouse.move(*MIDDLE)
    page.get_by_test_id("queue-button").click()


def show(page: Page, id: int) -> None:
    """Bring the node to the middle of the page, as large as it gets."""
    page.evaluate(CENTRE, id)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def in_time(page: Page, read: Callable[[], Any], wanted: Any) -> Any:
    """Return what `read` returns: as soon as that is `wanted`, else after WAIT."""
    for _ in range(WAIT // TICK):
        if read() == wanted:
            break
        page.wait_for_timeout(TICK)
    return read()


def node_of(workflow: dict, kind: str) -> dict | None:
    """Return the workflow's node of that type, None if it has none."""
    return next((node for node in workflow["nodes"] if node["type"] == kind), None)


def drop_file(page: Page, file: Path, x: int, y: int) -> None:
    """Drop the file from outside the browser at a place of the page."""
    browser = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    for event in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": event, "x": x, "y": y, "data": data})
    browser.detach()
