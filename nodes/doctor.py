"""Doctor: what is wrong with this installation, a line for each finding with its fix, and facts for a bug report."""

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import comfy.model_management
import comfyui_version
import folder_paths
from comfy_api.latest import io

from ..doctor import doctor_report as report
from ..doctor import machine, redact, trial
from ..doctor import memory_check as memory
from ..doctor import model_check as models
from ..doctor import opencv_check as opencv
from ..doctor import package_check as packages
from ..doctor import pose_check as pose
from ..doctor.findings import Finding
from ..doctor.model_files import MODEL, OUR_NAME, ModelFile, files_of, look_at
from ..dwpose.detect.blazepose import LANDMARKS, OUTPUTS
from ..dwpose.detect.detector_files import DWPOSE, PAGE, YOLOX, NetworkFile
from ..dwpose.detect.opencv_network import open_bundled
from ..dwpose.detect.runtime import AUTO, OPENCV
from ..dwpose.packages.onnxruntime_advice import build_for, to_keep
from ..dwpose.packages.onnxruntime_build import TELEMETRY_SWITCH, import_onnxruntime, installed_builds, sends_telemetry
from ..dwpose.packages.opencv import PACKAGES as OPENCV_PACKAGES
from ..dwpose.packages.opencv import import_cv2
from ..dwpose.packages.pip_advice import in_report, lacks_display, quoted, without_reinstalling
from ..miniature import shipped
from ..steadydancer_core.weights.loading import holds_fp8
from ..steadydancer_core.weights.weight_formats import GGUF_SUFFIX
from ..steadydancer_core.weights.weight_source import SUFFIXES
from . import model, pose_detector
from .common.node_text import show_text
from .prompt import FOLDER as PROMPTS

PACK = Path(__file__).resolve().parent.parent
FOLDERS = ("vae", "clip_vision", "text_encoders", PROMPTS)  # looked at whole, beside those of models
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
TOLD = {  # in the bug report -> the package
    "ComfyUI frontend": "comfyui-frontend-package", "PyAV": "av", "numpy": "numpy", "torchmetrics": "torchmetrics",
    "safetensors": "safetensors", "comfy-aimdo": "comfy-aimdo",
}  # fmt: skip
SAMPLE = {  # file of a trial -> its name among the shipped ones
    "model": "steadydancer_miniature.safetensors", "vae": "steadydancer_miniature_vae.safetensors",
    "positive": "steadydancer_miniature_positive.safetensors",
    "negative": "steadydancer_miniature_negative.safetensors", "photo": "steadydancer_sample.png",
    "pose": "steadydancer_sample_pose.mp4", "pose_negative": "steadydancer_sample_pose_negative.mp4",
}  # fmt: skip


class Examination(NamedTuple):
    """All findings, and the text that tells them."""

    findings: list[Finding]
    text: str


class Doctor(io.ComfyNode):
    """The installation to a report."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerDoctor",
            display_name="Doctor",
            category="SteadyDancer/memory",
            description=(
                "Checks this installation: versions, model files, pose detector, memory and packages. Tells what is "
                "wrong and how to put it right, a line each, and what to paste into a bug report."
            ),
            search_aliases=["check", "diagnose", "troubleshoot", "bug report", "versions", "missing model"],
            is_output_node=True,
            inputs=[
                io.Boolean.Input(
                    "run_miniature", default=False,
                    tooltip="Also load the bundled miniature and sample a few steps, to see whether a picture comes "
                    "out. Takes some seconds.",
                ),
            ],
            outputs=[
                io.String.Output("report", tooltip="The findings, the worst first, and the facts for a bug report."),
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, run_miniature: bool) -> float:
        return float("nan")  # equals nothing: the machine may have changed, so it looks anew each time

    @classmethod
    def execute(cls, run_miniature: bool = False) -> io.NodeOutput:
        text = examine(run_miniature).text
        return io.NodeOutput(text, ui=show_text(text))


def examine(run_miniature: bool) -> Examination:
    """Return what is found in this installation. Nothing is loaded, but for the miniature if it is asked for."""
    here, gpu, runtime = machine.this_machine(), pose_detector.gpu_name(), _runtime()
    files = list(_model_files())
    fp8 = holds_fp8(comfy.model_management.get_torch_device())
    found = [
        *_versions(),
        *models.check_models(files, _reads_gguf(), fp8),
        *pose.check_runtime(runtime),
        *pose.check_telemetry(sends_telemetry(), TELEMETRY_SWITCH),
        *pose.check_detector_files(_detector_files(), f"models/{pose_detector.FOLDER}", PAGE),
        memory.check_device(here, gpu),
        *(memory.check_memory(file.contents, here) for file in files_of(files, MODEL)),
        *([_trial(here.device)] if run_miniature else []),
    ]
    facts = {**_about_pack(), **machine.describe_machine(here, gpu), **_about_packages(runtime)}
    return Examination(found, report.write(found, facts, _roots()))


def _versions() -> Iterator[Finding]:
    pack = _pack()
    yield packages.check_version("ComfyUI", comfyui_version.__version__, pack.comfyui)
    yield packages.check_version("Python", ".".join(map(str, sys.version_info[:3])), pack.python)
    yield opencv.check_opencv(_opencv())
    for package in packages.EVALUATE_USES:
        yield packages.check_evaluate(package, _version(package))


def _pack() -> packages.Pack:
    return packages.read_pyproject((PACK / "pyproject.toml").read_text("utf-8"))


def _opencv() -> opencv.OpenCV:
    installed = {name: version for name in OPENCV_PACKAGES if (version := _version(name))}
    try:
        cv2 = import_cv2()
    except ValueError as error:
        cause, package = error.__cause__, next(iter(installed), "opencv-python")
        if cause is None:  # a folder that is left over
            return opencv.OpenCV(installed, None)
        advice = in_report(without_reinstalling("cv2", cause, package))
        return opencv.OpenCV(installed, None, False, False, str(cause), advice, lacks_display(package, cause))
    about = getattr(cv2, "version", None)  # written by pip's packages, as the module is
    contrib, headless = getattr(about, "contrib", False), getattr(about, "headless", False)
    return opencv.OpenCV(installed, cv2.__version__, contrib, headless)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _model_files() -> Iterator[ModelFile]:
    """Yield what lies in the folders that the workflows' loaders list, and SteadyDancer in some other places."""
    for name in model.model_files():
        places = ((folder, folder_paths.get_full_path(folder, name)) for folder in model.FOLDERS)
        yield look_at(*next(((folder, name, path) for folder, path in places if path), (model.FOLDERS[0], name, None)))
    ours = {"diffusion_models": PICKLES, "checkpoints": (*SUFFIXES, GGUF_SUFFIX)}
    for folder, suffixes in {**ours, **dict.fromkeys(FOLDERS, (*SUFFIXES, GGUF_SUFFIX, *PICKLES))}.items():
        for name in _names(folder, suffixes):
            if folder not in ours or OUR_NAME in name.lower():
                yield look_at(folder, name, folder_paths.get_full_path(folder, name))


