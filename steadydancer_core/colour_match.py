"""Colours of a chunk, brought back to those of the video before it and of the photo.

A chunk that goes on from decoded frames is tinted a little by every trip through VAE and model, and chunk after chunk
the tint adds up. Mean and spread of a channel say how much (Reinhard et al. 2001, "Color Transfer between Images"),
but the mean of a whole frame also changes when the dancer moves. So both are taken over the half of the picture that
changed least, place by place: the background, however the dancer moves. In an opponent space (brightness, red-green,
blue-yellow; orthonormal, on gamma-encoded RGB) the three pairs are brightness and contrast, tint and saturation.

Two fits make the correction of a chunk: its first frames against the same frames of the finished video, so that the
border shows no step, and its last frames against the photo. The chunk goes from the first to the second, slowly.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

FIT_SIDE = 64  # pixels of the shorter side that a fit looks at: the tint is large-scale, noise and edges are not
FIT_ROUNDS = 8
LEAST_SPREAD = 1 / 255  # of a channel: a flat one has no contrast to compare
MAX_GAIN, MAX_SHIFT = 1.25, 0.15  # beyond that it is another scene, not a tint
TAIL = 5  # frames at the end of a chunk that are compared with the photo
PULL_FRAMES = 64  # four seconds from the colours of the border to those of the photo


class Tint(NamedTuple):
    """A change of colour in the opponent space: gain and offset [3]."""

    gain: Tensor
    offset: Tensor


def opponent_matrix(device: torch.device | None = None) -> Tensor:
    """Return the rows brightness, red-green and blue-yellow [3, 3]; orthonormal, so its transpose leads back."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], device=device)
    return rows / rows.norm(dim=1, keepdim=True)


def match_colours(frames: Tensor, before: Tensor, photo: Tensor, strength: float) -> Tensor:
    """Return `frames` [F, H, W, 3] with the colours of `before` at their start and of `photo` further on.

    `before` [V, H, W, 3] are the finished frames that the first V of `frames` show again, `photo` [1, H, W, 3] has
    their size; all in 0..1. strength 1 is the whole correction, 0 returns `frames` as they are.
    """
    if strength == 0:
        return frames
    start, end = fit_tint(frames[: len(before)], before), fit_tint(frames[-TAIL:], photo)
    parts = ((torch.arange(len(frames)) - len(before) + 1) / PULL_FRAMES).clamp(0, 1)
    identity = Tint(torch.ones_like(start.gain), torch.zeros_like(start.offset))
    tints = (mix(identity, mix(start, end, float(part)), strength) for part in parts)
    return torch.stack([apply_tint(frame, tint) for frame, tint in zip(frames, tints, strict=True)])


def fit_tint(frames: Tensor, target: Tensor) -> Tint:
    """Return the Tint that brings the colours of `frames` [N, H, W, 3] to those of `target` [N or 1, H, W, 3].

    Only the half of the places that fit best have a say. Gain and shift are limited to what a tint can be.
    """
    found, wanted = torch.broadcast_tensors(_small(frames), _small(target))
    found, wanted = found.reshape(-1, 3), wanted.reshape(-1, 3)
    offset = (wanted - found).median(dim=0).values
    tint = Tint(torch.ones_like(offset), offset)
    for _ in range(FIT_ROUNDS):
        distance = (found * tint.gain + tint.offset - wanted).square().sum(dim=1)
        same = distance <= distance.median()
        tint = _match_moments(found[same], wanted[same])
    return tint


def mix(a: Tint, b: Tint, part: float) -> Tint:
    """Return the Tint at `part` of the way from `a` (0) to `b` (1)."""
    return Tint(*(torch.lerp(x, y, part) for x, y in zip(a, b, strict=True)))


def apply_tint(image: Tensor, tint: Tint) -> Tensor:
    """Return `image` [..., 3] in 0..1 with its colours changed; the result is clamped to 0..1."""
    matrix = opponent_matrix(image.device)
    return ((image.float() @ matrix.T * tint.gain + tint.offset) @ matrix).clamp(0, 1).to(image.dtype)


def _match_moments(found: Tensor, wanted: Tensor) -> Tint:
    spreads = [pixels.std(dim=0, correction=0) + LEAST_SPREAD for pixels in (wanted, found)]
    gain = (spreads[0] / spreads[1]).clamp(1 / MAX_GAIN, MAX_GAIN)
    mean = found.mean(dim=0)
    shift = (wanted.mean(dim=0) - mean).clamp(-MAX_SHIFT, MAX_SHIFT)
    return Tint(gain, mean + shift - gain * mean)


def _small(frames: Tensor) -> Tensor:
    """Return the frames in the opponent space [N, h, w, 3], averaged down to FIT_SIDE."""
    sides = frames.shape[1:3]
    scale = min(1.0, FIT_SIDE / min(sides))
    pixels = frames.movedim(-1, 1).float()
    small = F.interpolate(pixels, size=[max(1, round(side * scale)) for side in sides], mode="area")
    return small.movedim(1, -1) @ opponent_matrix(frames.device).T
