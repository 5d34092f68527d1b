"""One rule for the names that users give to files: in every node, on every system, and before anything is sampled."""

import asyncio
import os
import re
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import execution
import folder_paths
import pytest
import torch

from steadydancer_pack.nodes import convert, evaluate, pose_files, prompt, video
from steadydancer_pack.nodes.common import file_names, output_file
from steadydancer_pack.steadydancer_core.weights import prompt_embeddings
from steadydancer_pack.tests.pack_nodes import pack_nodes

OUTSIDE = ("../a", "a/../../b", "/a", "C:\\a", "C:a", "..\\a", "a/", "a\\", ".", "a/..", "", "  ")
WRONG_LETTERS = ("a\0b", "a\nb", "a:b", "a\ud83d/x", "\udcff", "dance: take 2", "a?", "a*b", "a<b", "a|b", '"a"')
WRONG = (*OUTSIDE, *WRONG_LETTERS, "foo/bar.", "foo. /x", "foo /x", "foo./x")
RESERVED = ("aux", "con", "NUL.txt", "COM1", "con/clip", "dance/Prn/clip", "lpt9.a.b", "com\xb2", "nul .txt", "conout$")
NO_DEVICES = ("console", "aux_1", "com", "com0", "com10", "auxiliary/lpt", "my.con")
PLAIN = ("clip", "dance/clip", "dance\\clip", " clip ", "a b-1.5", "./clip", "50%", "50% and 60%")
RIGHT = (*NO_DEVICES, *PLAIN, "\u821e/\xfcn\xef", "\U0001f483")
UNFILLED = ("%date:yyyy-MM-dd%/x", "x %date:yyyy/MM/dd hh:mm%", "%seed%", "%SteadyDancer Sampler.seed%", "%date%")
PREFIXED = (video.VideoCombine, pose_files.SavePoses, evaluate.Evaluate)
NAMED = {prompt.SavePromptEmbeddings: "name", convert.ConvertModel: "file_name"}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_names(name):
    assert not file_names.is_file_name(name.strip())
    assert "does not name a file inside ComfyUI's output folder" in file_names.prefix_fault(name)
    with pytest.raises(ValueError, match='no dot or blank at the end of a part, none of < > : " [|] [?] [*]'):
        output_file.output_names(name, ".mp4", 8, 8)


@pytest.fixture
def output(tmp_path, monkeypatch):
    """ComfyUI's output folder, empty."""
    folder = tmp_path / "output"
    folder.mkdir()
    monkeypatch.setattr(folder_paths, "output_directory", str(folder))
    return folder


@pytest.mark.parametrize("node", [*PREFIXED, *NAMED])
@pytest.mark.parametrize("name", RESERVED)
def test_names_of_devices_are_refused_by_every_node(node, name):
    plain = node is not convert.ConvertModel or "/" not in name
    wanted = "Windows keeps the name '.*' for a device" if plain else "is not a plain file name"
    assert re.search(wanted, node.validate_inputs(name))


@pytest.mark.parametrize("node", [*PREFIXED, *NAMED])
def test_half_a_character_is_refused_by_every_node(node):
    fault = node.validate_inputs("a\ud83d")
    assert "no invisible character" in fault and "'a\\ud83d'" in fault


ADDED = ("_00001_.webm", "_00001_.json", "_00001_", ".safetensors", ".safetensors.part.json.new")


@pytest.mark.parametrize("node, added", [*zip((*PREFIXED, *NAMED), ADDED, strict=True)])
def test_names_that_no_disk_takes_are_refused_before_the_run(node, added):
    """A file name has 255 bytes; a Chinese character has 3."""
    fault = node.validate_inputs("\u821e" * 84)
    assert f"with the '{added}' that is added, and this one has {len(added) - 3} more" in fault
    assert "has 1 more" in node.validate_inputs("x" * (256 - len(added)))
    assert node.validate_inputs("x" * (255 - len(added))) is True


def first_name(prefix, width=8, height=8):
    return next(iter(output_file.output_names(prefix, ".mp4", width, height)))


def test_the_longest_name_is_written_and_a_longer_one_shown_in_part(output):
    assert len(file_names.prefix_fault("\u821e" * 100_000)) < 400
    path = first_name("x" * 244)
    path.touch()
    assert len(path.name) == 255
    with pytest.raises(ValueError, match="has 1 more. Shorten it by 1 letters"):
        output_file.output_names("x" * 245, ".mp4", 8, 8)
    with pytest.raises(ValueError, match="has 1 more"):  # known only when the size is
        output_file.output_names("x" * 240 + "%width%", ".mp4", 10000, 8)


