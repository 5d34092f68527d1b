"""Which build of ONNX Runtime uses which GPU, and the command that brings it."""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from .pip_advice import AGAIN, in_terminal, install

CPU_IS_ENOUGH = "That is all right: poses are found on the CPU as well, only slower."
NVIDIA_BUILD = "onnxruntime-gpu"


class Gpu(NamedTuple):
    """ComfyUI's GPU; cuda: the major version that torch was built for; cache: a folder for compiled networks."""

    name: str
    cuda: int | None = None
    cache: Path | None = None


class Family(NamedTuple):
    """GPUs by words in their names, lower case; the builds that `auto` uses, None for none; all that suit them."""

    words: tuple[str, ...]
    on_windows: str | None
    elsewhere: str | None
    suited: tuple[str, ...]


ON_WINDOWS = ("onnxruntime-directml", "onnxruntime-windowsml", "ort-nightly-directml")
NVIDIA = Family(
    ("nvidia", "geforce", "quadro", "rtx", "tesla"),
    NVIDIA_BUILD,
    NVIDIA_BUILD,
    (NVIDIA_BUILD, "ort-nightly-gpu", "onnxruntime-training", *ON_WINDOWS),
)
# MIGraphX compiles a network for minutes, so `auto` leaves it out.
AMD = Family(
    ("amd", "radeon", "instinct"),
    "onnxruntime-directml",
    None,
    ("onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-training-rocm", *ON_WINDOWS),
)
DIRECTML = Family(("directml",), "onnxruntime-directml", None, ON_WINDOWS)  # of any maker
INTEL = Family(("intel",), "onnxruntime-directml", "onnxruntime-openvino", ("onnxruntime-openvino", *ON_WINDOWS))
APPLE = Family(("apple", "mps"), "onnxruntime", "onnxruntime", ("onnxruntime-silicon", "onnxruntime-coreml"))
OTHER = Family((), None, None, ())  # gfx1151, an NPU
FAMILIES = (NVIDIA, AMD, DIRECTML, INTEL, APPLE)


class Made(NamedTuple):
    """What a provider is made for: in words, as `sys.platform`s, as GPUs (None: any); package: the build with it."""

    whom: str
    systems: tuple[str, ...]
    families: tuple[Family, ...] | None
    package: str


SYSTEMS = {"win32": "Windows", "linux": "Linux", "darwin": "macOS"}
NO_MAC = ("win32", "linux")
MADE_FOR = {
    "CUDA": Made("NVIDIA cards on Windows and Linux", NO_MAC, (NVIDIA, DIRECTML), NVIDIA_BUILD),
    "TensorRT": Made("NVIDIA cards on Windows and Linux", NO_MAC, (NVIDIA, DIRECTML), NVIDIA_BUILD),
    "ROCm": Made("AMD cards on Linux", ("linux",), (AMD, OTHER), "onnxruntime-rocm"),
    "MIGraphX": Made("AMD cards on Linux", ("linux",), (AMD, OTHER), "onnxruntime-migraphx"),
    "DirectML": Made("Windows", ("win32",), None, "onnxruntime-directml"),
    "CoreML": Made("macOS", ("darwin",), None, "onnxruntime"),
    "OpenVINO": Made("Windows and Linux", NO_MAC, None, "onnxruntime-openvino"),
    "CPU": Made("every system", tuple(SYSTEMS), None, "onnxruntime"),
}
NO_TENSORRT = "a TensorRT library could not be loaded"
FOR_CUDA = {None: NVIDIA_BUILD, 12: "onnxruntime-gpu<1.27", 13: "onnxruntime-gpu>=1.27"}
CUDA_TABLE = {  # CUDA of torch and of ONNX Runtime -> what to install where that is not FOR_CUDA
    (12, 11): "onnxruntime-gpu>=1.19,<1.27",
    (12, 12): "onnxruntime-gpu[cuda,cudnn]<1.27",
    (13, 13): "onnxruntime-gpu[cuda,cudnn]>=1.27",
}


