"""Every workflow as an artist opens it, from the Templates browser: with its picture, whole, in both renderers.

And the files it lacks: the page lists each with its folder and its link, and offers the download of those it may.
"""

import pytest
from playwright.sync_api import Locator, Page, expect

from steadydancer_pack.tests.browser.graph import (
    DRAWN,
    VALUES,
    WORKFLOWS,
    browse_templates,
    draw_with,
    files_of,
    in_time,
    open_template,
    ours,
)
from steadydancer_pack.tools.templates.names import FAST_4_STEPS, FINISH, LOW_VRAM

# Every combo of the graph, and of its subgraphs, whose value is none of its choices.
# But not what is not chosen yet, and no bypassed node (mode 4).
INVALID = """() => [window.app.rootGraph, ...window.app.rootGraph.subgraphs.values()].flatMap(graph => graph.nodes)
    .filter(n => !n.subgraph && n.mode !== 4).flatMap(n => (n.widgets || [])
    .filter(w => w.type === 'combo' && Array.isArray(w.options.values) && w.value !== ''
        && !w.options.values.includes(w.value))
    .map(w => w.value)).sort()"""
# The widgets whose value comes through a link, as [node id, name].
LINKED = """() => window.app.graph.nodes.flatMap(node => (node.inputs || [])
    .filter(input => input.widget && input.link != null).map(input => [String(node.id), input.widget.name]))"""
# Whether a card shows its picture; what stands in for one has an address.
PICTURE = """card => {
    const picture = document.querySelector(`[data-testid="${card}"] img`);
    return picture?.naturalWidth > 0 && picture.src.startsWith('blob:');
}"""
# The rows of missing files: the file's name and what is written below it, its folder.
ROWS = """() => [...document.querySelectorAll('[data-testid=missing-model-importable-rows] [title="Copy URL"]')]
    .map(link => link.parentElement.parentElement.innerText.split(/\\n+/).map(line => line.trim()))"""
NOTE_OF_BLOCKED = """window.blocked = [];
document.addEventListener('securitypolicyviolation', event => window.blocked.push(event.blockedURI));"""
NOT_CHOSEN = ("Select image...", "Select video...")  # how the page shows that no file is chosen
BUTTONS = ("Align by hand", "Edit poses")  # which no file knows
# Not rows of their own: the first two belong to the row before them, the third is what the file looks like.
NO_ROWS = ("control_after_generate", "upload", "video-preview")
BY_THE_PAGE = (".safetensors", ".sft", ".ckpt", ".pth", ".pt")  # what it downloads itself


@pytest.fixture(scope="module")
def shop(shared_page) -> Page:
    """A page on which many workflows are opened, one after the other. It may read the clipboard."""
    shared_page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shared_page.evaluate(NOTE_OF_BLOCKED)
    return shared_page


@pytest.fixture(autouse=True)
def fresh(shop) -> None:
    """No error and no refused request of an earlier test."""
    shop.errors.clear()
    shop.evaluate("() => { window.blocked = []; }")


WITH_FILES = (FAST_4_STEPS, LOW_VRAM, FINISH)  # all files by the page, some not, other folders


def test_every_workflow_is_offered_with_its_picture(shop):
    browse_templates(shop)
    for name in WORKFLOWS:
        card = f"template-workflow-{name}"
        shop.get_by_test_id(card).scroll_into_view_if_needed()
        shop.wait_for_function(PICTURE, arg=card)
    cards = shop.get_by_test_id("template-workflows-content").locator("> [data-testid^=template-workflow-]")
    expect(cards).to_have_count(len(WORKFLOWS))
    shop.keyboard.press("Escape")
    expect(cards).to_have_count(0)
    assert ours(shop.errors) == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_opens_from_the_templates_with_every_widget_in_both_renderers(shop, name):
    open_template(shop, name)
    missing = sorted(file["name"] for file in files_of(WORKFLOWS[name]))
    assert in_time(shop, lambda: shop.evaluate(INVALID), missing) == missing
    written = written_values(shop, WORKFLOWS[name])
    linked = [tuple(widget) for widget in shop.evaluate(LINKED)]
    draw_with(shop, "Nodes 2.0")
    see_advanced(shop)
    wanted = without(written, linked)
    assert in_time(shop, lambda: without(own_rows(shop, WORKFLOWS[name]), linked), wanted) == wanted
    draw_with(shop, "classic")
    # by now the page has drawn the graph twice, and told of missing files long ago
    expect(shop.get_by_test_id("error-overlay")).to_have_count(1 if missing else 0)
    assert ours(shop.errors) == []


