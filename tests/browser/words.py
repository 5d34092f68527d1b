"""What an artist reads on ComfyUI's page: nodes in the search, their help, their labels, what a resting mouse tells.

And what they should read: in English the texts of the schemas, as the server gives them, else those of locales/.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from playwright.sync_api import Page, TimeoutError, expect

from steadydancer_pack.tests.browser.graph import PACK, SET, WAIT

PAGES = PACK / "web" / "docs"
EMPTY_SPOT, TARGET = (300, 150), (700, 300)
TOP, BELOW_THE_TOOLBOX = (300, 80), (300, 250)
DOUBLE_CLICKS = 3
UNCOVERED = "!document.querySelector('.p-blockui-mask')"  # it lies over the page while that starts
PUT = """types => {
    const graph = window.app.graph;
    graph.clear();
    types.forEach((type, place) => {
        const node = window.LiteGraph.createNode(type);
        graph.add(node);
        node.pos = [place % 9 * 420, Math.floor(place / 9) * 900];
    });
    return window.app.loadGraphData(graph.serialize());
}"""
TITLED = "titles => String(window.app.graph.nodes.map(node => node.title).sort()) === String(titles)"
LABELS_ON_CANVAS = """() => Object.fromEntries(window.app.graph.nodes.map(node => [node.type, {
    title: node.title,
    inputs: Object.fromEntries([
        ...node.inputs.filter(slot => !slot.widget).map(slot => [slot.name, slot.label || slot.localized_name]),
        ...(node.widgets || []).map(widget => [widget.name, widget.label]),
    ]),
    outputs: node.outputs.map(slot => slot.label || slot.localized_name),
}]))"""
# Nodes 2.0: what the elements of a node say. A text box has its label inside, a dot of a widget's socket none.
LABELS_IN_DOM = """() => Object.fromEntries(window.app.graph.nodes.map(node => {
    const element = document.querySelector(`[data-node-id="${node.id}"]`);
    const texts = selector => [...element?.querySelectorAll(selector) ?? []].map(found => found.innerText.trim());
    return [node.type, {
        title: texts('[data-testid=node-title]')[0],
        inputs: [...texts('.lg-slot--input:not(.lg-slot--dot-only)'),
                 ...texts('[data-testid=widget-layout-field-label], [data-testid=node-widget] label')],
        outputs: texts('.lg-slot--output'),
    }];
}))"""
# Nodes 2.0: let the mouse enter everything of a node that has a tooltip, and read what appears: up to frontend 1.47 all
# at once, from then on one after the other, since one closes when the next one opens.
TOLD_IN_DOM = """async () => {
    const tick = () => new Promise(done => setTimeout(done));
    const until = async done => {
        const end = performance.now() + 10000;
        while (performance.now() < end && !done()) await tick();
    };
    const point = (element, name) => element.dispatchEvent(new PointerEvent(name, {pointerType: 'mouse'}));
    const open = () => document.querySelector('[data-slot=tooltip-content] [role=tooltip]');
    const texts = new Map();
    const shown = element => document.getElementById(element.$_ptooltipId)?.textContent ?? texts.get(element);
    const all = {};
    for (const node of window.app.graph.nodes) {
        const root = document.querySelector(`[data-node-id="${node.id}"]`);
        const find = selector => [...root.querySelectorAll(selector)];
        const outputs = find('.lg-slot--output'), title = root.querySelector('[data-testid=node-title]'), inputs = {};
        const sockets = node.inputs.filter(slot => !slot.widget);
        find('.lg-slot--input:not(.lg-slot--dot-only)').forEach((slot, i) => inputs[sockets[i].name] = slot);
        // A button has no label: it says on itself what it does.
        const labels = find('[data-testid=node-widget]')
            .map(row => [row, row.querySelector('[data-testid=widget-layout-field-label], label')?.innerText.trim()]);
        for (const [row, label] of labels.filter(([, label]) => label)) {
            const widget = node.widgets.find(widget => widget.label === label);
            inputs[widget.name] = row.querySelector(':scope > :is([data-pd-tooltip], [data-grace-area-trigger])');
        }
        const told = [title, ...Object.values(inputs), ...outputs];
        told.forEach(element => element.dispatchEvent(new MouseEvent('mouseenter')));
        for (const element of told.filter(element => 'graceAreaTrigger' in element.dataset)) {
            point(element, 'pointermove');
            await until(() => element.dataset.state !== 'closed' && open());
            texts.set(element, open()?.textContent);
            point(element, 'pointerleave');
            await until(() => !open());
        }
        await until(() => told.every(shown));
        const entries = Object.entries(inputs).map(([name, element]) => [name, shown(element)]);
        all[node.type] = {title: shown(title), inputs: Object.fromEntries(entries), outputs: outputs.map(shown)};
        told.forEach(element => element.dispatchEvent(new MouseEvent('mouseleave')));
        await until(() => !document.querySelector('.p-tooltip'));
    }
    return all;
}"""
# Classic renderer: brings a node into view, and returns where on the page its parts lie.
PARTS = """([type, left, top]) => {
    const {graph, canvas} = window.app;
    const node = graph.nodes.find(node => node.type === type);
    canvas.ds.scale = 1;
    canvas.ds.offset = [left - node.pos[0], top - node.pos[1]];
    canvas.draw(true, true);
    const area = canvas.canvas.getBoundingClientRect();
    const at = ([x, y]) => [area.x + x + canvas.ds.offset[0], area.y + y + canvas.ds.offset[1]];
    const inside = ([x, y], right) => at([x + right, y]);
    const sockets = node.inputs.map((slot, i) => [slot, i]).filter(([slot]) => !slot.widget);
    const drawn = (node.widgets || []).filter(widget => !widget.element);
    return {
        title: at([node.pos[0] + 60, node.pos[1] - 15]),
        inputs: Object.fromEntries([
            ...sockets.map(([slot, i]) => [slot.name, inside(node.getInputPos(i), 4)]),
            ...drawn.map(widget => [widget.name, at([node.pos[0] + 100, node.pos[1] + widget.y + 8])]),
        ]),
        outputs: node.outputs.map((slot, i) => inside(node.getOutputPos(i), -4)),
    };
}"""
RUN_SAYS_ANOTHER = """text => {
    const button = document.querySelector('[data-testid=queue-button]');
    return button && button.innerText !== text;
}"""
ALONE = """type => {
    const {graph, canvas} = window.app;
    graph.nodes.slice().forEach(node => graph.remove(node));
    graph.add(window.LiteGraph.createNode(type));
    canvas.draw(true, true);
}"""
# Lines of each entry of the search: the title, the pack, the category and the description.
ENTRIES = "() => [...document.querySelectorAll('[role=option]')].map(entry => entry.innerText.split('\\n'))"
# A help page, not the page's own table of inputs; in the newest frontend it has another name.
HELP = ":is(.markdown-content, .comfy-markdown-content.overflow-visible)"
PICTURES = """() => Promise.all([...document.querySelectorAll('.node-help-content img')].map(async picture => {
    await picture.decode().catch(() => {});
    return [new URL(picture.src, document.baseURI).pathname, picture.alt, picture.naturalWidth > 100];
}))"""


@dataclass(frozen=True)
class Told:
    """The words of one node in one language: its title, and by input name and output place labels or tooltips."""

    title: str
    inputs: dict[str, str]
    outputs: list[str]

    @classmethod
    def of(cls, node: dict) -> "Told":
        return cls(node["title"], node["inputs"], node["outputs"])


def specs(node: dict) -> Iterator[tuple[str, dict]]:
    """Yield the name and the options of each input of a node of /object_info."""
    for group in ("required", "optional"):
        for name, spec in node["input"].get(group, {}).items():
            yield name, spec[1] if len(spec) > 1 else {}


def labels(node: dict, words: dict | None) -> Told:
    """Return what should stand on the node: of /object_info in English, where words is None, or of nodeDefs.json."""
    names = [name for name, _ in specs(node)]
    if words is None:
        return Told(node["display_name"], {name: name for name in names}, list(node["output_name"]))
    outputs = [words["outputs"][str(place)]["name"] for place in range(len(node["output"]))]
    return Told(words["display_name"], {name: words["inputs"][name]["name"] for name in names}, outputs)


def tooltips(node: dict, words: dict | None) -> Told:
    """Return what a resting mouse should tell, the description as the title's; in English what has no translation."""
    words = words or {}
    inputs, outputs = words.get("inputs", {}), words.get("outputs", {})
    return Told(
        words.get("description", node["description"]),
        {name: inputs.get(name, {}).get("tooltip", spec.get("tooltip")) for name, spec in specs(node)},
        [outputs.get(str(place), {}).get("tooltip", text) for place, text in enumerate(node["output_tooltips"])],
    )


