"""A workflow of the pack in the page's language: titles, groups, labels and notes; an artist's own titles stay."""

import pytest

from steadydancer_pack.tests.browser.graph import LOAD, SET, WORKFLOWS, in_time, ours
from steadydancer_pack.tools.templates.names import FINISH

SHOWN = """() => {
    const {nodes, groups} = window.app.graph;
    const note = nodes.find(node => node.type === 'MarkdownNote');
    return [[...nodes, ...groups].map(named => named.title), note?.widgets[0].value.trim().slice(0, 6)];
}"""
LANGUAGES = {  # a node, a group, how the note begins
    "en": ("Driving video", "Results", "## Fin"),
    "zh": ("\u9a71\u52a8\u89c6\u9891", "\u7ed3\u679c", "### \u4e2d\u6587"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_and_notes(page, language):
    nodes = [dict(node) for node in WORKFLOWS[FINISH]["nodes"]]
    own = next(node for node in nodes if node.get("title") == "Finished video")
    own["title"] = "My video"
    *titles, note = LANGUAGES[language]
    try:
        page.evaluate(SET, ["Comfy.Locale", language])
        page.evaluate(LOAD, WORKFLOWS[FINISH] | {"nodes": nodes})
        assert in_time(page, lambda: page.evaluate(SHOWN)[1], note) == note
        assert {*titles, "My video"} <= set(page.evaluate(SHOWN)[0])
        assert ours(page.errors) == []
    finally:
        page.evaluate(SET, ["Comfy.Locale", "en"])
