"""The doctor: each check with a bad and a good case from plain facts, the text without paths, node and command."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import comfy.model_management
import folder_paths
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.doctor import memory_check as memory
from steadydancer_pack.doctor import model_check as models
from steadydancer_pack.doctor import model_files, trial
from steadydancer_pack.doctor import opencv_check as opencv
from steadydancer_pack.doctor import package_check as packages
from steadydancer_pack.doctor import pose_check as pose
from steadydancer_pack.doctor.findings import HEAD, Finding, of_error, report, verdict, worst_first
from steadydancer_pack.doctor.machine import this_machine
from steadydancer_pack.doctor.opencv_check import OpenCV
from steadydancer_pack.dwpose.packages.onnxruntime_advice import FOR_CUDA, Gpu
from steadydancer_pack.dwpose.packages.pip_advice import in_terminal, install
from steadydancer_pack.media.byte_size import GB
from steadydancer_pack.miniature import SHIPPED, SIDE, shipped
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.nodes import doctor as node_module
from steadydancer_pack.nodes.common import pose_detection
from steadydancer_pack.nodes.doctor import NODES, Doctor, examine
from steadydancer_pack.steadydancer_core.memory.fit import MAX_BRANCHES
from steadydancer_pack.steadydancer_core.memory.fit import gather as gather_loaded
from steadydancer_pack.steadydancer_core.weights import detection
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.tests.model_files import older_marker, write_gguf, write_shards

PACK = Path(__file__).resolve().parents[2]
SMALL = {"dim": 256, "ffn_dim": 512, "layers": 2, "text_dim": 64}
MACHINE = memory.Machine("cuda:0", total=24 * GB, free=22 * GB, reserve=GB, ram=64 * GB)
CARD = "NVIDIA GeForce RTX 4090"


@pytest.fixture(scope="module", autouse=True)
def known_to_comfyui():
    detection.register()


# --- findings


def test_a_finding_is_one_line_the_worst_comes_first_and_facts_follow_in_the_text():
    ok, bad = Finding("ok", "fine"), Finding("problem", "two\nlines", "do\n this")
    note, other = Finding("note", "a"), Finding("note", "b")
    assert bad.line() == "[problem] two lines FIX: do this" and ok.line() == "[ok] fine"
    assert worst_first([ok, note, bad, other]) == [bad, note, other, ok]
    assert verdict([ok, note, bad, other]) == "SteadyDancer doctor: 1 problem, 2 notes."
    assert verdict([ok]) == "SteadyDancer doctor: all is well."
    found = [Finding("ok", "fine"), Finding("warning", "in /home/mary/a/b.txt", "go")]
    text = report(found, {"Python": "3.12"}, [])
    findings = ["SteadyDancer doctor: 1 warning.", "[warning] in <path>/b.txt FIX: go", "[ok] fine"]
    assert text.splitlines() == [*findings, "", HEAD, "Python: 3.12"]


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("a.safetensors is cut. Delete it and load it again.", "a.safetensors is cut.", "Delete it and load it again."),
        ("There is\nno file. Choose one.", "There is no file.", "Choose one."),
        ("nothing to be done", "nothing to be done", ""),
    ],
)
def test_the_last_sentence_of_an_error_is_its_fix(text, what, fix):
    found = of_error("problem", ValueError(text), "Here: ")
    assert (found.what, found.fix) == (f"Here: {what}", fix)


# --- versions and packages


def test_pyproject_gives_version_and_floors_and_evaluate_can_do_without_its_packages():
    pack = packages.read_pyproject((PACK / "pyproject.toml").read_text("utf-8"))
    assert all(part[0].isdigit() for part in pack)
    assert packages.read_pyproject('version = "1.2"\nrequires-comfyui = ">=0.3"\n') == ["1.2", "0.3", "?"]
    assert packages.read_pyproject("") == ["?", "?", "?"]
    assert packages.check_evaluate("torchmetrics", "1.9.0").line() == "[ok] torchmetrics 1.9.0, for Evaluate."
    absent = packages.check_evaluate("matplotlib", None)
    assert absent.level == "ok" and "matplotlib is not installed: Evaluate works without the curves" in absent.what


@pytest.mark.parametrize(
    ("found", "level"), [("0.29.9", "problem"), ("0.30.0", "ok"), ("0.33", "ok"), ("1.0.0+local", "ok")]
)
def test_comfyui_must_be_new_enough(found, level):
    finding = packages.check_version("ComfyUI", found, "0.30.0")
    assert finding.level == level and bool(finding.fix) == (level == "problem") and found in finding.what


PLAIN, CONTRIB, HEADLESS = "opencv-python", "opencv-contrib-python", "opencv-python-headless"
BOTH = {PLAIN: "5.0.0.93", CONTRIB: "5.1.0.95"}
NO_GL = {"cause": "libGL.so.1: cannot open shared object file", "no_display": True}
NO_THREADS = {"cause": "libgthread-2.0.so.0: cannot open", "no_display": True}
NO_XCB = {"cause": "libxcb.so.1: cannot", "no_display": True}
UNREADABLE = "cannot be imported"


def again(package):
    """Return the fix that writes a package again, or for "" none."""
    command = f"python -m pip install --force-reinstall --no-deps {package}"
    return f"With ComfyUI's own Python: {command}. Then restart ComfyUI." if package else ""


@pytest.mark.parametrize(
    ("found", "level", "what", "written_again"),
    [
        (OpenCV({PLAIN: "4.12.0"}, "4.12.0"), "ok", "One OpenCV: opencv-python 4.12.0.", ""),
        (OpenCV({CONTRIB: "4.12.0"}, "4.12.0", True), "ok", "One OpenCV: opencv-contrib-python", ""),
        (OpenCV({}, "4.12.0"), "ok", "which pip has not installed", ""),
        # Beside opencv-contrib-python our requirements install opencv-python over its files.
        (OpenCV(BOTH, "5.0.0"), "warning", "such as cv2.ximgproc", f"{CONTRIB}==5.1.0.95"),
        (OpenCV(BOTH, "5.1.0", True), "note", "it is whole", f"{CONTRIB}==5.1.0.95"),
        (OpenCV({HEADLESS: "5.0", PLAIN: "5.0"}, "5.0"), "note", f"{PLAIN} 5.0 and {HEADLESS}", f"{PLAIN}==5.0"),
        (OpenCV({PLAIN: "5.0", HEADLESS: "5.0"}, "5.0", headless=True), "note", "it is whole", f"{HEADLESS}==5.0"),
        # One of two was uninstalled, and took files of the other.
        (OpenCV(BOTH, None), "problem", UNREADABLE, f"{CONTRIB}==5.1.0.95"),
        (OpenCV({CONTRIB: "5.1.0.95"}, None), "problem", UNREADABLE, f"{CONTRIB}==5.1.0.95"),
        (OpenCV({HEADLESS: "5.0.0.93"}, None), "problem", UNREADABLE, f"{HEADLESS}==5.0.0.93"),
        # A server without a display: the headless package worked before another was installed over it.
        (OpenCV({HEADLESS: "4.1", PLAIN: "4.2"}, None, **NO_GL), "problem", "(libGL.so.1: cannot", f"{HEADLESS}==4.1"),
        (OpenCV({PLAIN: "4.12.0.88"}, None, **NO_THREADS), "problem", "libgthread", HEADLESS),
        # Version 4.13.0.90 of the headless package does not load either.
        (OpenCV({HEADLESS: "4.13.0.90"}, None, **NO_XCB), "problem", "libxcb", HEADLESS),
        (OpenCV({HEADLESS: "4.13.0.90", PLAIN: "4.13.0.92"}, None, **NO_XCB), "problem", "libxcb", HEADLESS),
    ],
)
def test_the_opencv_that_is_loaded_and_the_one_command_that_repairs_it(found, level, what, written_again):
    finding = opencv.check_opencv(found)
    assert finding.level == level and what in finding.what and finding.fix.endswith(again(written_again))
    assert bool(finding.fix) == bool(written_again)


def test_an_opencv_that_is_not_installed_is_to_be_installed_and_a_bug_report_names_all():
    finding = opencv.check_opencv(OpenCV({}, None))
    assert finding.level == "problem" and "not installed" in finding.what
    assert finding.fix.endswith("python -m pip install opencv-python. Then restart ComfyUI.")
    named = "opencv-python 5.0.0.93, opencv-contrib-python 5.1.0.95"
    assert opencv.in_words(OpenCV(BOTH, "5.0.0")) == f"{named}; loads 5.0.0"
    assert opencv.in_words(OpenCV({}, "4.12.0")) == "4.12.0" and opencv.in_words(OpenCV({}, None)) == "-"


@pytest.fixture
def failing_cv2(monkeypatch):
    """Return a function that makes cv2 one whose import fails, and opencv-python one of a version."""

    def put(cause, version):
        def fails():
            raise ValueError("advice") from ImportError(cause)

        monkeypatch.setattr(opencv, "import_cv2", fails)
        monkeypatch.setattr(opencv, "installed_version", lambda name: version if name == PLAIN else None)

    return put


def test_the_kind_of_the_loaded_opencv_is_known(monkeypatch, failing_cv2):
    monkeypatch.setattr(opencv, "PACKAGES", ("opencv-nothing",))
    cv2 = SimpleNamespace(__version__="5.0.0")
    monkeypatch.setattr(opencv, "import_cv2", lambda: cv2)
    assert opencv.installed_opencv() == OpenCV({}, "5.0.0")
    cv2.version = SimpleNamespace(contrib=True, headless=True)
    assert opencv.installed_opencv() == OpenCV({}, "5.0.0", contrib=True, headless=True)
    failing_cv2("libGL.so.1: cannot open", None)
    assert opencv.installed_opencv() == OpenCV({}, None, cause="libGL.so.1: cannot open", no_display=True)


@pytest.mark.parametrize(
    ("cause", "fix"),
    [
        ("DLL load failed while importing cv2: The specified module could not be found.", "Visual C++ runtime"),
        ("[WinError 126] The specified module could not be found", "Visual C++ runtime"),
        ("numpy.core.multiarray failed to import", "own Python: python -m pip install -U opencv-python. Then restart"),
        ("/x/cv2.abi3.so: undefined symbol: y", "own Python: python -m pip install -U opencv-python. Then restart"),
        ("libxcb.so.1: cannot open shared object file", again(HEADLESS)),
    ],
)
def test_an_opencv_that_is_whole_and_does_not_load_is_not_installed_again(failing_cv2, cause, fix):
    """But the headless one is installed over it where there is no library of the display."""
    failing_cv2(cause, "4.13.0.90")
    line = opencv.check_opencv(opencv.installed_opencv()).line()
    assert cause in line and fix in line and ("--force-reinstall" in line) == (HEADLESS in fix)


# --- model files


@pytest.fixture(scope="module")
def weights():
    return steadydancer_state_dict(**SMALL)


@pytest.fixture
def full_size(monkeypatch):
    """Small made-up files pass for the 14B model."""
    monkeypatch.setattr(model_files, "FULL_SIZE", (SMALL["layers"], SMALL["dim"]))


def write(folder, name, shapes, dtype=torch.uint8):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save_file({key: torch.zeros(shape, dtype=dtype) for key, shape in shapes.items()}, folder / name)
    return folder / name


KINDS = [
    ("vae", {model_files.WAN_VAE: (4,)}, model_files.VAE, "a Wan 2.1 VAE"),
    ("vae", {model_files.WAN_VAE: (4,), model_files.WAN_22: (4,)}, "", "the VAE of Wan 2.2 5B"),
    ("clip_vision", {"vision_model.encoder.layers.0.layer_norm1.weight": (1280,)}, model_files.CLIP_VISION, "CLIP-H"),
    ("clip_vision", {"visual.transformer.resblocks.0.ln_1.weight": (1280,)}, model_files.CLIP_VISION, "CLIP-H"),
    ("clip_vision", {"vision_model.encoder.layers.0.layer_norm1.weight": (1024,)}, "", "CLIP-L"),
    ("text_encoders", {"shared.weight": (256384, 1)}, model_files.TEXT, "UMT5-XXL"),
    ("text_encoders", {"shared.weight": (32128, 1)}, "", "T5, not UMT5"),
    ("text_encoders", {"token_embedding.weight": (4,), "blocks.0.attn.q.weight": (4,)}, "", "Wan's own release"),
    ("prompt_embeddings", {"cond.0": (4,)}, model_files.PROMPT, "prompt embeddings"),
    ("diffusion_models", {"blocks.0.self_attn.q.lora_A.weight": (4,)}, "", "a LoRA"),
    ("diffusion_models", {"head.modulation": (4,), "img_emb.proj.0.bias": (4,)}, "", "a plain Wan image-to-video"),
    ("diffusion_models", {"anything": (4,)}, "", "an unknown file"),
]


@pytest.mark.parametrize(("folder", "shapes", "role", "words"), KINDS)
def test_a_file_is_known_by_its_header(tmp_path, folder, shapes, role, words):
    found = model_files.look_at(folder, "file.safetensors", write(tmp_path, "file.safetensors", shapes))
    assert (found.role, found.fault) == (role, None) and words in found.kind


def test_a_miniature_or_a_width_of_one_number_is_no_file_for_real_videos(tmp_path, weights):
    roles = {file.stem: model_files.look_at("x", file.name, file).role for file in SHIPPED.rglob("*.safetensors")}
    assert roles.pop("steadydancer_miniature") == model_files.MINIATURE
    assert len(roles) == 3 and set(roles.values()) == {""}
    save_file(weights | {"head.modulation": torch.tensor(1.0)}, tmp_path / "a.safetensors")
    found = model_files.look_at("diffusion_models", "a.safetensors", tmp_path / "a.safetensors")
    assert (found.role, found.fault) == (model_files.MINIATURE, None)


def test_steadydancer_is_told_with_its_precision(tmp_path, weights, full_size):
    save_file(older_marker(weights), tmp_path / "a.safetensors")
    gguf = write_gguf(tmp_path / "b.gguf", weights, "Q8_0")
    index = write_shards(tmp_path / "SteadyDancer-14B", {k: w.half() for k, w in weights.items()})
    files = (("a.safetensors", tmp_path / "a.safetensors"), ("b.gguf", gguf), (f"SteadyDancer-14B/{index.name}", index))
    found = [model_files.look_at("diffusion_models", name, path) for name, path in files]
    assert [file.role for file in found] == [model_files.MODEL] * 3
    assert [file.kind.partition(": ")[0] for file in found] == [name for name, _ in files]
    for file, precision in zip(found, ("fp8 e4m3fn scaled (older marker)", "GGUF Q8_0", "fp16"), strict=True):
        assert f", {precision}, " in file.kind
    shard = next(index.parent.glob("*-of-*"))
    alone = model_files.look_at("diffusion_models", f"SteadyDancer-14B/{shard.name}", shard)
    assert alone.role == model_files.MODEL and "one part of a model" in str(alone.fault)


def test_a_cut_file_is_a_fault_only_if_it_says_that_it_is_ours(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    ours = model_files.look_at("diffusion_models", "x/SteadyDancer.safetensors", tmp_path / "cut.safetensors")
    other = model_files.look_at("diffusion_models", "flux.safetensors", tmp_path / "cut.safetensors")
    gone = model_files.look_at("diffusion_models", "flux.safetensors", tmp_path / "gone.safetensors")
    pickle = model_files.look_at("vae", "Wan2.1_VAE.pth", tmp_path / "gone.pth")
    assert "not complete" in str(ours.fault) and (other.role, other.fault) == (gone.role, gone.fault) == ("", None)
    assert "can run code" in pickle.kind and pickle.role == ""


# --- what is said of them


def a_file(folder, role, kind="kind", name="file.safetensors", fault=None, contents=None):
    return model_files.ModelFile(folder, name, role, kind, fault, contents)


@pytest.fixture
def whole(tmp_path, weights, full_size):
    """SteadyDancer in fp8, and a file of every other kind that is needed."""
    save_file(older_marker(weights), tmp_path / "a.safetensors")
    main = model_files.look_at("diffusion_models", "a.safetensors", tmp_path / "a.safetensors")
    return [main, *(a_file(need.folder, need.role) for need in models.NEEDS[1:])]


def check(files, reads_gguf=True, holds_fp8=True):
    """Return the findings that are not ok and not about the miniature."""
    found = models.check_models(files, reads_gguf, holds_fp8)
    return [finding for finding in found if finding.level != "ok" and "miniature, with which" not in finding.what]


def test_a_whole_set_of_files_has_no_fault_and_saved_prompts_make_up_for_the_text_encoder(whole):
    assert check(whole) == []
    told = [finding.what for finding in models.check_models(whole, True, True) if finding.level == "ok"]
    assert len(told) == 4 and "fp8 e4m3fn scaled" in told[0]
    files = [file for file in whole if file.role != model_files.TEXT]
    (finding,) = check([*files, a_file("prompt_embeddings", model_files.PROMPT)])
    assert finding.level == "note"


@pytest.mark.parametrize("need", models.NEEDS)
def test_a_missing_file_is_named_with_its_source_and_folder(whole, need):
    (finding,) = check([file for file in whole if file.role != need.role])
    assert need.file in finding.fix and need.source in finding.fix and f"models/{need.folder}" in finding.fix
    assert finding.level == ("warning" if need.role == model_files.MODEL else "problem")


def test_what_lies_in_its_place_is_named_and_a_pickle_is_never_the_model(whole):
    files = [file for file in whole if file.role != model_files.VAE]
    (finding,) = check([*files, a_file("vae", "", "the VAE of Wan 2.2 5B", "wan2.2_vae.safetensors")])
    assert "Found instead: wan2.2_vae.safetensors (the VAE of Wan 2.2 5B)." in finding.what
    pickle = model_files.look_at("diffusion_models", "SteadyDancer.pth", "not opened")
    absent, false = check([*whole[1:], pickle])
    assert absent.level == false.level == "warning" and "SteadyDancer-14B is not in" in absent.what


@pytest.mark.parametrize("need", models.NEEDS[1:])
def test_of_a_file_that_is_not_looked_into_nothing_is_claimed(whole, need):
    files = [file for file in whole if file.role != need.role]
    pickle = model_files.look_at(need.folder, "Wan2.1_VAE.pth", "not opened")
    (finding,) = check([*files, pickle])
    assert finding.level == "note" and "is not in" not in finding.what
    told = f"is in models/{need.folder} is unknown: Wan2.1_VAE.pth (a .pth file, which is not looked into"
    assert told in finding.what and need.role in finding.what
    instead = f"all is well; if not, download {need.file} from {need.source}"
    assert finding.fix.startswith(f"If it is {need.role}, and ComfyUI loads it, {instead}")


def test_a_broken_file_is_a_problem_with_the_errors_own_advice(whole):
    fault = ValueError("x.safetensors is damaged. Delete it and download it again.")
    broken = a_file("diffusion_models", model_files.MODEL, fault=fault)
    assert Finding(
        "problem", "In models/diffusion_models: x.safetensors is damaged.", "Delete it and download it again."
    ) in check([broken, *whole])


def test_gguf_needs_its_pack_and_fp8_its_device_for_the_file_or_for_its_layers(whole, tmp_path, weights):
    assert "cannot hold fp8" in check(whole, holds_fp8=False)[0].what
    path = write_gguf(tmp_path / "b.gguf", weights)
    files = [model_files.look_at("diffusion_models", "b.gguf", path), *whole[1:]]
    assert check(files) == check(files, holds_fp8=False) == []
    (finding,) = check(files, reads_gguf=False)
    assert finding.level == "problem" and "Install ComfyUI-GGUF" in finding.fix
    layers = {"layers": {"blocks.0.self_attn.q": {"format": "nvfp4"}}}
    save_file(weights, tmp_path / "b.safetensors", {"_quantization_metadata": json.dumps(layers)})
    files = [model_files.look_at("diffusion_models", "b.safetensors", tmp_path / "b.safetensors"), *whole[1:]]
    assert check(files) == []
    (finding,) = check(files, holds_fp8=False)
    assert "cannot hold its layers in nvfp4" in finding.what and finding.fix == "Use an fp16, bf16 or GGUF file."


def test_files_in_the_wrong_folder_are_to_be_moved_and_another_model_is_a_note(whole):
    lora = a_file("diffusion_models", "", "a LoRA", "lightx2v.safetensors")
    moved = replace(whole[0], folder="checkpoints")
    first, second = check([moved, *whole[1:], lora])
    assert "does not look" in first.what and "Move it to models/diffusion_models" in first.fix
    assert "lightx2v.safetensors is a LoRA" in second.what and "Move it to models/loras" in second.fix
    plain = "a plain Wan image-to-video model"
    others = [a_file("diffusion_models", "", plain, f"{n}.safetensors") for n in range(8)]
    false, many = check([*whole, *others, a_file("diffusion_models", "", plain, "SteadyDancer_i2v.safetensors")])
    assert false.level == "warning" and "SteadyDancer_i2v.safetensors is a plain Wan" in false.what
    assert many.level == "note" and f"5.safetensors ({plain}), and 2 more." in many.what


def test_a_link_to_nothing_is_a_warning_of_its_own(whole):
    files = [file for file in whole if file.role != model_files.VAE]
    places = ("vae", "w.pth"), ("diffusion_models", "SteadyDancer.gguf")
    lost = [model_files.look_at(*place, None) for place in places]
    missing, first, second = check([*files, *lost])
    assert "The Wan 2.1 VAE is not in models/vae" in missing.what and "w.pth" not in missing.what
    assert first.level == "warning" and first.what == "models/vae/w.pth is a link that leads nowhere."
    assert "models/diffusion_models/SteadyDancer.gguf is a link" in second.what and "delete the link" in second.fix


# --- pose detector

RUNS = pose.Runtime(("onnxruntime-gpu",), "onnxruntime-gpu", ("CUDAExecutionProvider",), CARD, "CUDA")


TWO = {"builds": ("onnxruntime-directml", "onnxruntime-gpu"), "best": "onnxruntime-directml"}
TWO_TOLD = "2 builds of ONNX Runtime share one folder: onnxruntime-directml and onnxruntime-gpu."
KEEP = "Keep all of them. Uninstalling one breaks the rest, and this repairs it. "
TORN = ValueError("It is torn. Install one.")
ON_CPU = {"provider": "CPU", "cause": "Only CPU."}


@pytest.mark.parametrize(
    ("changes", "level", "what", "fix"),
    [
        ({}, "ok", "on CUDA, by onnxruntime-gpu", ""),
        ({"gpu": None, "provider": "CPU", "builds": ("onnxruntime",)}, "ok", "on CPU", ""),
        ({**ON_CPU, "builds": ("onnxruntime",), "fix": "Install."}, "warning", "Only CPU.", "Install."),
        ({"provider": "CPU"}, "warning", CARD, again("onnxruntime-gpu")),
        ({**TWO, "gpu": "AMD Radeon", "provider": "DirectML"}, "note", TWO_TOLD, KEEP + again("onnxruntime-directml")),
        ({"error": TORN}, "problem", "It is torn.", "Install one."),
        ({"error": TORN, "provider": "OpenCV"}, "warning", "It is torn.", "Install one."),
        ({**ON_CPU, "fix": "All right.", "has_build": False}, "note", "Only CPU.", "All right."),
    ],
)
def test_the_provider_that_runs(changes, level, what, fix):
    (finding,) = pose.check_runtime(replace(RUNS, **changes))
    assert finding.level == level and what in finding.what and fix in finding.fix


@pytest.mark.parametrize("python", [sys.executable, "/home/mary poppins/Dr. Who/bin/python"])
@pytest.mark.parametrize("runs", ["OpenCV", "CPU", "nothing"])
def test_the_command_for_onnx_runtime_can_be_pasted_from_the_report(monkeypatch, python, runs):
    """Redaction would make of this Python's path what a shell takes for a redirection."""
    monkeypatch.setattr(sys, "executable", python)
    advice = in_terminal(install(FOR_CUDA[12]))

    def opens(*_):
        if runs == "nothing":
            raise ValueError(f"It is not installed. {advice}")
        notes = {"OpenCV": ["It runs.", f"It is slow. {advice}"], "CPU": ["It runs.", "It is slow.", advice]}[runs]
        return SimpleNamespace(provider=runs, place=runs, notes=notes)

    monkeypatch.setattr(pose, "open_bundled", opens)
    text = report(pose.check_runtime(pose.try_runtime(Gpu(CARD, 12))), {}, node_module._roots())
    fix = 'FIX: With ComfyUI\'s own Python: python -m pip install "onnxruntime-gpu<1.27". Then restart ComfyUI.\n'
    assert fix in text and "<python>" not in text and "mary" not in text


