"""Activations of one pass of SteadyDancer-14B: the estimate against the peak of the pass itself.

The pass runs on tensors without contents, in the widths of the 14B model, with the attention that ComfyUI picks on a
GPU; what is alive at each operation is counted. The last line holds the counting itself against the memory of a process
that computes on the CPU.

Run in the project's folder, with ComfyUI's Python: COMFYUI_PATH=... python -m benchmarks.memory
"""

import sys
from pathlib import Path
from unittest import mock

from comfy_client.in_process import use_comfyui

LIMIT = 0.15
GB = 10**9
SIZES = {  # latent frames, height, width
    "480x832x81": (21, 60, 104),
    "576x1024x81": (21, 72, 128),
    "480x832x161": (41, 60, 104),
}
WIDTHS_14B = {"dim": 5120, "ffn_dim": 13824}
WIDTHS_CPU = {"dim": 1536, "ffn_dim": 8960}
WARM_UP, SIZE_CPU = (3, 16, 16), (3, 60, 104)


def measure(size: tuple[int, int, int], branches: int) -> tuple[int, int, int]:
    """Return peak, estimate and ComfyUI's plan for a GPU in bytes at the widths of SteadyDancer-14B in float16."""
    import comfy.model_management
    import torch

    from benchmarks import memory_live
    from steadydancer_pack.steadydancer_core.model.memory_estimate import activation_bytes
    from steadydancer_pack.steadydancer_core.weights.detection import SteadyDancerConfig

    # Two blocks are as wide as forty.
    net = memory_live.make_model(SteadyDancerConfig, **WIDTHS_14B, layers=2, dtype=torch.float16, device="meta")
    inputs = memory_live.arguments(branches, size, torch.float16, "meta")
    shape = [branches, 16, *size]
    conds = {name: [[1, *inputs[name].shape[1:]]] * branches for name in ("ref_x", "ref_c")}
    with mock.patch.object(comfy.model_management, "pytorch_attention_flash_attention", lambda: True):
        plan = int(net.memory_required(shape, conds))
    return memory_live.run_pass(net, inputs).peak, activation_bytes(shape, **WIDTHS_14B, itemsize=2), plan


def measure_process() -> tuple[int, int]:
    """Return by how many bytes this process grew at most in a pass on the CPU, and how many were counted."""
    import torch

    from benchmarks import memory_live
    from steadydancer_pack.steadydancer_core.weights.detection import SteadyDancerConfig

    net = memory_live.make_model(SteadyDancerConfig, **WIDTHS_CPU, layers=2, dtype=torch.float32, device="cpu")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    memory_live.run_pass(net, memory_live.arguments(1, WARM_UP, torch.float32, "cpu"))
    inputs = memory_live.arguments(1, SIZE_CPU, torch.float32, "cpu")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak counts from here
    before = process_bytes("VmRSS")
    live = memory_live.run_pass(net, inputs)
    return process_bytes("VmHWM") - before, live.peak


def process_bytes(field: str) -> int:
    """Return a size of this process from Linux's table, such as VmHWM, the peak of its resident memory."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> int:
    """Print one line per size and number of branches; 1 when an estimate is further off than the limit."""
    use_comfyui()
    worst = 0.0
    sys.stdout.write("video        branches  peak GB  estimate GB     off  ComfyUI plans GB\n")
    for name, size in SIZES.items():
        for branches in (1, 2, 3):
            peak, estimate, plan = measure(size, branches)
            off = estimate / peak - 1
            worst = max(worst, abs(off))
            row = f"{name:12} {branches:8} {peak / GB:8.2f} {estimate / GB:12.2f} {off:+7.1%} {plan / GB:17.2f}\n"
            sys.stdout.write(row)
    grown, counted = (size / GB for size in measure_process())
    sys.stdout.write(f"On the CPU the process grew by {grown:.3f} GB in a pass; counted were {counted:.3f} GB\n")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
