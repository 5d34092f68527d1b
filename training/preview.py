"""A plain sampler for pictures on the way: Euler's method on the shifted schedule, no guidance."""

import itertools

import torch
from torch import Tensor

from .flow import Batch, Velocity, shifted

SHIFT = 5.0


@torch.no_grad()
def sample(velocity: Velocity, batch: Batch, noise: Tensor, steps: int, shift: float = SHIFT) -> Tensor:
    """Return the latent [B, 16, T, h, w] that `noise` becomes under the batch's conditions."""
    x, sigmas = noise, shifted(torch.linspace(1, 0, steps + 1), shift).to(noise.device)
    for sigma, lower in itertools.pairwise(sigmas):
        x = x + (lower - sigma) * velocity({**batch, "sigma": sigma.expand(len(x))}, x).float()
    return x
