"""One Chinese term for each thing, the one that Chinese ComfyUI users use: the table is tests/chinese_terms.json."""

import json
import re
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
TERMS = json.loads((PACK / "tests" / "chinese_terms.json").read_text("utf-8"))
WORKFLOWS = sorted((PACK / "workflows").glob("*.json"))
PAGES = [
    *(PACK / "docs" / "zh").glob("*.md"),
    *(PACK / "web" / "docs").glob("*/zh.md"),
    *(PACK / "locales" / "zh").glob("*.json"),
    PACK / "web" / "messages" / "zh.json",
    *WORKFLOWS,
]
TEXTS = {page.relative_to(PACK).as_posix(): page.read_text("utf-8") for page in PAGES}


def test_every_kind_of_page_is_there():
    assert {name.split("/")[0] for name in TEXTS} == {"docs", "web", "locales", "workflows"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_the_note_of_a_workflow_speaks_chinese_too(file):
    (note,) = (node for node in json.loads(file.read_text("utf-8"))["nodes"] if node["type"] == "MarkdownNote")
    assert len(re.findall("[\\u4e00-\\u9fff]", note["widgets_values"][0])) >= 20


@pytest.mark.parametrize("row", TERMS, ids=lambda row: row["term"])
def test_a_thing_has_one_chinese_term(row):
    assert any(row["use"] in text for text in TEXTS.values())
    found = [
        f"{name}: {text[max(match.start() - 12, 0) : match.end() + 12]}"
        for name, text in TEXTS.items()
        for pattern in row["not"]
        for match in re.finditer(pattern, text)
    ]
    assert found == []
