"""The node Evaluate and its command: inputs, re-detection, files, what is shown, and the report."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from PIL import Image

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.dwpose.formats.keypoints import to_keypoints
from steadydancer_pack.dwpose.formats.pose_json import save
from steadydancer_pack.dwpose.packages.pip_advice import install
from steadydancer_pack.dwpose.poses import PoseClip, Track
from steadydancer_pack.evaluation import clip_report
from steadydancer_pack.nodes import evaluate as node_module
from steadydancer_pack.nodes.common import node_picture
from steadydancer_pack.nodes.evaluate import Evaluate, register_folders
from steadydancer_pack.tests.together import meeting, together

PACK = Path(__file__).resolve().parents[2]
FRAMES, SIDE = 5, 64


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Own output, temp and models/measures."""
    for kind in ("output", "temp"):
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    models = tmp_path / "models"
    models.mkdir()
    known = ([str(models)], {".safetensors", ".onnx"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, node_module.FOLDER, known)
    folder_paths.filename_list_cache.pop(node_module.FOLDER, None)
    return tmp_path


@pytest.fixture
def images():
    return torch.rand(FRAMES, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))


def pose_clip(offset=0.0, size=(SIDE, SIDE)):
    points = np.random.default_rng(0).uniform(0.2, 0.8, (FRAMES, 134, 2)) + offset
    return PoseClip(*size, FRAMES, (Track(0, points, np.full((FRAMES, 134), 0.9)),))


class PresetDetector:
    """Finds one person at the points of a clip, or nobody."""

    name, notes, fingerprint = "Preset", [], "preset"

    def __init__(self, clip=None):
        self.points = iter(clip.tracks[0].points * SIDE) if clip else None

    def find(self, frame, *_):
        return [Region(32.0, 32.0, 40.0, 40.0)] if self.points else []

    def estimate(self, frame, regions):
        return next(self.points)[None], np.full((1, 134), 0.9)

    def follow(self, points, scores):
        return Region(32.0, 32.0, 40.0, 40.0)


def values(output):
    return json.loads(output.result[3])


def test_it_is_an_output_node_and_its_folder_of_networks_is_added(monkeypatch):
    assert Evaluate.GET_SCHEMA().is_output_node
    monkeypatch.delitem(folder_paths.folder_names_and_paths, node_module.FOLDER)
    register_folders()
    paths, suffixes = folder_paths.folder_names_and_paths[node_module.FOLDER]
    assert paths == [os.path.join(folder_paths.models_dir, "measures")] and suffixes == {".safetensors", ".onnx"}
    assert not Path(paths[0]).exists()


def test_a_clip_that_is_its_own_ground_truth(images):
    poses = to_keypoints(pose_clip())
    output = Evaluate.execute(images, images[:1], images, poses, poses)
    metrics = values(output)
    assert metrics["first_frame_psnr"] == metrics["truth_psnr"] == 100.0
    assert metrics["pck"] == metrics["found"] == 1.0 and metrics["joint_error"] == pytest.approx(0, abs=1e-6)
    report, plots, sheet, _, path = output.result
    assert report.startswith("First frame PSNR: 100.00 dB\n") and path == ""
    assert plots.ndim == sheet.ndim == 4 and plots.min() >= 0 and sheet.max() <= 1
    shown = output.ui
    assert shown["text"] == (report,) and len(shown["images"]) == 2
    assert all(Path(folder_paths.get_temp_directory(), image["filename"]).is_file() for image in shown["images"])
    assert not Path(folder_paths.get_output_directory()).exists()


@pytest.mark.usefixtures("folders")
def test_without_matplotlib_all_is_measured_and_the_log_says_at_once_how(images, monkeypatch, caplog, forget):
    importlib.import_module("torchmetrics.functional.image")  # which goes by the metadata of installed packages
    forget("matplotlib")
    said = []
    evaluate = clip_report.evaluate
    monkeypatch.setattr(clip_report, "evaluate", lambda case: said.append(caplog.text) or evaluate(case))
    output = Evaluate.execute(images, images[:1], filename_prefix="a")
    command = install("matplotlib")
    assert f"matplotlib is not installed. Run in a terminal:\n{command}\nand restart ComfyUI." in said[0]
    assert command in output.result[0] and values(output)["first_frame_psnr"] == 100.0
    assert output.result[1].max() > 0.8 and len(output.ui["images"]) == 2  # a line of text in place of the curves
    report = Path(output.result[4], "report.md").read_text()
    assert "With ComfyUI's own Python: python -m pip install matplotlib." in report and sys.prefix not in report


def test_a_full_temp_folder_costs_no_number(images, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_picture.ui, "PreviewImage", full)
    output = Evaluate.execute(images, images[:1])
    assert values(output)["first_frame_psnr"] == 100.0 and output.ui["images"] == []


def test_the_poses_are_looked_for_in_the_frames_and_nobody_is_a_score_of_0(images):
    target = to_keypoints(pose_clip())
    metrics = values(Evaluate.execute(images, target=target, detector=PresetDetector(pose_clip(0.01))))
    assert metrics["pck"] == 1.0 and metrics["found"] == 1.0
    assert 1.0 < metrics["joint_error"] < 5.0  # sqrt(2) hundredths of the frame, of a person of 0.6
    metrics = values(Evaluate.execute(images, target=target, detector=PresetDetector()))
    assert metrics["pck"] == metrics["found"] == 0.0 and "joint_error" not in metrics


