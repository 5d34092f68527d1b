"""How much device memory one pass takes beside the weights, from shapes alone.

The peak is the second layer of a block's feed-forward: two tensors of its width are alive and a few of the
transformer's. Attention holds less, as long as it does not build its whole matrix (as none on a GPU does).
"""

from collections.abc import Sequence

from .pose_modulation import LATENT_CHANNELS, REFERENCE_FRAMES

CELLS_PER_TOKEN = 4  # a patch is 1 x 2 x 2 latent cells
# Tensors of the transformer's width alive at the peak: 3.1 measured on ComfyUI 0.30, 4.1 on 0.33 (benchmarks/memory.py)
HIDDEN_TENSORS = 4.25
FEED_FORWARD_TENSORS = 2
# ComfyUI's BaseModel.memory_required: latent cells * bytes of the dtype * 0.01 MB * memory_usage_factor
COMFYUI_UNIT = 0.01 * 1024**2
# What the device holds of a clip that is sampled in windows, whole and in float32: up to 12 latents (noise, solver,
# branches and their sums over the windows) and the photo of three branches with its mask of 4 channels.
WHOLE_CLIP_CHANNELS = 12 * LATENT_CHANNELS + 3 * (LATENT_CHANNELS + 4)
FLOAT32 = 4


def activation_bytes(latent_shape: Sequence[int], dim: int, ffn_dim: int, itemsize: int) -> int:
    """Return the peak of a pass over a latent [B, C, T, h, w] in a dtype of `itemsize` bytes, without weights."""
    batch, _, frames, height, width = latent_shape
    cells = batch * (frames + REFERENCE_FRAMES) * height * width
    return int(cells * itemsize * COMFYUI_UNIT * usage_factor(dim, ffn_dim))


def whole_clip_bytes(latent_shape: Sequence[int]) -> int:
    """Return what the device holds of a clip [B, C, T, h, w] sampled in windows, beside one window's activations."""
    batch, _, frames, height, width = latent_shape
    return batch * frames * height * width * WHOLE_CLIP_CHANNELS * FLOAT32


def usage_factor(dim: int, ffn_dim: int) -> float:
    """Return BaseModel.memory_usage_factor for these widths: 1.18 for SteadyDancer-14B, where stock Wan has 2.30."""
    per_token = HIDDEN_TENSORS * dim + FEED_FORWARD_TENSORS * ffn_dim
    return per_token / CELLS_PER_TOKEN / COMFYUI_UNIT