def written_values(page: Page, workflow: dict) -> dict[str, list]:
    """Return by node id [name, value] of the rows that the file tells of: its values and labels, names of the page."""
    names = {id: [name for name, _ in widgets] for id, widgets in page.evaluate(VALUES).items()}
    rows = {}
    for node in workflow["nodes"]:
        labels = {slot["name"]: slot["label"] for slot in node["inputs"] if "label" in slot}
        named = zip(names[str(node["id"])], node["widgets_values"], strict=False)
        shown = [[labels.get(name, name.rpartition(".")[2]), value] for name, value in named if name not in NO_ROWS]
        if shown:
            rows[str(node["id"])] = shown
    return rows


def own_rows(page: Page, workflow: dict) -> dict[str, list]:
    """Return what Nodes 2.0 draws of the nodes with values of their own: the nodes of subgraphs show those inside."""
    rows = page.evaluate(DRAWN)
    return {
        id: [[name, "" if value in NOT_CHOSEN else value] for name, value in rows[id] if value not in BUTTONS]
        for id in (str(node["id"]) for node in workflow["nodes"] if node["widgets_values"])
    }


def without(rows: dict[str, list], linked: list[tuple[str, str]]) -> dict[str, list]:
    """Leave out the widgets that a link gives their value: some frontends draw them, some only their sockets."""
    return {id: [[name, value] for name, value in rows[id] if (id, name) not in linked] for id in rows}


def see_advanced(page: Page) -> None:
    """Let Nodes 2.0 draw the advanced widgets too."""
    for button in page.get_by_test_id("advanced-inputs-button").all():
        button.click()


@pytest.mark.parametrize("name", WITH_FILES)
def test_the_page_lists_the_files_that_a_workflow_lacks(shop, name):
    open_template(shop, name)
    files = files_of(WORKFLOWS[name])
    panel = see_missing(shop, len(files))
    expect(shop.get_by_test_id("missing-node-card")).to_have_count(0)
    assert sorted(shop.evaluate(ROWS)) == [[file["name"], file["directory"]] for file in files]
    assert copied_links(panel) == sorted(file["url"].replace("/resolve/", "/blob/") for file in files)
    urls = {file["url"] for file in files}
    assert in_time(shop, lambda: asked_for_sizes(shop), urls) == urls
    for file in files:
        offered = panel.get_by_label(f"Download {file['name']}", exact=True)
        expect(offered).to_have_count(int(file["name"].endswith(BY_THE_PAGE)))


def see_missing(page: Page, count: int) -> Locator:
    """Open the list of missing files, wait until there are `count`, and return it."""
    page.get_by_test_id("error-overlay-see-errors").click()
    panel = page.get_by_test_id("error-group-missing-model")
    expect(panel.get_by_title("Copy URL")).to_have_count(count)
    return panel


def copied_links(panel: Locator) -> list[str]:
    """Return what each Copy URL puts on the clipboard, sorted: pages about the files."""
    page, links = panel.page, []
    for button in panel.get_by_title("Copy URL").all():
        page.evaluate("navigator.clipboard.writeText('')")
        button.click()
        links.append(page.wait_for_function("() => navigator.clipboard.readText()").json_value())
    return sorted(links)


def asked_for_sizes(page: Page) -> set[str]:
    """Return the addresses of which the page asked the size. The tests' ComfyUI lets it ask no other host."""
    return {address for address in page.evaluate("window.blocked") if "api.comfy.org" not in address}


def test_download_all_visits_the_link_of_each_file_that_the_page_may_download(shop):
    open_template(shop, LOW_VRAM)
    files = files_of(WORKFLOWS[LOW_VRAM])
    links = {file["url"] for file in files if file["name"].endswith(BY_THE_PAGE)}
    panel = see_missing(shop, len(files))
    visited = set()
    shop.context.on("request", lambda request: visited.add(request.url))
    panel.get_by_test_id("missing-model-download-all").click()
    assert in_time(shop, lambda: {address for address in visited if "huggingface.co" in address}, links) == links
