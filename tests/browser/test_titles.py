"""A workflow of the pack in the page's language: titles, groups, labels and notes; an artist's own titles stay."""

import pytest

from steadydancer_pack.tests.browser.graph import LOAD, SET, WORKFLOWS, in_time, ours

SHOWN = """() => {
    const {nodes, groups} = window.app.graph;
    const note = nodes.find(node => node.type === 'MarkdownNote');
    return [nodes.map(node => node.title), note?.widgets[0].value.trim().slice(0, 6)];
}"""
LANGUAGES = {
    "zh": ("\u9a71\u52a8\u89c6\u9891", "### \u4e2d\u6587"),
    "zh-TW": ("\u9a45\u52d5\u5f71\u7247", "### \u4e2d\u6587"),
    "en": ("Driving video", "## Fin"),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_and_notes(shared_page, language):
    shared_page.evaluate(SET, ["Comfy.Locale", language])
    workflow = WORKFLOWS["finish"] | {"nodes": [dict(node) for node in WORKFLOWS["finish"]["nodes"]]}
    own = next(node for node in workflow["nodes"] if node.get("title") == "Finished video")
    own["title"] = "My video"
    shared_page.evaluate(LOAD, workflow)
    title, note = LANGUAGES[language]
    assert in_time(shared_page, lambda: shared_page.evaluate(SHOWN)[1], note) == note
    titles = shared_page.evaluate(SHOWN)[0]
    assert title in titles and "My video" in titles
    assert ours(shared_page.errors) == []
