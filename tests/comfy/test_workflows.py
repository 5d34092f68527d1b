"""The shipped workflows as data: every widget holds what its node takes, every file is named with its link."""

import json
import re
from pathlib import Path

import folder_paths
import pytest

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.subgraphs import INPUT, OUTPUT
from steadydancer_pack.dwpose.detect.detector_files import DWPOSE, YOLOX
from steadydancer_pack.miniature import FILES as MINIATURE
from steadydancer_pack.nodes.model import PRECISIONS
from steadydancer_pack.steadydancer_core.sampling.presets import PRESETS
from steadydancer_pack.tests.comfy.test_negative_prompt import WITH_14B
from steadydancer_pack.tests.workflow_layout import NOTES
from steadydancer_pack.tests.workflow_nodes import misfits, object_info
from steadydancer_pack.tools.templates import names
from steadydancer_pack.tools.templates.__main__ import versions
from steadydancer_pack.tools.templates.artist import artist_workflows, blueprint, image_to_video_blueprint

PACK = Path(__file__).resolve().parents[2]
FILES = sorted((PACK / "workflows").glob("*.json"))
NAMES = {file.stem for file in FILES}
MOST = 13  # templates that one can still choose from
MADE = {file.name for file in MINIATURE}
NOT_CHOSEN = ""  # a loader without a file is no error before the run
MODEL = re.compile(r"\.(safetensors|gguf|onnx)$")
# Upright words of a note that are neither a node nor one of its values.
WORDS = {"models/diffusion_models", "output/poses"}
STRESSED = {  # what is no name
    "Needs the pack ComfyUI-GGUF", "Size and length", "For your own photo and video", "For the finished video",
    "It knows drawn characters of 96x96 pixels only",
    "\u53ea\u8ba4\u8bc6 96x96 \u50cf\u7d20\u7684\u624b\u7ed8\u89d2\u8272",
    "\u81ea\u5df1\u7684\u7167\u7247\u548c\u89c6\u9891",
}  # fmt: skip
ADDED = {"CLIPTextEncode", "CLIPVisionLoader"}  # ComfyUI's nodes that a note tells to add


@pytest.fixture(scope="module")
def info():
    return object_info()


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def workflow(request):
    return json.loads(request.param.read_text("utf-8"))


def graphs(workflow):
    """Return the graph of the workflow and those of its subgraphs, links as the workflow holds them."""
    inside = workflow.get("definitions", {}).get("subgraphs", [])
    return [
        workflow,
        *({**subgraph, "links": [list(link.values()) for link in subgraph["links"]]} for subgraph in inside),
    ]


def real(workflow):
    """Return the nodes that run, those in subgraphs too."""
    hosts = {graph["id"] for graph in graphs(workflow)[1:]}
    nodes = [node for graph in graphs(workflow) for node in graph["nodes"]]
    return [node for node in nodes if node["type"] not in NOTES | hosts]


def models(node):
    return node["properties"].get("models", [])


def test_the_wanted_ones_are_there_each_with_its_picture_and_not_too_many():
    wanted = {title for constant, title in vars(names).items() if constant.isupper()}
    assert wanted == NAMES == {file.stem for file in (PACK / "workflows").glob("*.jpg")} and len(NAMES) <= MOST
    assert set(WITH_14B) <= NAMES


def test_the_files_are_what_python_makes_of_the_nodes_as_they_are(info):
    """If not: `python -m tools.templates`."""
    made = artist_workflows(info, versions())
    made = {f"workflows/{name}": workflow for name, workflow in made.items()}
    made["subgraphs/SteadyDancer"] = blueprint(info, versions())
    made["subgraphs/Image to Video (SteadyDancer)"] = image_to_video_blueprint(info, versions())
    for name, wanted in json.loads(json.dumps(made)).items():
        assert json.loads((PACK / f"{name}.json").read_text("utf-8")) == wanted, name


def test_every_node_says_which_pack_it_is_from(workflow):
    project = (PACK / "pyproject.toml").read_text("utf-8")
    ours = {"cnr_id": "steadydancer", "ver": re.search(r'^version = "(.+)"', project, re.M)[1]}
    core = {"cnr_id": "comfy-core", "ver": re.search(r'^requires-comfyui = ">=(.+)"', project, re.M)[1]}
    for node in real(workflow) + [node for node in workflow["nodes"] if node["type"] in NOTES]:
        wanted = ours if node["type"].startswith("SteadyDancer") else core
        assert wanted.items() <= node["properties"].items(), node["type"]
        assert node["properties"]["Node name for S&R"] == node["type"]


def test_every_link_is_known_at_both_ends(workflow):
    for graph in graphs(workflow):
        ends = {INPUT: {"outputs": graph.get("inputs")}, OUTPUT: {"inputs": graph.get("outputs")}}
        nodes = {node["id"]: node for node in graph["nodes"]} | ends
        for link, source, out, target, into, kind in graph["links"]:
            output, entry = nodes[source]["outputs"][out], nodes[target]["inputs"][into]
            assert link in output.get("linkIds", output.get("links", ()))
            assert link in entry.get("linkIds", [entry.get("link")])
            assert output["type"] == kind and kind in entry["type"].split(",")
        linked = [entry["link"] for node in graph["nodes"] for entry in node["inputs"] if entry["link"] is not None]
        assert sorted(linked) == sorted(link[0] for link in graph["links"] if link[3] != OUTPUT)


