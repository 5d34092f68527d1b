"""The node Convert Model and the command: names, cancelling, what they tell."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import comfy.model_management
import comfy.sd
import folder_paths
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.media.byte_size import size_text
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.nodes import convert as node
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.tests.model_files import INDEX, write_shards

PACK = Path(__file__).resolve().parents[2]
BAD_NAMES = ("", "  ", "..", ".hidden", "a/b", "../a", "a\\b", "C:a", "/a", "a\nb", "a?", "a.")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The only folder of diffusion models, with a model in one file and in shards."""
    detection.register()
    found = tmp_path / "diffusion_models"
    found.mkdir()
    tensors = steadydancer_state_dict(dtype=torch.float16)
    save_file(tensors, found / "source.safetensors")
    write_shards(found / "parts", tensors)
    (found / "small.gguf").write_bytes(b"")
    _paths, suffixes = folder_paths.folder_names_and_paths["diffusion_models"]
    others = [str(tmp_path / "unet"), str(found)]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", (others, suffixes))
    return found


def run(model_name="source.safetensors", precision="fp8_scaled", file_name="out", overwrite=False):
    return node.ConvertModel.execute(model_name, precision, file_name, overwrite)


def test_what_it_offers(folder):
    inputs = {i.id: i for i in node.ConvertModel.define_schema().inputs}
    assert inputs["model_name"].options == [os.path.join("parts", INDEX), "source.safetensors"]
    assert inputs["precision"].options == ["keep", "fp16", "bf16", "fp8_scaled", "int8_convrot"]


@pytest.mark.parametrize("source", ["source.safetensors", f"parts/{INDEX}"])
def test_the_new_file_is_beside_the_others_and_loads(folder, source):
    output = run(source)
    name, text = output.result
    assert name == "out.safetensors" and (folder / name).is_file()
    assert f"sha256 {hashlib.sha256((folder / name).read_bytes()).hexdigest()}" in text
    assert "5.26 MB, 129 tensors" in text and "24 F8_E4M3" in text
    shown = output.ui.as_dict()
    assert shown["text"] == (text,) and "sha256" not in shown["shown"][0] and "5.26 MB" in shown["shown"][0]
    assert comfy.sd.load_diffusion_model(str(folder / name)).model.model_config.quant_config
    assert "out.safetensors" in folder_paths.get_filename_list("diffusion_models")


def test_overwriting_is_asked_for_and_gguf_is_refused(folder):
    run(precision="bf16")
    with pytest.raises(ValueError, match="there already"):
        run(precision="fp16")
    assert " F16" in run(precision="fp16", overwrite=True).result[1]
    with pytest.raises(ValueError, match="source itself"):
        run(file_name="source.safetensors", overwrite=True)
    with pytest.raises(ValueError, match="small.gguf is a GGUF file: its weights are rounded already"):
        run("small.gguf")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_none(folder, name):
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ValueError, match="is not a plain file name"):
        run(file_name=name)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["out", "out.safetensors", " out.SafeTensors ", "a b-1.5"])
def test_names_that_are(folder, name):
    path = node.output_path(name)
    assert path.parent == folder and path.name.lower().endswith(".safetensors") and path.name[0] != " "


def test_cancel_leaves_what_is_written_and_the_next_run_goes_on(folder, monkeypatch, cancelling_bar):
    with monkeypatch.context() as patch:
        patch.setattr(node, "BAR_STEPS", 20)
        patch.setattr(node.comfy.utils, "ProgressBar", cancelling_bar)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run()
    assert cancelling_bar.seen == sorted(cancelling_bar.seen) and cancelling_bar.seen[-1] == 2
    assert sorted(path.name for path in folder.glob("out*")) == ["out.safetensors.part", "out.safetensors.part.json"]
    assert "of it were there from a run before" in run().result[1]
    whole = (folder / "out.safetensors").read_bytes()
    run(file_name="again")
    assert (folder / "again.safetensors").read_bytes() == whole


def command(*arguments, start=("-I", PACK / "tools" / "convert.py"), **environment):
    """Run the command in another folder, by its path and in an isolated Python, or as `start` says in the pack's."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    words = list(map(str, (sys.executable, *start, *arguments)))
    cwd = PACK if "-m" in start else PACK.parent
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_the_command_writes_the_same_file(folder, tmp_path):
    run()
    target = tmp_path / "by command.safetensors"
    code, out, error = command(folder / "parts", target, "--precision", "fp8_scaled")
    assert (code, error) == (0, "")
    data = target.read_bytes()
    assert data == (folder / "out.safetensors").read_bytes()
    lines = out.splitlines()
    assert lines[0].startswith("  0 %  ") and lines[-4] == "100 %  {0} of {0}".format(size_text(len(data)))
    assert lines[-3].startswith("parts: 5.") and lines[-1] == f"sha256 {hashlib.sha256(data).hexdigest()}"
    assert len(lines) <= 25


@pytest.mark.parametrize(
    ("arguments", "environment", "text"),
    [
        (("none.safetensors", "x.safetensors"), {}, "none.safetensors is not there"),
        (("source.safetensors", "x.safetensors"), {"COMFYUI_PATH": "/nowhere"}, "COMFYUI_PATH must name"),
    ],
)
def test_the_command_fails_in_words(folder, arguments, environment, text):
    code, out, error = command(*(folder / a for a in arguments), start=("-m", "tools.convert"), **environment)
    assert code == 1 and out == "" and error.startswith("Error: ") and text in error
    assert error.count("\n") == 1


def test_a_command_that_meets_the_end_of_the_disk_goes_on_where_it_stopped(folder, tmp_path):
    resource = pytest.importorskip("resource", reason="the limit of a file size stands in for a full disk")
    target = tmp_path / "new" / "out.safetensors"
    target.parent.mkdir()
    arguments = (folder / "source.safetensors", target, "--precision", "fp8_scaled")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, limits[1]))
    try:
        code, _, error = command(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1 and "out.safetensors.part could not be written" in error and "on another disk" in error
    assert sorted(path.name for path in target.parent.iterdir()) == [f"{target.name}.part", f"{target.name}.part.json"]
    code, out, error = command(*arguments)
    assert (code, error) == (0, "") and "of it were there from a run before" in out
    run()
    assert target.read_bytes() == (folder / "out.safetensors").read_bytes()
    assert list(target.parent.iterdir()) == [target]
