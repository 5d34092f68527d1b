"""Every node by its words, on the page itself: found in the search, explained by its help and its tooltips, translated.

The nodes are those that the running ComfyUI has of the pack. One page serves all: what an artist sees of a node does
not depend on where the page has been.
"""

import json
from collections.abc import Iterator
from functools import partial

import pytest
from playwright.sync_api import Page

from steadydancer_pack.comfy_client.process import PACK_FOLDER
from steadydancer_pack.tests.browser.graph import PACK, SET, VUE, draw_with, in_time, ours
from steadydancer_pack.tests.browser.words import (
    LABELS_IN_DOM,
    LABELS_ON_CANVAS,
    PAGES,
    PARTS,
    TOLD_IN_DOM,
    TOP,
    Told,
    add_by_search,
    hear,
    hovered,
    labels,
    leave_help,
    menu,
    open_help,
    put,
    put_alone,
    shown_help,
    speak,
    specs,
    tooltips,
    written_help,
)

LOCALES = PACK / "locales"
TRANSLATED = ("zh", "ja", "ko")
TEXT_OF = "address => fetch(address).then(answer => answer.text())"
SOME = 5  # of so many nodes one, where the page does the same with all
SETTINGS = {
    "Comfy.DevMode": True,  # else the search leaves out nodes that are for developers
    "Comfy.Minimap.Visible": False,
    "Comfy.Node.AlwaysShowAdvancedWidgets": True,
    "LiteGraph.Node.TooltipDelay": 0,
}
OF_COMFYUI = {"conditioning", "loaders", "sampling", "video"}  # categories that ComfyUI names itself


@pytest.fixture(scope="module")
def nodes(server) -> dict[str, dict]:
    """The pack's nodes as the server describes them."""
    return server.pack_info()


@pytest.fixture(scope="module")
def words() -> dict[str, dict | None]:
    """The nodes' words by language; None in English, which is in the nodes."""
    return {"en": None} | {language: translation(language, "nodeDefs") for language in TRANSLATED}


