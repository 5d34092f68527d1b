"""What the server says, in Chinese: every sentence is one that the code can say, and has its values and its names."""

import json
import re
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
SENTENCES = json.loads((PACK / "web" / "messages" / "zh.json").read_text("utf-8"))
NODES = json.loads((PACK / "locales" / "zh" / "nodeDefs.json").read_text("utf-8")).values()
VALUE, NAMED = re.compile(r"\{\w+\}"), re.compile("\u201c([^\u201d{]+)\u201d")


def labels() -> set[str]:
    slots = [slot for node in NODES for kind in ("inputs", "outputs") for slot in node.get(kind, {}).values()]
    return {node["display_name"] for node in NODES} | {slot["name"] for slot in slots if "name" in slot}


@pytest.mark.parametrize("english", SENTENCES)
def test_a_translated_sentence_stands_in_the_code(english, texts):
    pieces = [piece for piece in VALUE.split(english) if piece]
    assert [piece for piece in pieces if not any(piece in text for text in texts)] == []


@pytest.mark.parametrize("english", SENTENCES)
def test_its_translation_has_no_other_values_and_the_names_of_the_canvas(english):
    chinese = SENTENCES[english]
    assert set(VALUE.findall(chinese)) <= set(VALUE.findall(english))
    assert set(NAMED.findall(chinese)) <= labels()
