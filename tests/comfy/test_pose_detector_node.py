"""Load Pose Detector: which files it finds, what it says, what it refuses."""

import inspect
import os
from pathlib import Path
from types import SimpleNamespace

import comfy.model_management
import folder_paths
import pytest
import torch

from steadydancer_pack.nodes import pose_detector as node
from steadydancer_pack.nodes.common import pose_detection
from steadydancer_pack.nodes.pose_detector import BUNDLED, FROM_FILES, LoadPoseDetector, register_folders

YOLOX, DW_LL = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty ComfyUI with its folders registered; nothing of ours is there yet."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    known = {"detection": ([str(tmp_path / "models" / "detection")], {".safetensors"})}
    known["custom_nodes"] = ([str(tmp_path / "custom_nodes")], set())
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.delenv(node.AUX_CKPTS, raising=False)
    return tmp_path


def put(home, *files):
    for file in files:
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_bytes(b"onnx")


@pytest.fixture
def loads(monkeypatch):
    """Stand-ins for both detectors; returns the arguments they were made with."""
    made = []

    def load(*args):
        made.append(args)
        return SimpleNamespace(name="Fake (CPU)", notes=["It runs on CPU.", "Do this.", "Do this."])

    for name in ("DWPose", "BlazePose"):
        monkeypatch.setattr(node, name, load)
    return made


def options(name):
    return next(i for i in LoadPoseDetector.define_schema().inputs if i.id == name).options


def test_registering_creates_nothing_and_changes_no_other_folder(home):
    register_folders()
    register_folders()
    paths, extensions = folder_paths.folder_names_and_paths["dwpose"]
    assert paths == [str(home / "models" / "dwpose"), str(home / "models" / "detection")]
    assert extensions == {".onnx"} and list(home.iterdir()) == []
    assert folder_paths.folder_names_and_paths["detection"][1] == {".safetensors"}


def test_a_folder_of_the_user_comes_first(home):
    folder_paths.add_model_folder_path("dwpose", "/elsewhere")
    register_folders()
    assert folder_paths.get_folder_paths("dwpose")[0] == "/elsewhere"


def test_without_files_the_lists_are_valid(home):
    assert options("yolox_file") == ["auto"]
    register_folders()
    assert options("yolox_file") == options("dwpose_file") == ["auto"]


@pytest.mark.parametrize(
    "folder",
    ["models/dwpose", "models/dwpose/deep", "models/detection", "custom_nodes/aux/ckpts/yzd-v/DWPose", "shared/yzd-v"],
)
def test_files_are_found_where_they_are(home, loads, monkeypatch, folder):
    monkeypatch.setenv(node.AUX_CKPTS, str(home / "shared"))
    put(home, f"{folder}/{YOLOX}", f"{folder}/{DW_LL}", f"{folder}/other.pth")
    register_folders()
    assert [name.rsplit("/")[-1] for name in options("dwpose_file")] == ["auto", DW_LL, YOLOX]
    LoadPoseDetector.execute(FROM_FILES)
    assert loads[0][:2] == (home / folder / YOLOX, home / folder / DW_LL)


def test_a_chosen_file_and_all_settings_go_to_the_detector(home, loads, monkeypatch):
    put(home, "models/dwpose/a.onnx", f"models/dwpose/{DW_LL}")
    register_folders()
    monkeypatch.setattr(pose_detection, "gpu_name", lambda: "GPU")
    output = LoadPoseDetector.execute(FROM_FILES, "a.onnx", "auto", "CUDA", True, "official")
    ours = home / "models" / "dwpose"
    ((*files, provider, gpu, flip_test, order),) = loads
    assert (*files, provider, flip_test, order) == (ours / "a.onnx", ours / DW_LL, "CUDA", True, "official")
    assert gpu.name == "GPU" and gpu.cache == Path(folder_paths.get_user_directory(), "steadydancer", "onnx_cache")
    detector, report = output.result
    assert detector.name == "Fake (CPU)" and report == "Fake (CPU)\nIt runs on CPU.\nDo this."


def test_the_bundled_detector_tells_what_it_lacks(home, loads):
    register_folders()
    _, report = LoadPoseDetector.execute(BUNDLED, provider="CPU").result
    assert loads == [("CPU", None)]
    assert YOLOX in report and DW_LL in report and f"Put into {home / 'models' / 'dwpose'} and press R." in report
    put(home, f"models/dwpose/{DW_LL}")
    assert DW_LL not in LoadPoseDetector.execute(BUNDLED).result[1]
    put(home, f"models/dwpose/{YOLOX}")
    assert "press R" not in LoadPoseDetector.execute(BUNDLED).result[1]


