"""Latents that one chunk of a long video hands on to the next, instead of finished frames that are encoded again.

The causal VAE makes latent 0 of one frame alone and each later one of four frames and of what lies before them, so no
latent of a chunk is another chunk's latent 0. An overlap of 4k+1 frames is k+1 latents: the first is encoded from its
finished frame, the k others are the last k of the chunk before. A noise mask keeps the known latents while the rest is
sampled, and the decoder reads the new latents behind those that they continue. benchmarks/chunk_drift.py measures it.
"""

import torch
from node_helpers import conditioning_set_values
from torch import Tensor

from ...media.frame_size import FRAMES_PER_LATENT, latent_frames
from ..model.pose_modulation import LATENT_CHANNELS

CELL = 8  # pixels of a latent cell
HISTORY = 4  # latents before the known ones to decode with: frames then differ by 49 dB from a decode of the whole clip


def check_overlap(overlap: int) -> None:
    """Raise ValueError where the overlap holds no latent to hand on."""
    least = FRAMES_PER_LATENT + 1
    if overlap < least:
        raise ValueError(
            f"overlap is {overlap}, but continuing from latents needs at least {least} frames. Set overlap to {least} "
            "or more, or continue_from to 'frames'."
        )


def handed_latents(latents: Tensor, overlap: int) -> Tensor:
    """Return what a chunk's `latents` [1, 16, T, h, w] leave to the next: up to HISTORY, then the k of the overlap."""
    return latents[:, :, -(HISTORY + _handed(overlap)) :].clone()


def handed_shape(length: int, overlap: int, height: int, width: int) -> tuple[int, ...]:
    """Return the shape of what a chunk of `length` frames of width x height pixels hands on."""
    count = min(HISTORY + _handed(overlap), latent_frames(length))
    return 1, LATENT_CHANNELS, count, height // CELL, width // CELL


def with_handed(image_latent: Tensor, handed: Tensor, overlap: int) -> Tensor:
    """Return the image latent [1, 16, T, h, w] of a chunk, encoded from its finished frames, with the handed ones."""
    count, known = _handed(overlap), image_latent.clone()
    known[:, :, 1 : count + 1] = handed[:, :, -count:]
    return known


def start_from(
    handed: Tensor, overlap: int, positive: list, negative: list, pose_negative: list | None
) -> tuple[list, list, list | None, dict]:
    """Return the conditions of a chunk, which were made from its finished frames, and its LATENT, with handed ones."""
    image_latent = with_handed(positive[0][1]["concat_latent_image"], handed, overlap)
    values = {"concat_latent_image": image_latent}
    positive, negative = (conditioning_set_values(cond, values) for cond in (positive, negative))
    if pose_negative is not None:
        pose_negative = conditioning_set_values(pose_negative, values)
    return positive, negative, pose_negative, masked_latent(image_latent, overlap)


def masked_latent(image_latent: Tensor, overlap: int) -> dict:
    """Return the LATENT that sampling starts from: the known latents of `image_latent`, kept, and zeros."""
    known = latent_frames(overlap)
    samples = torch.zeros_like(image_latent)
    samples[:, :, :known] = image_latent[:, :, :known]
    mask = torch.ones_like(image_latent[:, :1])
    mask[:, :, :known] = 0
    return {"samples": samples, "noise_mask": mask}


def decode_behind(vae, handed: Tensor, latents: Tensor, overlap: int) -> Tensor:
    """Return the frames [4T - 3, H, W, 3] of a chunk's `latents` [1, 16, T, h, w], decoded behind `handed`."""
    history = handed[:, :, : -_handed(overlap)].to(latents)
    frames = vae.decode(torch.cat([history, latents[:, :, 1:]], dim=2))
    length = (latents.shape[2] - 1) * FRAMES_PER_LATENT + 1
    return frames.reshape(-1, *frames.shape[-3:])[-length:]


def _handed(overlap: int) -> int:
    """Return how many latents an overlap hands on: all but the first."""
    return latent_frames(overlap) - 1
