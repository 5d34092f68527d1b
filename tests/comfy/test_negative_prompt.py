"""The published negative prompt of Wan 2.1 image-to-video: whole, and the same wherever it is used."""

import json
from pathlib import Path

import pytest

from steadydancer_pack.tools.templates.names import (
    FAST_4_STEPS,
    LONG_VIDEO,
    LOW_VRAM,
    MANY_PHOTOS,
    OFFICIAL_QUALITY,
    OWN_POSE_VIDEO,
    SEVERAL_PEOPLE,
)
from steadydancer_pack.training.real_clips import NEGATIVE

PACK = Path(__file__).resolve().parents[2]
CAMERA_SHAKE = "\u955c\u5934\u6643\u52a8\uff0c"  # what the negative prompt of text-to-video lacks
SHARED = "\u8272\u8c03\u8273\u4e3d"
GRAPHS = [*(PACK / "workflows").glob("*.json"), *(PACK / "subgraphs").glob("*.json")]
ONE_VIDEO = (
    FAST_4_STEPS, LONG_VIDEO, LOW_VRAM, OFFICIAL_QUALITY, OWN_POSE_VIDEO, SEVERAL_PEOPLE,
)  # fmt: skip
BLUEPRINTS = "SteadyDancer", "Image to Video (SteadyDancer)"
WITH_14B = (*ONE_VIDEO, MANY_PHOTOS)


def texts(value):
    """Return all strings in a JSON value."""
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for child in children for text in texts(child)]


def test_it_is_the_one_of_image_to_video():
    assert NEGATIVE.startswith(CAMERA_SHAKE + SHARED)
    assert (len(NEGATIVE), NEGATIVE.count("\uff0c")) == (142, 28)


@pytest.mark.parametrize("name", WITH_14B)
def test_every_template_for_the_14b_model_encodes_it(name):
    workflow = json.loads((PACK / "workflows" / f"{name}.json").read_text("utf-8"))
    graphs = [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]
    nodes = (node for graph in graphs for node in graph["nodes"])
    encoded = [node["widgets_values"] for node in nodes if node.get("title") == "Negative prompt"]
    assert encoded == [[NEGATIVE]]


def test_no_other_graph_encodes_a_prompt_and_none_holds_half_of_it():
    for file in GRAPHS:
        found = texts(json.loads(file.read_text("utf-8")))
        encodes = file.stem in (*WITH_14B, *BLUEPRINTS)
        assert {text for text in found if SHARED in text} == ({NEGATIVE} if encodes else set()), file
        assert ("CLIPTextEncode" in found) == encodes, file
