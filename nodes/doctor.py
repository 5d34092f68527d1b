"""Doctor: what is wrong with this installation, a line for each finding with its fix, and facts for a bug report."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import comfy.model_management
import comfyui_version
import folder_paths
from comfy_api.latest import io

from ..doctor import machine, redact, trial
from ..doctor import memory_check as memory
from ..doctor import model_check as models
from ..doctor import package_check as packages
from ..doctor import pose_check as pose
from ..doctor.findings import Finding, report
from ..doctor.model_files import MODEL, OUR_NAME, ModelFile, files_of, look_at
from ..doctor.opencv_check import check_opencv, in_words, installed_opencv
from ..doctor.package_check import installed_version
from ..dwpose.detect.detector_files import DWPOSE, PAGE, YOLOX
from ..dwpose.packages.onnxruntime_build import TELEMETRY_SWITCH, sends_telemetry
from ..miniature import SIDE, shipped
from ..steadydancer_core.weights.loading import supports_fp8
from ..steadydancer_core.weights.weight_formats import GGUF_SUFFIX
from ..steadydancer_core.weights.weight_source import SUFFIXES
from .common import pose_detection
from .common.model_folders import PROMPTS, files_below
from .common.node_text import show_text
from .common.page_words import in_page_language
from .common.steadydancer_files import GGUF_LOADER, find_model_file, model_files

PACK = Path(__file__).resolve().parent.parent
FOLDERS = ("vae", "clip_vision", "text_encoders", PROMPTS)  # all their files are looked at
PICKLES = (".pth", ".pt", ".bin", ".ckpt")
PACKAGES = {  # in the bug report -> the package
    "ComfyUI frontend": "comfyui-frontend-package",
    "PyAV": "av",
    "numpy": "numpy",
    "torchmetrics": "torchmetrics",
    "safetensors": "safetensors",
    "comfy-aimdo": "comfy-aimdo",
}
SAMPLE = {  # file of a trial -> its name among the shipped ones
    "model": "steadydancer_miniature.safetensors",
    "vae": "steadydancer_miniature_vae.safetensors",
    "positive": "steadydancer_miniature_positive.safetensors",
    "negative": "steadydancer_miniature_negative.safetensors",
    "photo": "steadydancer_sample.png",
    "pose": "steadydancer_sample_pose.mp4",
    "pose_negative": "steadydancer_sample_pose_negative.mp4",
}


class Doctor(io.ComfyNode):
    """The installation to a report."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerDoctor",
            display_name="Doctor",
            category="SteadyDancer/memory",
            description=(
                "Checks this installation: versions, model files, pose detector, memory and packages. Lists what is "
                "wrong and how to fix it, one line each, and what to paste into a bug report."
            ),
            search_aliases=["check", "diagnose", "troubleshoot", "bug report", "versions", "missing model"],
            is_output_node=True,
            inputs=[
                io.Boolean.Input(
                    "run_miniature",
                    default=False,
                    tooltip="Also load the bundled miniature and sample a few steps, to check that a picture comes "
                    "out. Takes a few seconds.",
                )
            ],
            outputs=[io.String.Output("report", tooltip="The findings, worst first, and the facts for a bug report.")],
        )

    @classmethod
    def fingerprint_inputs(cls, run_miniature: bool) -> float:
        return float("nan")  # equals nothing: the machine may have changed, so the node runs each time

    @classmethod
    def execute(cls, run_miniature: bool = False) -> io.NodeOutput:
        text = examine(run_miniature)[1]
        return io.NodeOutput(text, ui=show_text(in_page_language(text)))