def test_a_detector_that_fails_is_no_empty_clip_and_poses_of_another_picture_are_refused(images):
    class Broken(PresetDetector):
        def find(self, frame, *_):
            raise ValueError("the network failed")

    with pytest.raises(ValueError, match="the network failed"):
        Evaluate.execute(images, detector=Broken())
    with pytest.raises(ValueError, match="The target poses are of a picture of 1280x720, the frames are 64x64"):
        Evaluate.execute(images, target=to_keypoints(pose_clip(size=(1280, 720))))


def test_seams_with_the_window_of_long_video(images):
    clip = torch.linspace(0.2, 0.4, 49)[:, None, None, None].expand(49, 32, 32, 3)
    assert values(Evaluate.execute(clip, window=21, overlap=8))["seams_visible"] == 0
    assert "seam_jump" not in values(Evaluate.execute(images))


def test_two_reports_are_equal_to_the_last_byte(images, folders):
    poses = to_keypoints(pose_clip())
    runs = [Evaluate.execute(images, images[:1], images, poses, poses, filename_prefix="dance/a") for _ in range(2)]
    paths = [Path(run.result[4]) for run in runs]
    assert paths == [folders / "output" / "dance" / f"a_0000{i}_" for i in (1, 2)]
    names = ["contact_sheet.png", "over_the_frames.png", "report.csv", "report.html", "report.md"]
    assert [sorted(file.name for file in path.iterdir()) for path in paths] == [names] * 2
    assert all((paths[0] / name).read_bytes() == (paths[1] / name).read_bytes() for name in names)
    assert runs[0].result[3] == runs[1].result[3]


def test_two_runs_that_begin_together_keep_both_reports_and_their_pictures(images, folders, monkeypatch):
    # both runs have chosen their number when they make their report
    monkeypatch.setattr(node_module, "clip_report", meeting(node_module.clip_report))
    clips = images, images * 0.5
    outputs = together(*(lambda clip=clip: Evaluate.execute(clip, clip[:1], filename_prefix="a") for clip in clips))
    paths = [Path(output.result[4]) for output in outputs]
    assert sorted(paths) == [folders / "output" / f"a_0000{i}_" for i in (1, 2)]
    assert sorted((folders / "output").iterdir()) == sorted(paths)
    shown = [[folders / "temp" / entry["filename"] for entry in output.ui["images"]] for output in outputs]
    assert len({file for files in shown for file in files}) == 4
    for path, files in zip(paths, shown, strict=True):
        saved = path / "contact_sheet.png", path / "over_the_frames.png"
        assert [Image.open(file).tobytes() for file in files] == [Image.open(file).tobytes() for file in saved]
    assert shown[0][0].read_bytes() != shown[1][0].read_bytes()


def test_a_report_that_cannot_be_saved_is_refused_before_anything_is_measured(images, folders, monkeypatch):
    (folders / "output").mkdir(exist_ok=True)
    (folders / "output" / "file").write_text("")
    monkeypatch.setattr(node_module, "evaluate_and_draw", lambda case: pytest.fail("measured"))
    refused = {"../a": "does not name a file inside", "file/a": "No report can be saved as file/a: "}
    for prefix, message in refused.items():
        with pytest.raises(ValueError, match=message):
            Evaluate.execute(images, filename_prefix=prefix)


def test_files_are_offered_by_their_kind_and_missing_ones_named(images, folders):
    for name in ("net.safetensors", "i3d.onnx", "readme.txt"):
        (folders / "models" / name).write_text("")
    options = {item.id: item.options for item in Evaluate.GET_SCHEMA().inputs if hasattr(item, "options")}
    networks = {key: ["none", "i3d.onnx"] for key in ("clip_network", "identity_network")}
    assert options == {"lpips_file": ["none", "net.safetensors"], **networks}
    assert Evaluate.fingerprint_inputs() == ""
    assert "i3d.onnx" in Evaluate.fingerprint_inputs(clip_network="i3d.onnx", images=images)
    with pytest.raises(ValueError, match="There is no file 'gone.onnx' in models/measures"):
        Evaluate.execute(images, clip_network="gone.onnx")


def run_command(*arguments, start=("-I", PACK / "evaluation")):
    """Run the command in another folder, by its path and in an isolated Python, or as `start` says in the pack's."""
    command = list(map(str, (sys.executable, *start, *arguments)))
    cwd = PACK if "-m" in start else PACK.parent
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_the_command(images, tmp_path):
    clip = tmp_path / "clip"
    clip.mkdir()
    for i, frame in enumerate((images * 255).byte().numpy()):
        Image.fromarray(frame).save(clip / f"{i}.png")
    save(pose_clip(), tmp_path / "poses.json")
    poses, output = tmp_path / "poses.json", tmp_path / "out"
    inputs = {"photo": clip / "0.png", "ground-truth": clip, "poses": poses, "target": poses, "output": output}
    code, said, error = run_command(clip, *(word for name, path in inputs.items() for word in (f"--{name}", path)))
    assert (code, error) == (0, "")
    assert all(words in said for words in ("First frame PSNR: 100.00 dB", "PCK: 1.0000", "\nPSNR: 100.00 dB"))
    assert (output / "report.csv").is_file() and (output / "report.html").is_file()
    assert "| name |  | clip |" in (output / "report.md").read_text()


def test_the_command_says_what_is_wrong(tmp_path):
    code, _, error = run_command(tmp_path / "nothing.mp4", start=("-m", "evaluation"))
    assert code == 1 and error.startswith("Error: 'nothing.mp4' cannot be read")