@pytest.fixture(scope="module")
def view() -> dict[str, int]:
    """With few pixels to draw the page is quick."""
    return {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def page(shared_page) -> Iterator[Page]:
    """One page for every test of this file. It shows advanced inputs too, and tooltips without delay."""
    for name, value in SETTINGS.items():
        shared_page.evaluate(SET, [name, value])
    hear(shared_page, (*TRANSLATED, "en"))
    yield shared_page
    # The page asks for a translation into English before it takes the English page.
    assert [error for error in ours(shared_page.errors) if not error.endswith("/en.md")] == []


@pytest.fixture
def show(page, nodes, words):
    """A function that puts every node on the canvas, or one of so many, in that language and by that renderer."""

    def put_them(language: str, renderer: str, every: int = 1) -> dict[str, dict] | None:
        shown = {name: nodes[name] for name in list(nodes)[::every]}
        draw_with(page, renderer)
        put(page, list(shown))
        speak(page, language, titles(shown, words[language]))
        draw_with(page, renderer)
        if VUE[renderer]:
            check_labels_in_dom(page, expected(labels, shown, words[language]))
        return words[language]

    return put_them


def translation(language: str, name: str) -> dict:
    return json.loads((LOCALES / language / f"{name}.json").read_text("utf-8"))


def expected(make, nodes, words) -> dict[str, Told]:
    return {name: make(node, words and words[name]) for name, node in nodes.items()}


def titles(nodes, words) -> list[str]:
    return [told.title for told in expected(labels, nodes, words).values()]


def only(told: dict, names: dict[str, str]) -> dict:
    """Leave out what ComfyUI adds to a node's inputs, such as what happens to a seed after a run."""
    return told | {"inputs": {name: text for name, text in told["inputs"].items() if name in names}}


def category(node, language) -> str:
    """Return what the search should say of a node's place."""
    named = translation(language, "main")["nodeCategories"] if language in TRANSLATED else {}
    return " / ".join(named.get(part, part) for part in node["category"].split("/"))


def faults_of_help(page, nodes, name, title, language=None) -> list[str]:
    """Open the help of the selected node, and return what of it does not become as it was written."""

    def faults() -> list[str]:
        help = shown_help(page)
        pictures = [(file, title in told, seen) for file, told, seen in help["pictures"]]
        right = {
            "words": help["text"].startswith(f"{title} {written_help(name, language)}"),
            "inputs": {name for name, _ in specs(nodes[name])} <= set(help["explained"]),
            "picture": pictures[:1] == [(f"/extensions/{PACK_FOLDER}/docs/pictures/{name}.jpg", True, True)],
            "pictures of editors": all(seen for *_, seen in pictures),
        }
        return [f"{name}: {part}" for part, is_right in right.items() if not is_right]

    open_help(page, title)
    found = in_time(page, faults, [])
    leave_help(page)
    return found


def test_the_help_opens_and_that_of_every_node_is_served(page, nodes, show):
    show("en", "classic")
    for name in list(nodes)[::SOME]:
        put_alone(page, name)
        assert faults_of_help(page, nodes, name, nodes[name]["display_name"]) == []
    for name in nodes:
        served = page.evaluate(TEXT_OF, f"/extensions/{PACK_FOLDER}/docs/{name}.md")
        assert served == (PAGES / f"{name}.md").read_text("utf-8")


def test_nodes_are_added_by_the_search(page, nodes, show):
    show("en", "classic")
    page.evaluate("() => window.app.graph.clear()")
    for name in list(nodes)[::SOME]:
        add_by_search(page, nodes[name]["display_name"])
        assert page.evaluate("() => window.app.graph.nodes.map(node => node.type)") == [name]
        page.keyboard.press("Delete")


def test_the_help_opens_in_chinese(page, nodes, show):
    words = show("zh", "classic")
    for name in list(nodes)[::SOME]:
        put_alone(page, name)
        assert faults_of_help(page, nodes, name, words[name]["display_name"], "zh") == []


def test_nodes_are_added_by_their_chinese_names_and_explained_in_nodes_2(page, nodes, show):
    words = show("zh", "Nodes 2.0")
    page.evaluate("() => window.app.graph.clear()")
    for name in list(nodes)[:: 2 * SOME]:
        add_by_search(page, words[name]["display_name"])
        assert faults_of_help(page, nodes, name, words[name]["display_name"], "zh") == []
        page.keyboard.press("Delete")


@pytest.mark.parametrize("renderer", VUE)
def test_a_change_of_language_changes_every_label(page, nodes, words, show, renderer):
    show("en", renderer)
    for language in (*TRANSLATED, "en"):
        speak(page, language, titles(nodes, words[language]))
        draw_with(page, renderer)
        wanted = expected(labels, nodes, words[language])
        assert in_time(page, partial(labels_on_canvas, page, wanted), wanted) == wanted
        if VUE[renderer]:
            check_labels_in_dom(page, wanted)


def labels_on_canvas(page, wanted) -> dict[str, Told]:
    found = page.evaluate(LABELS_ON_CANVAS)
    return {name: Told.of(only(told, wanted[name].inputs)) for name, told in found.items()}


def check_labels_in_dom(page, wanted) -> None:
    """Wait until the elements of every node show its title, all labels of its inputs and those of its outputs."""

    def read() -> dict[str, tuple]:
        return {
            name: (told["title"], told["outputs"], set(wanted[name].inputs.values()) - set(told["inputs"]))
            for name, told in page.evaluate(LABELS_IN_DOM).items()
        }

    shown = {name: (words.title, words.outputs, set()) for name, words in wanted.items()}
    assert in_time(page, read, shown) == shown


@pytest.mark.parametrize("language", ("en", *TRANSLATED))
def test_the_search_lists_every_node_by_category_in_each_language(page, nodes, words, show, language):
    show(language, "classic")
    page.evaluate("() => window.app.graph.clear()")
    listed = menu(page, len(nodes))
    assert sorted(listed) == sorted(titles(nodes, words[language]))
    for node, title in zip(nodes.values(), titles(nodes, words[language]), strict=True):
        if not OF_COMFYUI & set(node["category"].split("/")):
            assert listed[title] == category(node, language)


@pytest.mark.parametrize("language, every", [("en", 1), ("zh", SOME)])
def test_everything_on_a_node_has_a_tooltip_in_nodes_2(page, nodes, words, show, language, every):
    show(language, "Nodes 2.0", every)
    wanted = expected(tooltips, nodes, words[language])
    for name, told in page.evaluate(TOLD_IN_DOM).items():
        assert all([wanted[name].title, *wanted[name].inputs.values(), *wanted[name].outputs])
        # Below the tooltip of a widget the page may repeat its value.
        shown = {key: text.split("\n\n")[0] for key, text in told["inputs"].items()}
        assert Told.of(only(told | {"inputs": shown}, wanted[name].inputs)) == wanted[name]


@pytest.mark.parametrize("language", ("en", "zh"))
def test_a_resting_mouse_tells_the_tooltips_in_the_classic_renderer(page, nodes, words, show, language):
    """On the nodes with the most inputs; in a text box the browser itself shows what stands in its title."""
    show(language, "classic")
    wanted = expected(tooltips, nodes, words[language])
    for name in sorted(nodes, key=lambda name: len(wanted[name].inputs))[-2:]:
        parts = page.evaluate(PARTS, [name, *TOP])
        told = {"title": hovered(page, parts["title"]), "outputs": [hovered(page, spot) for spot in parts["outputs"]]}
        told["inputs"] = {key: hovered(page, spot) for key, spot in parts["inputs"].items()}
        assert Told.of(only(told, wanted[name].inputs)) == wanted[name]