def examine(run_miniature: bool) -> tuple[list[Finding], str]:
    """Return all findings, and the report. Only the miniature is ever loaded, and only for `run_miniature`."""
    version, oldest_comfyui, oldest_python = packages.read_pyproject((PACK / "pyproject.toml").read_text("utf-8"))
    here, gpu, opencv = machine.this_machine(), pose_detection.this_gpu(), installed_opencv()
    card, runtime = gpu.name if gpu else None, pose.try_runtime(gpu)
    files = list(_model_files())
    python = ".".join(map(str, sys.version_info[:3]))
    found = [
        packages.check_version("ComfyUI", comfyui_version.__version__, oldest_comfyui),
        packages.check_version("Python", python, oldest_python),
        check_opencv(opencv),
        *(packages.check_evaluate(package, installed_version(package)) for package in packages.EVALUATE_USES),
        *models.check_models(files, _reads_gguf(), supports_fp8(comfy.model_management.get_torch_device())),
        *pose.check_runtime(runtime),
        *pose.check_telemetry(sends_telemetry(), TELEMETRY_SWITCH),
        *pose.check_detector_files(_detector_files(), f"models/{pose_detection.FOLDER}", PAGE),
        memory.check_device(here, card),
        *(memory.check_memory(file.contents, here) for file in files_of(files, MODEL) if file.contents),
    ]
    if run_miniature:
        try:
            result = trial.run({part: shipped(name) for part, name in SAMPLE.items()}, SIDE)
        except trial.ERRORS as error:
            result = error
        found.append(trial.check_trial(result, here.device))
    builds = ", ".join(f"{name} {installed_version(name)}" for name in runtime.builds) or "-"
    has = f"; has {', '.join(runtime.available)}" if runtime.available else ""
    runs = f"{has}; runs {runtime.provider}" if runtime.provider else ""
    facts = {
        "SteadyDancer pack": version,
        "ComfyUI": comfyui_version.__version__,
        **machine.describe_machine(here, card),
        "ONNX Runtime": f"{builds}{runs}",
        "OpenCV": in_words(opencv),
        **{what: installed_version(package) or "-" for what, package in PACKAGES.items()},
    }
    return found, report(found, facts, _roots())


def _model_files() -> Iterator[ModelFile]:
    """Yield the files in the folders that the workflows' loaders list, and SteadyDancer in some other places."""
    for name in model_files():
        folder, path = find_model_file(name)
        yield look_at(folder, name, path)
    ours = {"diffusion_models": PICKLES, "checkpoints": (*SUFFIXES, GGUF_SUFFIX)}
    for folder, suffixes in {**ours, **dict.fromkeys(FOLDERS, (*SUFFIXES, GGUF_SUFFIX, *PICKLES))}.items():
        for name in sorted(name for name in files_below(folder) if name.lower().endswith(suffixes)):
            if folder not in ours or OUR_NAME in name.lower():
                yield look_at(folder, name, folder_paths.get_full_path(folder, name))


def _reads_gguf() -> bool:
    """Return whether ComfyUI-GGUF is there: its node, or, where packs are not loaded, its folder."""
    import nodes  # ComfyUI's own, complete only when all packs are loaded

    packs = (Path(place) for place in folder_paths.get_folder_paths("custom_nodes"))
    folders = (path.name.lower() for place in packs if place.is_dir() for path in place.iterdir())
    return GGUF_LOADER in nodes.NODE_CLASS_MAPPINGS or "comfyui-gguf" in folders


def _detector_files() -> list[pose.DetectorFile]:
    names, files = sorted(files_below(pose_detection.FOLDER)), []
    for kind in (YOLOX, DWPOSE):
        name = next((name for name in names if Path(name).name.lower() == kind.file), "")
        path = folder_paths.get_full_path(pose_detection.FOLDER, name) if name else None
        files.append(pose.DetectorFile(kind.file, kind.size, Path(path).stat().st_size if path else None, name))
    return files


def _roots() -> list[redact.Root]:
    """Return the folders whose names are private, and what is written in their place."""
    known = folder_paths.folder_names_and_paths
    return [
        *((f"models/{key}", path) for key, (paths, _) in known.items() for path in paths),
        ("pack", PACK),
        ("models", folder_paths.models_dir),
        ("ComfyUI", folder_paths.base_path),
        ("temp", folder_paths.get_temp_directory()),
        ("python", sys.prefix),
        ("home", os.path.expanduser("~")),  # noqa: PTH111
    ]


NODES = [Doctor]