def family(gpu: Gpu | None) -> Family:
    """Return the family of a GPU; OTHER for one that is not known."""
    name = gpu.name.lower() if gpu else ""
    unknown = NVIDIA if gpu and gpu.cuda else OTHER
    return next((known for known in FAMILIES if any(word in name for word in known.words)), unknown)


def not_made_for(provider: str, gpu: Gpu | None) -> str:
    """Return that a provider is made for another system or for other GPUs; "" where it may work."""
    made = MADE_FOR[provider]
    if sys.platform in made.systems and (made.families is None or (gpu and family(gpu) in made.families)):
        return ""
    here = f"{gpu.name if gpu else 'the CPU'} on {SYSTEMS.get(sys.platform, sys.platform)}"
    return f"{provider} is made for {made.whom}, and ComfyUI runs on {here}."


def without_a_build(provider: str, reasons: Collection[str]) -> str:
    """Return what to do where no build makes the provider work, "" where one may. reasons: why it does not work."""
    if any(NO_TENSORRT in reason for reason in reasons):
        return "No package of ONNX Runtime brings TensorRT: install NVIDIA's where the system finds its libraries."
    if provider == "ROCm" and not reasons:
        return "ONNX Runtime has ROCm up to version 1.22, and MIGraphX in its place since. Choose 'MIGraphX'."
    return ""


def build_for(gpu: Gpu | None) -> str | None:
    """Return the build of ONNX Runtime that `auto` uses on the GPU; None where that is the CPU."""
    known = family(gpu)
    return known.on_windows if sys.platform == "win32" else known.elsewhere


def package_for(gpu: Gpu | None) -> str:
    """Return what to install where there is no ONNX Runtime: the build for the GPU, or the one for the CPU."""
    build = build_for(gpu)
    if gpu and build == NVIDIA_BUILD:
        return FOR_CUDA.get(gpu.cuda, "onnxruntime")
    return build or "onnxruntime"


def to_keep(gpu: Gpu | None, installed: Sequence[str]) -> str:
    """Return which of the installed builds to write again where their files may be mixed, or what to install."""
    best = package_for(gpu)
    wanted = build_for(gpu) or best
    suited = [name for name in (wanted, *family(gpu).suited) if name in installed]
    if wanted in suited or not installed:
        return best
    return (suited or [best if build_for(gpu) else installed[0]])[0]


def advice(build: str | None, gpu: Gpu | None, installed: Sequence[str], cuda: int, failed: Sequence[str] = ()) -> str:
    """Return what to do so that `build` (None: there is no such build) computes on the GPU.

    cuda: the major version of CUDA that the installed build was made for; failed: its providers that do not work:
    another build for this GPU is then updated, not replaced.
    """
    if build is None:
        return CPU_IS_ENOUGH
    torch_cuda = gpu.cuda if gpu else None
    if build == NVIDIA_BUILD and torch_cuda not in FOR_CUDA:
        return f"{CPU_IS_ENOUGH} No build of ONNX Runtime goes with torch for CUDA {torch_cuda}."
    fresh = FOR_CUDA[torch_cuda] if build == NVIDIA_BUILD else build
    again = in_terminal(install(fresh, options=AGAIN))
    is_loaded = build in installed and any(MADE_FOR[name].package == build for name in failed)
    if len(installed) > 1 and not is_loaded:
        return f"Both {' and '.join(installed)} are installed; they overwrite each other. {again}"
    if not installed:
        return in_terminal(install(fresh))
    present = build if is_loaded else installed[0]
    if present == build and not is_loaded:
        return f"The files of {present} were overwritten or taken away by another build. {again}"
    if present == NVIDIA_BUILD == build:
        if torch_cuda is None:
            return "Update the GPU's driver and restart ComfyUI."
        command = in_terminal(install(CUDA_TABLE.get((torch_cuda, cuda), fresh)))
        if torch_cuda != cuda:
            return f"This ONNX Runtime is made for CUDA {cuda}, and torch here for CUDA {torch_cuda}. {command}"
        return f"Update the GPU's driver. If that does not help: {command}"
    if present == build or (failed and present in family(gpu).suited):
        return f"Update the GPU's driver. If that does not help: {in_terminal(install(present, options='-U'))}"
    return f"Keep {present}, which packs require: the build that is installed last counts. {again}"
