"""One rule for the names that users give to files: in every node, on every system, and before anything is sampled."""

import asyncio

import execution
import pytest

from steadydancer_pack.nodes import convert, file_names, measures, output_file, pose_files, prompt, video
from steadydancer_pack.tests.pack_nodes import pack_nodes

WRONG = (
    "../a", "a/../../b", "/a", "C:\\a", "C:a", "..\\a", "a/", "a\\", ".", "a/..", "", "  ", "a\0b", "a\nb", "a:b",
    "dance: take 2", "a?", "a*b", "a<b", "a|b", '"a"', "foo/bar.", "foo. /x", "foo /x", "foo./x",
)  # fmt: skip
RIGHT = ("clip", "dance/clip", "dance\\clip", " clip ", "a b-1.5", "./clip", "50%", "50% and 60%", "\u821e/\xfcn\xef")
UNFILLED = ("%date:yyyy-MM-dd%/x", "x %date:yyyy/MM/dd hh:mm%", "%seed%", "%SteadyDancer Sampler.seed%", "%date%")
PREFIXED = (video.VideoCombine, pose_files.SavePoses, measures.Evaluate)
NAMED = {prompt.SavePromptEmbeddings: "name", convert.ConvertModel: "file_name"}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_names(name):
    assert not file_names.is_file_name(name.strip())
    assert "does not name a file inside ComfyUI's output folder" in file_names.prefix_fault(name)
    with pytest.raises(ValueError, match="no dot or blank at the end of a part, none of < > : \" [|] [?] [*]"):
        output_file.output_names(name, ".mp4", 8, 8)


@pytest.mark.parametrize("name", [*RIGHT, *file_names.PLACEHOLDERS, "".join(file_names.PLACEHOLDERS)])
def test_right_names(name):
    assert file_names.prefix_fault(name) == ""


@pytest.mark.parametrize("prefix", UNFILLED)
def test_a_placeholder_that_nothing_fills_in_is_told_with_those_that_are(prefix):
    """ComfyUI's page fills these in for a fixed list of its own nodes; ours would make files of that very name."""
    fault = file_names.prefix_fault(prefix)
    assert f"holds {prefix[prefix.index('%') : prefix.rindex('%') + 1]}, which is not filled in here" in fault
    assert "%year%-%month%-%day%" in fault
    assert [placeholder for placeholder in file_names.PLACEHOLDERS if placeholder not in fault] == []


def test_comfyui_fills_in_the_placeholders():
    path = next(iter(output_file.output_names("".join(file_names.PLACEHOLDERS), ".mp4", 80, 64)))
    assert "%" not in path.name and path.name.endswith("8064_00001_.mp4")


def test_blanks_around_a_prefix_do_not_count():
    path = next(iter(output_file.output_names(" blanks/clip ", ".mp4", 8, 8)))
    assert (path.parent.name, path.name) == ("blanks", "clip_00001_.mp4")
    assert output_file.saved_result(path)["subfolder"] == "blanks"


@pytest.mark.parametrize("node", PREFIXED)
def test_a_wrong_prefix_is_refused_before_the_run(node):
    assert node.validate_inputs("a:b") == file_names.prefix_fault("a:b")
    assert node.validate_inputs("%date:yyyy%") == file_names.prefix_fault("%date:yyyy%")
    assert node.validate_inputs("video/clip") is node.validate_inputs(None) is node.validate_inputs() is True


def test_evaluate_needs_no_report():
    assert measures.Evaluate.validate_inputs("  ") is True


@pytest.mark.parametrize("node", NAMED)
def test_a_wrong_name_is_refused_before_the_run(node):
    assert "'a:b'" in node.validate_inputs("a:b")
    assert node.validate_inputs("clip") is node.validate_inputs(None) is node.validate_inputs() is True


def test_every_node_that_writes_asks_before_the_run():
    """Its inputs are named as in the schema, or ComfyUI would not hand them over."""
    names = {node: "filename_prefix" for node in PREFIXED} | NAMED
    writing = [
        node for node in pack_nodes()
        for field in node.GET_SCHEMA().inputs if field.id in ("filename_prefix", "file_name")
    ]  # fmt: skip
    assert {*writing, prompt.SavePromptEmbeddings} == set(names)
    assert [node for node, name in names.items() if name not in [field.id for field in node.GET_SCHEMA().inputs]] == []


@pytest.mark.parametrize("prefix, valid", [("video/clip", True), ("a:b", False), ("%date:yyyy%", False)])
def test_comfyui_asks(monkeypatch, prefix, valid):
    import nodes

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "SteadyDancerSavePoses", pose_files.SavePoses)
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "SteadyDancerLoadPoses", pose_files.LoadPoses)
    monkeypatch.setattr(pose_files.LoadPoses, "validate_inputs", classmethod(lambda cls, file: True))
    load, save = {"file": "a.json", "fps": 16.0, "width": 0, "height": 0}, {"poses": ["1", 0], "fps": 16.0}
    graph = {
        "1": {"class_type": "SteadyDancerLoadPoses", "inputs": load},
        "2": {"class_type": "SteadyDancerSavePoses", "inputs": {**save, "filename_prefix": prefix}},
    }
    found = asyncio.run(execution.validate_prompt("id", graph, None))
    assert found[0] is valid
    errors = [error["details"] for error in found[3].get("2", {}).get("errors", [])]
    assert errors == ([] if valid else [f"filename_prefix - {file_names.prefix_fault(prefix)}"])