def test_the_files_of_dwpose():
    there = [pose.DetectorFile("yolox_l.onnx", 10, 10, "a/yolox_l.onnx"), pose.DetectorFile("dw.onnx", 20, 20)]
    assert [f.level for f in pose.check_detector_files(there, "models/dwpose", "a page")] == ["ok"]
    cut, missing = replace(there[0], found=9), replace(there[1], found=None)
    wrong, lacking = pose.check_detector_files([cut, missing], "models/dwpose", "a page")
    assert wrong.level == "warning" and "a/yolox_l.onnx has 9 bytes" in wrong.what and "a page" in wrong.fix
    assert lacking.level == "note" and lacking.fix.startswith("For hands, download dw.onnx from a page into models/dw")


# --- memory


@pytest.fixture
def contents(tmp_path, weights):
    path = tmp_path / "a.safetensors"
    save_file({name: weight.half() for name, weight in weights.items()}, path)
    return model_files.look_at("diffusion_models", "a.safetensors", path).contents


def test_the_sums_are_those_of_the_fit_report(tmp_path, weights, contents):
    loaded = load_model(tmp_path / "a.safetensors", {"dtype": torch.float16})
    want = gather_loaded(loaded, (1, 16, 21, 72, 128))
    itemsize = torch.empty(0, dtype=loaded.model.get_dtype_inference()).element_size()
    found = memory.facts_of(contents, replace(this_machine(), itemsize=itemsize), 1024, 576)
    same = ("device", "blocks", "count", "swap", "branch", "branches", "total", "reserve", "streams", "buffer")
    assert {key: getattr(found, key) for key in same} == {key: getattr(want, key) for key in same}
    # Loaded, the layers outside the blocks that stay in float32 are larger; they are few in the 14B model.
    assert found.model <= want.model < 1.06 * found.model and found.branches == MAX_BRANCHES


