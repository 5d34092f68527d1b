"""ONNX Runtime's module, imported on first use with its telemetry off, and which of its builds are installed."""

import os
import re
import sys
from types import ModuleType

from .onnxruntime_advice import Gpu, package_for
from .pip_advice import IMPORT_ERRORS, distributions, import_failure, torn

MODULE, NAME = "onnxruntime", "ONNX Runtime"
TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"
FIRST_WITH_TELEMETRY = (1, 29)
CUDA_BUILDS = (((1, 27), 13), ((1, 19), 12), ((0, 0), 11))  # first version of onnxruntime-gpu on PyPI -> its CUDA


class NoOnnxRuntime(ValueError):
    """ONNX Runtime is absent, does not load, is torn, or runs a network on no provider."""


def import_onnxruntime(gpu: Gpu | None = None) -> ModuleType:
    """Return the module; NoOnnxRuntime if it is missing, torn or does not load. gpu: the one to recommend a build for.

    From 1.29 on it sends usage data, and writes a device id below the user's cache folder, unless the environment
    forbids it before the first import; `disable_telemetry_events()` does not stop that. On Windows only that function
    has an effect: it keeps events from the system's tracing (ONNX Runtime's Privacy.md).
    """
    is_first = MODULE not in sys.modules
    if is_first:
        os.environ.setdefault(TELEMETRY_SWITCH, "1")
    best = package_for(gpu)
    try:
        import onnxruntime
    except IMPORT_ERRORS as error:
        raise NoOnnxRuntime(import_failure(NAME, MODULE, error, best)) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise NoOnnxRuntime(torn(NAME, MODULE, best))
    if is_first and sys.platform == "win32" and os.environ[TELEMETRY_SWITCH] == "1":
        onnxruntime.disable_telemetry_events()
    return onnxruntime


def sends_telemetry() -> bool:
    """Return whether ONNX Runtime sends usage data: another pack imported it first. On Windows the system decides."""
    if sys.platform == "win32":
        return False
    return version(sys.modules.get(MODULE)) >= FIRST_WITH_TELEMETRY and os.environ.get(TELEMETRY_SWITCH) is None


def version(ort: ModuleType | None) -> tuple[int, ...]:
    """Return the first two numbers of the module's version; (0, 0) if it has none."""
    return tuple(map(int, re.findall(r"\d+", getattr(ort, "__version__", "0.0"))[:2]))


def cuda_major(ort: ModuleType) -> int:
    """Return the major version of CUDA that a GPU build of ONNX Runtime was made for."""
    stated = re.match(r"\d+", str(getattr(ort, "cuda_version", "")))
    if stated:
        return int(stated[0])
    return next(cuda for first, cuda in CUDA_BUILDS if version(ort) >= first)


def installed_builds() -> list[str]:
    """Return the installed builds of ONNX Runtime; they share a folder, and the last one installed has its files."""
    return distributions(MODULE)
