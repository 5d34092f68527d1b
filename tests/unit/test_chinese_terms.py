"""One Chinese term for each thing, the one that Chinese ComfyUI users use: the table is tests/chinese_terms.json."""

import json
import re
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
TERMS = json.loads((PACK / "tests" / "chinese_terms.json").read_text("utf-8"))
PAGES = [
    *(PACK / "docs" / "zh").glob("*.md"),
    *(PACK / "web" / "docs").glob("*/zh.md"),
    *(PACK / "locales" / "zh").glob("*.json"),
    *(PACK / "workflows").glob("*.json"),
]
TEXTS = {page.relative_to(PACK).as_posix(): page.read_text("utf-8") for page in PAGES}


def test_every_file_speaks_chinese():
    """A workflow does in its note, below the English."""
    assert {name.split("/")[0] for name in TEXTS} == {"docs", "web", "locales", "workflows"}
    assert [name for name, text in TEXTS.items() if not re.search("[\\u4e00-\\u9fff]{4}", text)] == []


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
