"""The machine as ComfyUI and PyTorch see it."""

import platform

import comfy.memory_management
import comfy.model_management
import torch

from ..media.byte_size import size_text
from ..steadydancer_core.memory.fit import reachable_memory
from ..steadydancer_core.memory.residency import NO_STREAMING
from .memory_check import Machine

CPU = torch.device("cpu")


def this_machine() -> Machine:
    """Return the memory as ComfyUI knows it; models that it can move away count as free."""
    manager = comfy.model_management
    device = manager.get_torch_device()
    on_cpu = manager.is_device_cpu(device)
    half = not on_cpu and (manager.should_use_fp16(device) or manager.should_use_bf16(device))
    return Machine(
        device=str(device),
        total=int(manager.get_total_memory(device)),
        free=reachable_memory(device),
        reserve=int(manager.extra_reserved_memory()),
        ram=int(manager.get_total_memory(CPU)),
        itemsize=2 if half else 4,
        ahead=manager.NUM_STREAMS,
        streams=not on_cpu and manager.vram_state not in NO_STREAMING,
    )


def describe_machine(machine: Machine, gpu: str | None) -> dict[str, str]:
    """Return operating system, Python, PyTorch, device and memory in words, by name."""
    manager = comfy.model_management
    build = (torch.version.cuda and f"CUDA {torch.version.cuda}") or (torch.version.hip and f"ROCm {torch.version.hip}")
    dynamic = ", dynamic VRAM" if comfy.memory_management.aimdo_enabled else ""
    return {
        "OS": platform.platform(),
        "Python": platform.python_version(),
        "PyTorch": f"{torch.__version__} ({build or 'no CUDA or ROCm'})",
        "Device": f"{gpu or 'CPU'}, {size_text(machine.free)} of {size_text(machine.total)} can be had",
        "RAM": f"{size_text(machine.ram)}, {size_text(manager.get_free_memory(CPU))} free",
        "Memory of ComfyUI": f"{manager.vram_state.name}{dynamic}, {size_text(machine.reserve)} reserved",
    }
