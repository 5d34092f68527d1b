"""ONNX Runtime's module and its builds: imported on first use with its telemetry off, and which package suits a GPU."""

import contextlib
import importlib.metadata
import os
import re
import sys
from types import ModuleType

TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"
FIRST_WITH_TELEMETRY = (1, 29)
GPU_PACKAGES = (  # words in a GPU's name; the build of ONNX Runtime that uses it, on Windows and elsewhere
    (("nvidia", "geforce", "quadro", "rtx", "tesla"), "onnxruntime-gpu", "onnxruntime-gpu"),
    (("amd", "radeon", "instinct", "directml"), "onnxruntime-directml", "onnxruntime-migraphx"),
    (("intel",), "onnxruntime-directml", "onnxruntime-openvino"),
    (("apple", "mps"), "onnxruntime", "onnxruntime"),
)
BUILDS = ("onnxruntime", "onnxruntime-directml", "onnxruntime-gpu", "onnxruntime-migraphx", "onnxruntime-openvino")


def import_onnxruntime() -> ModuleType:
    """Return the module; ValueError that says what to install if it is missing, torn or cannot be loaded.

    From 1.29 on it sends usage data, and writes a device id below the user's cache folder, unless the environment
    forbids it before the first import; its own `disable_telemetry_events()` does not stop that. On Windows the variable
    has no effect, and that function keeps events from the system's tracing (ONNX Runtime's Privacy.md).
    """
    is_first = "onnxruntime" not in sys.modules
    if is_first:
        os.environ.setdefault(TELEMETRY_SWITCH, "1")
    try:
        import onnxruntime
    except ImportError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ValueError(
            f"Pose detection needs ONNX Runtime, which cannot be imported here ({first}). Install "
            "onnxruntime-gpu (NVIDIA), onnxruntime-directml (other GPUs on Windows) or onnxruntime (CPU, Apple) with "
            "pip into ComfyUI's Python, just one of them, and restart ComfyUI. All other nodes work without it."
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        builds = " ".join(installed_builds() or BUILDS)
        raise ValueError(
            "ONNX Runtime is installed only in part: of two builds one was uninstalled, and took files of the other. "
            f"Uninstall every build with pip ({builds}), install one of them again and restart ComfyUI. All other "
            "nodes work without it."
        )
    if is_first and sys.platform == "win32" and os.environ[TELEMETRY_SWITCH] == "1":
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def sends_telemetry() -> bool:
    """Return whether the imported ONNX Runtime sends usage data: another pack imported it before the switch was set.

    Never on Windows, where the system decides whether its events are sent.
    """
    if sys.platform == "win32":
        return False
    ort = sys.modules.get("onnxruntime")
    version = re.findall(r"\d+", getattr(ort, "__version__", "0.0"))[:2]
    return tuple(map(int, version)) >= FIRST_WITH_TELEMETRY and os.environ.get(TELEMETRY_SWITCH) is None


def gpu_package(gpu: str) -> str:
    """Return the build of ONNX Runtime that uses the GPU of that name."""
    name = gpu.lower()
    for words, on_windows, elsewhere in GPU_PACKAGES:
        if any(word in name for word in words):
            return on_windows if sys.platform == "win32" else elsewhere
    return "onnxruntime-gpu"


def installed_builds() -> list[str]:
    """Return the names of the installed ONNX Runtime builds; with more than one, the last installed has the files."""
    found = []
    for name in BUILDS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            found.append(name)
    return found
