"""Colours of a chunk, brought back to those of the video before it and of the photo.

Every trip through VAE and model tints the frames a little. The linear Monge-Kantorovich mapping (Pitie and Kokaram
2007) brings mean and covariance to those of the target and moves colors no further than that takes. It is fitted on the
half of the picture that changed least, place by place: the background, however the dancer moves. Two fits make the
correction of a chunk: its first frames against the same frames of the finished video, so that the border shows no step,
and its last frames against the photo. The chunk goes from the first to the second, slowly.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FIT_SIDE = 64  # pixels of the shorter side that a fit looks at: the tint is large-scale, noise and edges are not
FIT_ROUNDS = 8
MIN_SPREAD = 1 / 255  # a color that hardly varies has no contrast to compare
MAX_GAIN, MAX_SHIFT = 1.25, 0.1  # beyond that it is another scene, not a tint
SURE, LOST = 0.04, 0.08  # rms of what a fit leaves: below the first it is a tint, above the second it never is
TAIL = 5  # frames at the end of a chunk that are compared with the photo
PULL_FRAMES = 64  # four seconds from the colors of the border to those of the photo


class Tint(NamedTuple):
    """A change of color, x @ matrix + offset: a symmetric matrix [3, 3] and an offset [3], both float64."""

    matrix: Tensor
    offset: Tensor


def no_tint() -> Tint:
    """Return the Tint that changes nothing."""
    return Tint(torch.eye(3, dtype=torch.float64, device="cpu"), torch.zeros(3, dtype=torch.float64, device="cpu"))


def match_colors(frames: Tensor, before: Tensor, photo: Tensor, strength: float) -> Tensor:
    """Return `frames` [F, H, W, 3] with the colors of `before` at their start and of `photo` further on, all 0..1.

    `before` [V, H, W, 3] shows the first V of `frames`, `photo` [1, H, W, 3] has their size. strength 0 changes
    nothing.
    """
    if strength == 0:
        return frames
    start, end = fit_tint(frames[: len(before)], before), fit_tint(frames[-TAIL:], photo)
    numbers = torch.arange(len(frames), dtype=torch.float32, device="cpu")
    parts = ((numbers - len(before) + 1) / PULL_FRAMES).clamp(0, 1)
    matched = torch.empty_like(frames)
    for index, part in enumerate(parts.tolist()):
        matched[index] = apply_tint(frames[index], mix(no_tint(), mix(start, end, part), strength))
    return matched


def fit_tint(frames: Tensor, target: Tensor) -> Tint:
    """Return the Tint that brings the colors of `frames` [N, H, W, 3] to those of `target` [N or 1, H, W, 3].

    Only the half of the places that fit best have a say; where even they differ, as with a moving camera, colors stay.
    """
    found, wanted = torch.broadcast_tensors(_small(frames), _small(target))
    found, wanted = found.reshape(-1, 3), wanted.reshape(-1, 3)
    tint = Tint(no_tint().matrix, (wanted - found).median(dim=0).values)
    for _ in range(FIT_ROUNDS):
        distance = _distance(found, tint, wanted)
        same = distance <= distance.median()
        tint = _map_moments(found[same], wanted[same])
    left = (_distance(found, tint, wanted)[same].mean() / 3).sqrt()
    trust = float(((LOST - left) / (LOST - SURE)).clamp(0, 1))
    return mix(no_tint(), _limit(tint, found[same].mean(dim=0)), trust)


def mix(a: Tint, b: Tint, part: float) -> Tint:
    """Return the Tint at `part` of the way from `a` (0) to `b` (1)."""
    return Tint(*(torch.lerp(x, y, part) for x, y in zip(a, b, strict=True)))


def apply_tint(image: Tensor, tint: Tint) -> Tensor:
    """Return `image` [..., 3] in 0..1 with its colors changed; the result is clamped to 0..1."""
    return (image @ tint.matrix.to(image) + tint.offset.to(image)).clamp(0, 1)


def _distance(found: Tensor, tint: Tint, wanted: Tensor) -> Tensor:
    return (found @ tint.matrix + tint.offset - wanted).square().sum(dim=1)


def _map_moments(found: Tensor, wanted: Tensor) -> Tint:
    """Return the Tint that brings mean and covariance of `found` [N, 3] to those of `wanted` [N, 3]."""
    root = _on_values(_covariance(found), torch.sqrt)
    back = torch.linalg.inv(root)
    matrix = back @ _on_values(root @ _covariance(wanted) @ root, torch.sqrt) @ back
    return Tint(matrix, wanted.mean(dim=0) - found.mean(dim=0) @ matrix)


def _covariance(colors: Tensor) -> Tensor:
    return torch.cov(colors.T, correction=0) + MIN_SPREAD**2 * no_tint().matrix


def _on_values(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the symmetric `matrix` with `function` applied to its eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * function(values) @ vectors.T


def _limit(tint: Tint, mean: Tensor) -> Tint:
    """Return the Tint of limited gain in every direction, which shifts the color `mean` [3] by MAX_SHIFT at most."""
    matrix = _on_values(tint.matrix, partial(torch.clamp, min=1 / MAX_GAIN, max=MAX_GAIN))
    shift = (mean @ tint.matrix + tint.offset - mean).clamp(-MAX_SHIFT, MAX_SHIFT)
    return Tint(matrix, mean + shift - mean @ matrix)


def _small(frames: Tensor) -> Tensor:
    """Return the frames [N, h, w, 3] averaged down to FIT_SIDE, in float64 on the CPU."""
    sides = frames.shape[1:3]
    scale = min(1.0, FIT_SIDE / min(sides))
    size = [max(1, round(side * scale)) for side in sides]
    return F.interpolate(frames.movedim(-1, 1).float(), size=size, mode="area").movedim(1, -1).cpu().double()
