"""Activations of one pass of SteadyDancer-14B: the estimate against the peak of the pass itself.

The pass runs on tensors without contents, in the widths of the 14B model, with the attention that ComfyUI picks on a
GPU; what is alive at each operation is counted. Counted is every storage that an operation makes, until the last tensor
on it is gone: what torch's allocator provides on a device. Not counted is what a kernel allocates and frees inside
itself. The last line holds the counting itself against the memory of a process that computes on the CPU.
"""

import sys
import weakref
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from steadydancer_pack.media.byte_size import GB
from steadydancer_pack.miniature.weights import Shape

LIMIT = 0.15
SIZES = {  # latent frames, height, width
    "480x832x81": (21, 60, 104),
    "576x1024x81": (21, 72, 128),
    "480x832x161": (41, 60, 104),
}
WIDTHS_14B = {"dim": 5120, "ffn_dim": 13824}
WIDTHS_CPU = {"dim": 1536, "ffn_dim": 8960}
WARM_UP, SIZE_CPU = (3, 16, 16), (3, 60, 104)


class LiveBytes(TorchDispatchMode):
    """peak: most bytes alive at once while the mode was on; peak_operation: the one that reached it."""

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self.peak_operation = ""
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._sizes:
                    self._sizes[key] = storage.nbytes()
                    self.live += storage.nbytes()
                    weakref.finalize(storage, self._forget, key)
        if self.live > self.peak:
            self.peak, self.peak_operation = self.live, str(func)
        return result

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)


def make_model(dim: int, ffn_dim: int, dtype: torch.dtype, device: str):
    """Return SteadyDancer in ComfyUI, two blocks in these widths: forty take as much. Weights are not initialized."""
    from steadydancer_pack.steadydancer_core.weights.detection import SteadyDancerConfig

    shape = {"dim": dim, "ffn_dim": ffn_dim, "num_heads": dim // 128, "num_layers": 2}
    fixed = {"image_model": "wan2.1", "model_type": "i2v", "in_dim": 36, "patch_size": (1, 2, 2), "freq_dim": 256}
    entry = SteadyDancerConfig({**fixed, **shape, "text_dim": 4096, "out_dim": 16, "cross_attn_norm": True})
    entry.set_inference_dtype(dtype, None)
    return entry.get_model({}, device=torch.device(device))


def arguments(branches: int, size: tuple[int, int, int], dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """Return the inputs of a pass over `branches` videos of `size`: latent frames, height, width."""
    one = (1, *size[1:])
    shapes: dict[str, Shape] = {"x": (36, *size), "pose_latents": (16, *size), "ref_x": (36, *one), "ref_c": (16, *one)}
    shapes |= {"context": (512, 4096), "clip_fea": (257, 1280), "clip_fea_c": (257, 1280)}
    tensors = {name: torch.zeros(branches, *shape, dtype=dtype, device=device) for name, shape in shapes.items()}
    return {**tensors, "timestep": torch.zeros(branches, device=device)}


@torch.inference_mode()
def run_pass(net, inputs: dict[str, Tensor]) -> LiveBytes:
    """Run one pass with the attention of a GPU and return what was alive, weights and inputs left out."""
    from comfy.ldm.modules.attention import attention_pytorch

    attention = {"optimized_attention_override": lambda _, *args, **kwargs: attention_pytorch(*args, **kwargs)}
    with LiveBytes() as live:
        net.diffusion_model(**inputs, transformer_options=attention)
    return live


def measure(size: tuple[int, int, int], branches: int) -> tuple[int, int, int]:
    """Return peak, estimate and ComfyUI's plan for a GPU in bytes at the widths of SteadyDancer-14B in float16."""
    import comfy.model_management

    from steadydancer_pack.steadydancer_core.model.memory_estimate import activation_bytes

    net = make_model(**WIDTHS_14B, dtype=torch.float16, device="meta")
    inputs = arguments(branches, size, torch.float16, "meta")
    shape = [branches, 16, *size]
    conds = {name: [[1, *inputs[name].shape[1:]]] * branches for name in ("ref_x", "ref_c")}
    with mock.patch.object(comfy.model_management, "pytorch_attention_flash_attention", lambda: True):
        plan = int(net.memory_required(shape, conds))
    return run_pass(net, inputs).peak, activation_bytes(shape, **WIDTHS_14B, itemsize=2), plan


def measure_process() -> tuple[int, int]:
    """Return by how many bytes this process grew at most in a pass on the CPU, and how many were counted."""
    net = make_model(**WIDTHS_CPU, dtype=torch.float32, device="cpu")
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    run_pass(net, arguments(1, WARM_UP, torch.float32, "cpu"))
    inputs = arguments(1, SIZE_CPU, torch.float32, "cpu")
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak counts from here
    before = process_bytes("VmRSS")
    live = run_pass(net, inputs)
    return process_bytes("VmHWM") - before, live.peak


def process_bytes(field: str) -> int:
    """Return a size of this process from Linux's table, such as VmHWM, the peak of its resident memory."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> int:
    """Print one line per size and number of branches; 1 when an estimate is further off than the limit."""
    from steadydancer_pack.comfy_client.in_process import use_comfyui

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
