"""What nodes give to the pose pipeline: room on the GPU, the folder of cached poses, progress and Cancel."""

from pathlib import Path

import comfy.model_management
import folder_paths
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar

from ...dwpose.detect.runtime import may_use_gpu
from ...dwpose.packages.onnxruntime_advice import Gpu
from ...dwpose.pipeline import Callbacks

FOLDER, SUFFIX = "dwpose", ".onnx"  # of the networks, below models/
# What ONNX Runtime takes of a GPU: its CUDA libraries, both networks and a batch of crops. ComfyUI does not manage that
# memory, and keeps the diffusion model there after sampling.
ONNX_BYTES = 2 << 30


def this_gpu() -> Gpu | None:
    """Return the GPU that ComfyUI computes on; None if it is the CPU."""
    name, cuda = gpu_name(), torch.version.cuda
    cache = Path(folder_paths.get_user_directory(), "steadydancer", "onnx_cache")
    return Gpu(name, int(cuda.partition(".")[0]) if cuda else None, cache) if name else None


def gpu_name() -> str | None:
    """Return the name of the GPU that ComfyUI computes on; None if it is the CPU."""
    device = comfy.model_management.get_torch_device()
    if device.type == "cpu":
        return None
    if device.type in ("cuda", "xpu"):
        return getattr(torch, device.type).get_device_name(device)
    return {"mps": "Apple GPU", "privateuseone": "DirectML GPU"}.get(device.type, device.type)


def make_room_for(provider: str) -> None:
    """Make room on the GPU if networks on this provider may use it."""
    if may_use_gpu(provider):
        make_room()


def make_room() -> None:
    """Let ComfyUI unload models to make room for ONNX Runtime on its GPU; on the CPU nothing happens."""
    device = comfy.model_management.get_torch_device()
    if device.type != "cpu":
        comfy.model_management.free_memory(ONNX_BYTES, device)
        comfy.model_management.soft_empty_cache()  # torch keeps what is unloaded, where ONNX Runtime cannot have it


def cache_folder() -> Path:
    """Return where poses are cached."""
    return Path(folder_paths.get_user_directory(), "steadydancer", "pose_cache")


def node_callbacks() -> Callbacks:
    """Return the callbacks that show progress on the running node and stop at Cancel."""
    bar = ProgressBar(1)

    def progress(done: int, total: int) -> None:
        throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return Callbacks(progress, throw_exception_if_processing_interrupted, make_room)