def _names(folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the files below a model folder that end so; ComfyUI's own list leaves out GGUF files."""
    known = folder_paths.get_folder_paths(folder) if folder in folder_paths.folder_names_and_paths else []
    names = {name for place in known for name in folder_paths.recursive_search(place, [".git"])[0]}
    return sorted(name for name in names if name.lower().endswith(suffixes))


def _reads_gguf() -> bool:
    """Return whether ComfyUI-GGUF is there: its node, or, where packs are not loaded, its folder."""
    import nodes  # ComfyUI's own, complete only when all packs are loaded

    packs = (Path(place) for place in folder_paths.get_folder_paths("custom_nodes"))
    folders = (path.name.lower() for place in packs if place.is_dir() for path in place.iterdir())
    return model.GGUF_LOADER in nodes.NODE_CLASS_MAPPINGS or "comfyui-gguf" in folders


def _runtime() -> pose.Runtime:
    """Return ONNX Runtime after a bundled network has run on what it finds."""
    gpu, builds = pose_detector.this_gpu(), tuple(installed_builds())
    name, best = gpu.name if gpu else None, quoted(to_keep(gpu, builds))
    try:
        session = open_bundled(LANDMARKS, OUTPUTS[LANDMARKS], AUTO, gpu)
    except ValueError as error:
        return pose.Runtime(builds, best, gpu=name, error=ValueError(in_report(str(error))))
    if session.provider == OPENCV:
        return pose.Runtime(builds, best, gpu=name, provider=OPENCV, error=ValueError(in_report(session.notes[1])))
    available = tuple(import_onnxruntime().get_available_providers())
    cause, fix = (*map(in_report, session.notes[1:]), "", "")[:2]
    has_build = gpu is None or build_for(gpu) is not None
    return pose.Runtime(builds, best, available, name, session.place, cause, fix, has_build=has_build)


def _detector_files() -> list[pose.DetectorFile]:
    return [_detector_file(kind) for kind in (YOLOX, DWPOSE)]


def _detector_file(kind: NetworkFile) -> pose.DetectorFile:
    names = _names(pose_detector.FOLDER, (pose_detector.SUFFIX,))
    name = next((name for name in names if Path(name).name.lower() == kind.file), None)
    path = folder_paths.get_full_path(pose_detector.FOLDER, name) if name else None
    return pose.DetectorFile(kind.file, kind.size, Path(path).stat().st_size if path else None, name or "")


def _trial(device: str) -> Finding:
    try:
        result = trial.run({part: shipped(name) for part, name in SAMPLE.items()})
    except trial.ERRORS as error:
        result = error
    return trial.check_trial(result, device)


def _about_pack() -> dict[str, str]:
    return {"SteadyDancer pack": _pack().version, "ComfyUI": comfyui_version.__version__}


def _about_packages(runtime: pose.Runtime) -> dict[str, str]:
    """Return the versions of the packages that matter, by what they are; "-" for what is not installed."""
    builds = ", ".join(f"{name} {_version(name)}" for name in runtime.builds) or "-"
    has = f"; has {', '.join(runtime.available)}" if runtime.available else ""
    providers = f"{has}; runs {runtime.provider}" if runtime.provider else ""
    return {
        "ONNX Runtime": f"{builds}{providers}",
        "OpenCV": opencv.in_words(_opencv()),
        **{what: _version(package) or "-" for what, package in TOLD.items()},
    }


def _roots() -> list[redact.Root]:
    """Return the folders whose names are nobody's business, and what stands for them."""
    known = folder_paths.folder_names_and_paths
    return [
        *((f"models/{key}", path) for key, (paths, _) in known.items() for path in paths),
        ("pack", PACK), ("models", folder_paths.models_dir), ("ComfyUI", folder_paths.base_path),
        ("temp", folder_paths.get_temp_directory()), ("python", sys.prefix), ("home", os.path.expanduser("~")),  # noqa: PTH111
    ]  # fmt: skip


NODES = [Doctor]