def put(page: Page, types: list[str]) -> None:
    """Load a workflow with one node of each type, as from a file."""
    page.evaluate(PUT, types)


def hear(page: Page, languages: tuple[str, ...]) -> None:
    """Let the page fetch its own texts in each language, which it keeps.

    The first time it translates nodes without waiting for them: what comes late is shown after the next change only.
    """
    for language in languages:
        before = page.get_by_test_id("queue-button").inner_text()
        page.evaluate(SET, ["Comfy.Locale", language])
        page.wait_for_function(RUN_SAYS_ANOTHER, arg=before)


def speak(page: Page, language: str, titles: list[str]) -> None:
    """Change the page's language, and wait until the graph's nodes, of which there must be some, have these titles."""
    page.evaluate(SET, ["Comfy.Locale", language])
    page.wait_for_function(TITLED, arg=sorted(titles))


def search(page: Page, words: str = "") -> None:
    """Open the search by a double click on the empty canvas, and type."""
    page.wait_for_function(UNCOVERED)
    box = page.get_by_role("search").get_by_role("combobox")
    for _ in range(DOUBLE_CLICKS):  # on a busy page the two clicks may come too far apart
        page.mouse.dblclick(*EMPTY_SPOT, delay=20)  # ComfyUI takes clicks of the same moment for one
        with suppress(TimeoutError):
            box.wait_for(timeout=WAIT // DOUBLE_CLICKS)
            break
    box.fill(words)


def menu(page: Page, count: int) -> dict[str, str]:
    """Return the category of every node, of which there are `count`, that the search lists for the pack, by title."""
    search(page)
    page.get_by_role("search").get_by_role("treeitem", name="SteadyDancer").click()
    expect(page.get_by_role("option").filter(has_not_text="SteadyDancer / ")).to_have_count(0)
    expect(page.get_by_role("option")).to_have_count(count)
    entries = page.evaluate(ENTRIES)
    page.keyboard.press("Escape")
    expect(page.get_by_role("search")).to_have_count(0)
    return {title: category for title, _, category, *_ in entries}


def add_by_search(page: Page, title: str) -> None:
    """Type a node's title into the search, choose it, and put down what then hangs on the mouse."""
    search(page, title)
    page.get_by_role("option").filter(has=page.get_by_text(title, exact=True)).first.click()
    expect(page.get_by_role("search")).to_have_count(0)
    page.mouse.move(*TARGET, steps=2)
    page.mouse.click(*TARGET)


def put_alone(page: Page, name: str) -> None:
    """Leave one node on the canvas, of the classic renderer, and select it by a click on its title."""
    page.evaluate(ALONE, name)
    page.mouse.click(*page.evaluate(PARTS, [name, *BELOW_THE_TOOLBOX])["title"])


def open_help(page: Page, title: str) -> None:
    """Press the info button of the selected node, and wait for the page with its title."""
    page.get_by_test_id("info-button").click()
    expect(page.locator(".node-help-content h1")).to_have_text(title)


def leave_help(page: Page) -> None:
    """Turn to the panel's other tab, so that only the info button brings the help back."""
    page.get_by_test_id("panel-tab-parameters").click()
    expect(page.locator(".node-help-content")).to_have_count(0)


def shown_help(page: Page) -> dict:
    """Return what the open help shows: text, what its tables explain, pictures; a fallback is not looked at."""
    explained = page.locator(f"{HELP} tbody tr > td:first-child > code")
    return {
        "text": " ".join(page.locator(HELP).inner_text().split()),
        "explained": explained.all_inner_texts(),
        "pictures": page.evaluate(PICTURES),
    }


def written_help(name: str, language: str | None = None) -> str:
    """Return the first two paragraphs of our own page, as a reader sees them."""
    file = PAGES / name / f"{language}.md" if language else PAGES / f"{name}.md"
    paragraphs = file.read_text("utf-8").split("\n\n")
    return " ".join(re.sub(r"[*`]", "", " ".join(paragraphs[2:4])).split())


def hovered(page: Page, spot: list[float]) -> str | None:
    """Rest the mouse on a spot of the canvas, and return what appears."""
    page.mouse.move(5, 5)
    expect(page.locator(".node-tooltip")).to_be_hidden()
    page.mouse.move(*spot, steps=2)
    expect(page.locator(".node-tooltip")).to_be_visible()
    return page.locator(".node-tooltip").inner_text()
