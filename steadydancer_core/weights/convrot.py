"""INT8 ConvRot: the matrices of the blocks in int8, each row with a scale, after a rotation that spreads outliers.

ComfyUI's per-layer format int8_tensorwise with `convrot`: `<layer>.weight` int8 [out, in], `<layer>.weight_scale`
float32 [out, 1], the value of a stored 1, and `<layer>.comfy_quant`. Along `in`, groups of `convrot_groupsize` values
are multiplied by the regular Hadamard matrix of that size, which is symmetric and its own inverse; ComfyUI rotates the
layer's input the same way, rounds each of its rows to int8 too, and multiplies in int8.

Source: ConvRot, group-wise regular Hadamard rotation for diffusion transformers. Rotated in float64, in which the order
of the sums does not show, so that every machine gives one file.
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


def hadamard(size: int) -> Tensor:
    """Return the regular Hadamard matrix [size, size] float64, orthogonal; size is a power of four.

    The one of 4 is 1/2, with -1/2 on the antidiagonal; larger ones are its Kronecker powers.
    """
    four = (1 - 2 * torch.eye(4, dtype=torch.float64, device="cpu").flip(0)) / 2
    matrix = torch.ones(1, 1, dtype=torch.float64, device="cpu")
    while len(matrix) < size:
        matrix = torch.kron(matrix, four)
    return matrix


def rotate(matrix: Tensor, rotation: Tensor) -> Tensor:
    """Return the matrix [out, in] float32 with each group of its columns rotated; a second time undoes it."""
    return (matrix.double().reshape(-1, len(rotation)) @ rotation).float().reshape(matrix.shape)


def quantize(parts: Iterator[Tensor], group: int, measured: Callable[[float], None]) -> Iterator[Tensor]:
    """Yield the int8 values of a matrix, given as whole rows [n, in] float32 in parts, then the scales [out, 1].

    measured: called at the end with the relative error of the matrix, |stored - true| / |true| (Frobenius).
    """
    rotation, scales, wrong, whole = hadamard(group), [], 0.0, 0.0
    for part in parts:
        rotated = rotate(part, rotation)
        scale = (rotated.abs().amax(dim=1, keepdim=True) / LARGEST).clamp(min=SMALLEST_SCALE)
        stored = (rotated / scale).round()
        scales.append(scale)
        wrong += (stored * scale - rotated).square().sum(dtype=torch.float64).item()
        whole += rotated.square().sum(dtype=torch.float64).item()
        yield stored.to(torch.int8)
    measured((wrong / whole) ** 0.5 if whole else 0.0)
    yield torch.cat(scales)
