"""Bytes of tensors alive during a pass of the model, and their peak; on `meta` without computing anything.

Counted is every storage that an operation makes, until the last tensor on it is gone: what torch's allocator provides
on a device. Not counted is what a kernel allocates and frees inside itself.
"""

import weakref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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


def make_model(config, dim: int, ffn_dim: int, layers: int, dtype: torch.dtype, device: str):
    """Return ComfyUI's model object of SteadyDancer in these widths, weights not initialized.

    config: the class detection.SteadyDancerConfig.
    """
    shape = {"dim": dim, "ffn_dim": ffn_dim, "num_heads": dim // 128, "num_layers": layers}
    fixed = {"image_model": "wan2.1", "model_type": "i2v", "in_dim": 36, "patch_size": (1, 2, 2), "freq_dim": 256}
    entry = config({**fixed, **shape, "text_dim": 4096, "out_dim": 16, "cross_attn_norm": True})
    entry.set_inference_dtype(dtype, None)
    return entry.get_model({}, device=torch.device(device))


def arguments(branches: int, size: tuple[int, int, int], dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """Return the inputs of a pass over `branches` videos of `size`: latent frames, height, width."""
    frames, height, width = size
    shapes = {
        "x": (36, frames, height, width), "context": (512, 4096), "clip_fea": (257, 1280), "clip_fea_c": (257, 1280),
        "pose_latents": (16, frames, height, width), "ref_x": (36, 1, height, width), "ref_c": (16, 1, height, width),
    }  # fmt: skip
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