def test_a_model_fits_whole_with_blocks_to_swap_or_at_the_smaller_size(contents):
    finding = memory.check_memory(contents, MACHINE)
    assert finding.level == "ok" and finding.what == (
        "a.safetensors, 81 frames of 1024x576: Fits whole: leave blocks_to_swap at 0."
    )
    facts = memory.facts_of(contents, MACHINE, 1024, 576)
    tight = replace(MACHINE, free=facts.branch + facts.model - facts.blocks // 4, reserve=0)
    finding = memory.check_memory(contents, tight)
    assert finding.level == "note" and "set blocks_to_swap of Load SteadyDancer Model to 1" in finding.fix
    poor = memory.check_memory(contents, replace(tight, ram=0))
    assert poor.level == "warning" and "0 KB of RAM" in poor.what
    large, small = (memory.facts_of(contents, MACHINE, *size).branch for size in memory.SIZES)
    machine = replace(MACHINE, free=(large + small) // 2, reserve=0)
    finding = memory.check_memory(contents, machine)
    assert finding.level == "note" and "832x480" in finding.what and "width and height" in finding.fix
    none = memory.check_memory(contents, replace(machine, free=small // 2))
    assert none.level == "warning" and "Does not fit" in none.what and none.fix.startswith("Lower, in this order")


def test_the_device_is_told():
    found = memory.check_device(MACHINE, CARD)
    assert found == Finding("ok", f"{CARD}: 22 GB of 24 GB can be had; 64 GB of RAM.")
    on_cpu = memory.check_device(MACHINE, None)
    assert on_cpu.level == "note" and "--cpu" in on_cpu.fix


# --- the miniature


@pytest.mark.parametrize(
    ("result", "level", "what"),
    [
        (trial.Trial(2.5, True, 0.2), "ok", "took 2.5 s"),
        (trial.Trial(2.5, False, float("nan")), "problem", "NaN"),
        (trial.Trial(2.5, True, 0.001), "problem", "one color"),
        (ValueError("A file is gone. Install the pack again."), "problem", "does not run: A file is gone."),
        (RuntimeError("no kernel image"), "problem", "on cuda:0: RuntimeError: no kernel image."),
    ],
)
def test_what_a_trial_tells(result, level, what):
    finding = trial.check_trial(result, "cuda:0")
    assert finding.level == level and what in finding.what and bool(finding.fix) == (level != "ok")


# --- node and command


@pytest.fixture
def installation(tmp_path, monkeypatch, weights):
    """Folders with a SteadyDancer under a subfolder, a VAE that is a LoRA, and a cut YOLOX."""
    own = {name: ([str(tmp_path / "models" / name)], {".safetensors"}) for name in node_module.FOLDERS}
    own["diffusion_models"] = ([str(tmp_path / "models" / "diffusion_models")], {".safetensors"})
    own[pose_detection.FOLDER] = ([str(tmp_path / "models" / "dwpose")], {".onnx"})
    own["custom_nodes"] = ([str(tmp_path / "custom_nodes")], set())
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", own)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(node_module, "shipped", lambda name: tmp_path / f"not_{name}")
    folder = tmp_path / "models" / "diffusion_models" / "wan"
    folder.mkdir(parents=True)
    save_file({name: weight.half() for name, weight in weights.items()}, folder / "dance.safetensors")
    write(tmp_path / "models" / "vae", "vae.safetensors", {"x.lora_A.weight": (4,)})
    (tmp_path / "models" / "dwpose").mkdir()
    (tmp_path / "models" / "dwpose" / "yolox_l.onnx").write_bytes(b"cut")
    return tmp_path


def test_schema():
    schema = Doctor.GET_SCHEMA()
    assert [Doctor] == NODES and schema.node_id == "SteadyDancerDoctor" and schema.is_output_node
    assert schema.inputs[0].default is False and schema.inputs[0].tooltip
    assert Doctor.GET_NODE_INFO_V1()["output"] == ["STRING"]
    assert Doctor.fingerprint_inputs(False) != Doctor.fingerprint_inputs(False)


def test_the_node_tells_what_it_finds_and_names_no_folder(installation):
    output = Doctor.execute()
    (text,) = output.result
    assert output.ui.as_dict()["text"] == (text,)
    assert "[note] DW-Pose lacks dw-ll_ucoco_384.onnx" in text
    assert "[warning] yolox_l.onnx has 3 bytes; the published file has 216,746,733." in text
    assert "Found instead: vae.safetensors (a LoRA)." in text and "ComfyUI: 0." in text and "numpy: " in text
    forbidden = (Path.home(), folder_paths.base_path, installation, PACK, sys.prefix, os.environ["COMFYUI_PATH"])
    assert [str(path) for path in forbidden if str(path) in text] == []
    levels = [line[1:].split("]")[0] for line in text.splitlines() if line.startswith("[")]
    assert levels == sorted(levels, key=["problem", "warning", "note", "ok"].index)


def test_a_model_in_a_subfolder_is_found_by_its_content(installation, full_size):
    found, _ = examine(False)
    (model_line,) = [finding for finding in found if "wan/dance.safetensors: " in finding.what.replace(os.sep, "/")]
    assert model_line.level == "ok" and "fp16" in model_line.what and "models/diffusion_models/" in model_line.what
    assert any("81 frames of" in finding.what for finding in found)
    assert [finding.level for finding in found if finding.what.startswith("The Wan 2.1 VAE is not")] == ["problem"]


def test_a_failing_miniature_is_a_finding_and_gguf_is_read_where_the_pack_lies(installation):
    (finding,) = [finding for finding in examine(True)[0] if "miniature does not run" in finding.what]
    assert finding.level == "problem" and "not_steadydancer_miniature" in finding.what
    assert not node_module._reads_gguf()
    (installation / "custom_nodes" / "ComfyUI-GGUF").mkdir(parents=True)
    assert node_module._reads_gguf()


@pytest.mark.parametrize("smallest", [1, 2])  # bytes of a number that the device holds: Apple's takes no fp8
def test_the_miniature_gives_a_picture(monkeypatch, caplog, smallest):
    monkeypatch.setattr(comfy.model_management, "supports_cast", lambda device, dtype: dtype.itemsize >= smallest)
    found = trial.run({part: shipped(name) for part, name in node_module.SAMPLE.items()}, SIDE)
    assert found.finite and found.spread > trial.LEAST_SPREAD and found.seconds > 0
    assert "CLIP vision" not in caplog.text  # what a workflow lacks is no news of an installation


@pytest.mark.parametrize(("folder", "name"), [("vae", "wan_2.1_vae.safetensors"), ("diffusion_models", "a.gguf")])
def test_a_link_to_nothing_is_a_finding_not_a_crash(installation, folder, name):
    (installation / "models" / folder).mkdir(exist_ok=True)
    try:
        (installation / "models" / folder / name).symlink_to(installation / "gone.safetensors")
    except OSError as error:
        pytest.skip(f"This system makes no links: {error}")
    (finding,) = [finding for finding in examine(False)[0] if "leads nowhere" in finding.what]
    assert finding.what.startswith(f"models/{folder}/{name} ") and finding.level == "warning"