def test_what_a_subgraph_shows_is_a_widget_inside(workflow, info):
    for host in workflow["nodes"]:
        for subgraph in graphs(workflow)[1:]:
            if host["type"] != subgraph["id"]:
                continue
            inside = {str(node["id"]): node for node in subgraph["nodes"]}
            assert [slot["name"] for slot in host["inputs"]] == [slot["name"] for slot in subgraph["inputs"]]
            assert sum("widget" in slot for slot in host["inputs"]) == len(host["properties"]["proxyWidgets"])
            for key, widget in host["properties"]["proxyWidgets"]:
                assert any(slot["name"] == widget and "widget" in slot for slot in inside[key]["inputs"])


def test_a_vae_is_loaded_once(workflow):
    assert sum(node["type"] == "VAELoader" for node in real(workflow)) <= 1


def test_every_socket_is_one_of_its_node_in_its_order(workflow, info):
    """ComfyUI shows the required ones first, and finds a link by its socket's name."""
    for node in real(workflow):
        spec = info[node["type"]]["input"]
        order = [*spec.get("required", {}), *spec.get("optional", {})]
        assert not {slot["name"].partition(".")[0] for slot in node["inputs"]} - {*order}
        sockets = [slot["name"].partition(".")[0] for slot in node["inputs"] if "widget" not in slot]
        assert [order.index(name) for name in sockets] == sorted(order.index(name) for name in sockets)
        outputs = [slot["name"] for slot in node["outputs"]]
        assert outputs == [str(name) for name in info[node["type"]]["output_name"]][: len(outputs)]


def test_every_required_input_is_given_and_every_widget_holds_what_its_node_takes(workflow, info):
    prompt = to_api_prompt(workflow, info)
    for node in prompt.values():
        given = {name.partition(".")[0] for name in node["inputs"]}
        assert info[node["class_type"]]["input"].get("required", {}).keys() <= given, node["_meta"]["title"]
    files = MADE | {NOT_CHOSEN} | {model["name"] for node in real(workflow) for model in models(node)}
    assert misfits(prompt, info, files) == []


def test_every_file_is_named_with_its_folder_and_its_link(workflow):
    """What the page reads: name, url and directory of files that the node's own widgets hold."""
    for node in real(workflow):
        held = {value for value in node["widgets_values"] if isinstance(value, str) and MODEL.search(value)}
        wanted = held - MADE if node["type"] != "SteadyDancerConvertModel" else set()
        assert {model["name"] for model in models(node)} == wanted, node["type"]
        for model in models(node):
            assert model["directory"] in {*folder_paths.folder_names_and_paths, "dwpose"}
            assert re.fullmatch(r"https://huggingface\.co/[\w./-]+/resolve/main/[\w./-]+", model["url"])
            assert model["url"].endswith("/" + model["name"])
            assert ("hash" in model) == ("hash_type" in model)


def test_the_miniature_is_loaded_where_a_device_holds_no_fp8(workflow):
    """Its file is fp8, which Apple's graphics and DirectML do not take; elsewhere its layers stay as they are."""
    loaders = [node["widgets_values"] for node in real(workflow) if node["type"] == "SteadyDancerLoadModel"]
    assert all(precision == "fp16" for name, precision, *_ in loaders if name in MADE)


def test_a_file_has_the_same_link_everywhere_and_none_is_of_a_detector():
    """Without DW-Pose's files the bundled detector is used: nothing is missing."""
    every = [json.loads(file.read_text("utf-8")) for file in FILES]
    named = [model for workflow in every for node in real(workflow) for model in models(node)]
    assert all(a == b for a in named for b in named if a["name"] == b["name"])
    assert {YOLOX.file, DWPOSE.file}.isdisjoint(model["name"] for model in named)


def test_a_note_names_only_what_is_there(workflow, info):
    """In bold nodes, in italics inputs and other workflows, in code values and files."""
    (note,) = (node for node in workflow["nodes"] if node["type"] in NOTES)
    (text,) = note["widgets_values"]
    here = {node["type"] for node in real(workflow)}
    known = [kind for kind in info if kind in here | ADDED or kind.startswith("SteadyDancer")]
    shown = {info[kind]["display_name"].removesuffix(" (Prompt)") for kind in known}
    titles = {node["title"] for node in workflow["nodes"] if "title" in node}
    labels = {slot["label"] for node in workflow["nodes"] for slot in node["inputs"] if "label" in slot}
    specs = [info[kind]["input"].get(group, {}) for kind in here for group in ("required", "optional")]
    inputs = {name for spec in specs for name in spec}
    assert set(re.findall(r"\*\*(.+?)\*\*", text)) <= shown | titles | STRESSED
    assert (
        set(re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", text))
        <= inputs | labels | {name.removesuffix(" (no download)") for name in NAMES} | NAMES
    )
    values = {*WORDS, *PRESETS, *PRECISIONS, *choices(specs)}
    assert {word for word in re.findall(r"`(.+?)`", text) if not MODEL.search(word)} <= values


def choices(specs):
    """Return the options of the lists among these inputs."""
    entries = [(*entry, {})[:2] for spec in specs for entry in spec.values()]
    lists = [kind if isinstance(kind, list) else options.get("options", ()) for kind, options in entries]
    return {option for options in lists for option in options if isinstance(option, str)}
