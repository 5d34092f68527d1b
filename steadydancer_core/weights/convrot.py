"""INT8 ConvRot: the matrices of the blocks in int8, each row with a scale, after a rotation that spreads outliers.

ComfyUI's per-layer format int8_tensorwise with `convrot`: `<layer>.weight` int8 [out, in], `<layer>.weight_scale`
float32 [out, 1], the value of a stored 1, and `<layer>.comfy_quant`. Along `in`, groups of `convrot_groupsize` values
are multiplied by the regular Hadamard matrix of that size, which is symmetric and its own inverse; ComfyUI rotates the
layer's input the same way, rounds each of its rows to int8 too, and multiplies in int8.

Source: ConvRot, group-wise regular Hadamard rotation for diffusion transformers; H4 = J/2 - (ones against the
diagonal), larger ones are its Kronecker powers. By additions in a fixed order, so that every machine gives one file.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

FORMAT = "int8_tensorwise"
LARGEST = 127
LARGEST_GROUP = 256  # for which comfy-kitchen has its fastest kernels; both widths of the 14B model are multiples
SMALLEST_SCALE = 2.0**-100  # of a row of zeros


def group_size(columns: int) -> int:
    """Return the largest power of four up to LARGEST_GROUP that divides `columns`, 1 where none does."""
    size = LARGEST_GROUP
    while columns % size:
        size //= 4
    return size


def note(columns: int) -> dict:
    """Return the comfy_quant entry of a layer with that many input values."""
    group = group_size(columns)
    if group == 1:
        return {"format": FORMAT}
    return {"format": FORMAT, "convrot": True, "convrot_groupsize": group}


def rotate(matrix: Tensor, group: int) -> Tensor:
    """Return the matrix [out, in] float32 with each group of its columns rotated; a second time undoes it."""
    values, stride = matrix, 1
    while stride < group:
        first, second, third, fourth = values.reshape(-1, 4, stride).unbind(1)
        half = ((first + second) + (third + fourth)) / 2
        values = torch.stack((half - fourth, half - third, half - second, half - first), dim=1)
        stride *= 4
    return values.reshape(matrix.shape)


def quantize(parts: Iterator[Tensor], group: int, measured: Callable[[float], None]) -> Iterator[Tensor]:
    """Yield the int8 values of a matrix, given as whole rows [n, in] float32 in parts, then the scales [out, 1].

    measured: called at the end with the relative error of the matrix, |stored - true| / |true| (Frobenius).
    """
    scales, wrong, whole = [], 0.0, 0.0
    for part in parts:
        rotated = rotate(part, group)
        scale = (rotated.abs().amax(dim=1, keepdim=True) / LARGEST).clamp(min=SMALLEST_SCALE)
        stored = (rotated / scale).round()
        scales.append(scale)
        wrong += (stored * scale - rotated).square().sum(dtype=torch.float64).item()
        whole += rotated.square().sum(dtype=torch.float64).item()
        yield stored.to(torch.int8)
    measured((wrong / whole) ** 0.5 if whole else 0.0)
    yield torch.cat(scales)