def test_a_folder_has_a_length_of_its_own(output):
    wanted = "/".join(["d" * 200] * 3)
    assert video.VideoCombine.validate_inputs(f"{wanted}/clip") is True
    assert "characters too long for this system" in video.VideoCombine.validate_inputs("/".join(["d" * 200] * 22))
    output_file.output_names(f"{wanted}/clip", ".mp4", 8, 8)


@pytest.mark.parametrize("enabled, limit", [(None, 259), (0, 259), (1, 32766)])
def test_windows_has_paths_of_two_lengths(monkeypatch, enabled, limit):
    def value(key, name):
        if enabled is None:
            raise FileNotFoundError(name)
        return enabled, 4

    registry = SimpleNamespace(HKEY_LOCAL_MACHINE=0, OpenKey=lambda *_: nullcontext(), QueryValueEx=value)
    monkeypatch.setitem(sys.modules, "winreg", registry)
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        found = file_names._longest_path()
    assert found == limit


def test_a_link_out_of_the_output_folder_is_refused_before_the_run(output, tmp_path):
    """ComfyUI raises a bare Exception for it, when all is sampled."""
    (tmp_path / "disk").mkdir()
    (output / "here").mkdir()
    (output / "out").symlink_to(tmp_path / "disk")
    (output / "in").symlink_to(output / "here")
    for node in PREFIXED:
        assert node.validate_inputs("in/clip") is True
        for prefix in ("out/clip", "out/deeper/clip"):
            fault = node.validate_inputs(prefix)
            assert "is a link that leads out of ComfyUI's output folder, to " in fault
            assert f"{tmp_path / 'disk'}" in fault and "start ComfyUI with --output-directory" in fault
    with pytest.raises(ValueError, match="is a link that leads out"):
        output_file.output_names("out/clip", ".mp4", 8, 8)
    assert list((tmp_path / "disk").iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_refused_before_the_run(output):
    (output / "dance").write_text("a file")
    for node in PREFIXED:
        assert f"{output / 'dance'} is no folder" in node.validate_inputs("dance/clip")
        assert node.validate_inputs("dance") is True


def test_a_prompt_with_half_a_character_is_refused_before_the_run(tmp_path):
    fault = prompt.SavePromptEmbeddings.validate_inputs("clip", "dance \ud83d")
    assert fault.startswith("prompt holds U+D83D, one half of a character")
    assert prompt.SavePromptEmbeddings.validate_inputs("clip", "dance \U0001f483") is True
    with pytest.raises(ValueError, match="prompt holds U[+]D83D"):
        prompt_embeddings.save([[torch.ones(1, 2, 4), {}]], tmp_path / "a.safetensors", "\ud83d")
    assert list(tmp_path.iterdir()) == []


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


def test_comfyui_fills_in_the_placeholders_and_blanks_around_a_prefix_do_not_count():
    path = first_name("".join(file_names.PLACEHOLDERS), 80, 64)
    assert "%" not in path.name and path.name.endswith("8064_00001_.mp4")
    path = first_name(" blanks/clip ")
    assert (path.parent.name, path.name) == ("blanks", "clip_00001_.mp4")
    assert output_file.saved_result(path)["subfolder"] == "blanks"


@pytest.mark.parametrize("node", [*PREFIXED, *NAMED])
def test_a_wrong_name_is_refused_before_the_run(node):
    assert "'a:b'" in node.validate_inputs("a:b")
    assert node.validate_inputs("clip") is node.validate_inputs(None) is node.validate_inputs() is True
    if node in PREFIXED:
        for prefix in ("a:b", "%date:yyyy%"):
            assert node.validate_inputs(prefix) == file_names.prefix_fault(prefix)
        assert node.validate_inputs("video/clip") is True


def test_evaluate_needs_no_report():
    assert evaluate.Evaluate.validate_inputs("  ") is True


def test_every_node_that_writes_asks_before_the_run():
    """Its inputs are named as in the schema, or ComfyUI would not hand them over."""
    names = dict.fromkeys(PREFIXED, "filename_prefix") | NAMED
    inputs = {node: {field.id for field in node.GET_SCHEMA().inputs} for node in pack_nodes()}
    writing = {node for node, ids in inputs.items() if ids & {"filename_prefix", "file_name"}}
    assert writing | {prompt.SavePromptEmbeddings} == set(names)
    assert [node for node, name in names.items() if name not in inputs[node]] == []


@pytest.mark.parametrize("prefix, valid", [("video/clip", True), ("a:b", False), ("%date:yyyy%", False)])
def test_comfyui_asks(monkeypatch, prefix, valid):
    import nodes

    for name in ("SavePoses", "LoadPoses"):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, f"SteadyDancer{name}", getattr(pose_files, name))
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