def test_a_missing_file_is_explained_and_an_unknown_detector_refused(home):
    register_folders()
    with pytest.raises(ValueError) as error:
        LoadPoseDetector.execute(FROM_FILES)
    text = str(error.value)
    assert text.startswith("There is no yolox file 'yolox_l.onnx' here.")
    for piece in ("yolox_l.onnx: 217 MB", "yzd-v/DWPose", str(home / "models" / "dwpose"), BUNDLED):
        assert piece in text
    with pytest.raises(ValueError, match="Unknown detector 'magic'. Choose 'auto', 'bundled"):
        LoadPoseDetector.execute("magic")


@pytest.mark.parametrize("name", ["../secret.onnx", "/etc/passwd", "gone.onnx", "weights.pth", ""])
def test_a_value_that_is_no_listed_file_is_refused(home, loads, name):
    put(home, "models/secret.onnx", "models/dwpose/weights.pth", f"models/dwpose/{DW_LL}")
    register_folders()
    with pytest.raises(ValueError, match="There is no yolox file"):
        LoadPoseDetector.execute(FROM_FILES, name)
    assert loads == []


def test_a_replaced_file_runs_the_node_again(home):
    put(home, f"models/dwpose/{YOLOX}", f"models/dwpose/{DW_LL}")
    register_folders()
    before = LoadPoseDetector.fingerprint_inputs(FROM_FILES, "auto", "auto", provider="auto")
    os.utime(home / "models" / "dwpose" / DW_LL, (1, 1))
    assert LoadPoseDetector.fingerprint_inputs(FROM_FILES, "auto", "auto", provider="auto") != before
    assert LoadPoseDetector.fingerprint_inputs(BUNDLED, "auto", "auto") == ""


@pytest.fixture
def manager(monkeypatch):
    """Return a function that sets ComfyUI's device, and what was then asked of its memory management."""
    asked = []

    def on(device):
        device = torch.device(device)
        monkeypatch.setattr(comfy.model_management, "get_torch_device", lambda: device)
        monkeypatch.setattr(comfy.model_management, "free_memory", lambda size, on: asked.append((size, on.type)))
        monkeypatch.setattr(comfy.model_management, "soft_empty_cache", lambda: asked.append("cache"))
        monkeypatch.setattr(pose_detection, "gpu_name", lambda: "GPU")
        return asked

    return on


@pytest.mark.parametrize(
    ("device", "provider", "gpu", "made"),
    [
        ("cuda", "auto", True, True),
        ("cuda", "CUDA", True, True),
        ("cuda", "CPU", False, False),
        ("cuda", "auto", False, False),
        ("cpu", "auto", True, False),
    ],
)
@pytest.mark.parametrize("detector", [BUNDLED, FROM_FILES])
def test_room_is_made_on_the_gpu_before_a_network_is_opened(
    home, loads, manager, monkeypatch, detector, device, provider, gpu, made
):
    put(home, f"models/dwpose/{YOLOX}", f"models/dwpose/{DW_LL}")
    register_folders()
    asked = manager(device)
    monkeypatch.setattr(pose_detection, "may_use_gpu", lambda wanted: gpu)
    kind = "BlazePose" if detector == BUNDLED else "DWPose"
    load = getattr(node, kind)
    monkeypatch.setattr(node, kind, lambda *args: asked.append("opened") or load(*args))
    LoadPoseDetector.execute(detector, provider=provider)
    assert asked == [(2 << 30, "cuda"), "cache"] * made + ["opened"]


def test_comfyui_still_takes_what_it_is_asked(manager):
    """The names of its function, by which the stand-ins above answer."""
    parameters = list(inspect.signature(comfy.model_management.free_memory).parameters)
    assert parameters[:2] == ["memory_required", "device"]


@pytest.mark.parametrize(("version", "cuda"), [("12.8", 12), ("13.0", 13), (None, None)])
def test_the_cuda_of_torch_goes_with_the_gpu(monkeypatch, version, cuda):
    monkeypatch.setattr(pose_detection, "gpu_name", lambda: "GeForce")
    monkeypatch.setattr(torch.version, "cuda", version)
    assert pose_detection.this_gpu()[:2] == ("GeForce", cuda)


@pytest.mark.parametrize(
    ("device", "name"),
    [("cpu", None), ("mps", "Apple GPU"), ("cuda", "GeForce"), ("privateuseone", "DirectML GPU"), ("npu", "npu")],
)
def test_the_name_of_the_gpu(monkeypatch, device, name):
    monkeypatch.setattr(comfy.model_management, "get_torch_device", lambda: SimpleNamespace(type=device))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GeForce")
    assert pose_detection.gpu_name() == name


def test_auto_says_that_hands_are_not_seen_and_where_the_files_belong(home):
    register_folders()
    _, report = LoadPoseDetector.execute().result
    assert report.startswith("BlazePose") and "Hands are not seen" in report
    assert "yolox_l.onnx: 217 MB" in report and f"Put into {home / 'models' / 'dwpose'}" in report
