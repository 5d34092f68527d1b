"""From trained tensors to the file that ComfyUI's VAE loader takes, with the latent's statistics folded in.

ComfyUI moves and scales every Wan 2.1 latent by a fixed mean and standard deviation per channel, which were measured on
the full VAE. A VAE trained from nothing has others; an exact linear change of the two 1x1x1 convolutions around the
latent gives it the fixed ones, and the pictures stay the same.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from comfy.latent_formats import Wan21
from comfy.ldm.wan.vae import WanVAE
from torch import Tensor

from ..media.frames import uint8_to_video, video_to_uint8
from . import vae_whole
from .container import safetensors_bytes
from .moving import moving_psnr

LATENT, STRIDE = 16, 8
CHARACTER_SHARE = 0.75  # of characters in the statistics; the rest are skeletons
METADATA = {"name": "SteadyDancer miniature VAE", "license": "Apache-2.0", "weights": "trained on the drawn world"}


def stock_vae(width: int) -> WanVAE:
    """Return ComfyUI's Wan 2.1 VAE of this width, its weights unset."""
    return WanVAE(
        dim=width,
        z_dim=LATENT,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    )


def loaded_vae(state: Mapping[str, Tensor]) -> WanVAE:
    """Return ComfyUI's Wan 2.1 VAE with these tensors in float32, ready to be used."""
    vae = stock_vae(state["decoder.head.0.gamma"].shape[0])
    vae.load_state_dict({key: tensor.float() for key, tensor in state.items()})
    return vae.eval().requires_grad_(False)


def as_video(frames: np.ndarray | Tensor) -> Tensor:
    """Return uint8 frames [B, F, H, W, 3] as the VAE's video, float32 [B, 3, F, H, W] in -1..1, on their device."""
    return uint8_to_video(frames if isinstance(frames, Tensor) else np.array(frames)).movedim(-1, 1)


@torch.no_grad()
def latent_statistics(
    state: Mapping[str, Tensor],
    characters: np.ndarray | Tensor,
    poses: np.ndarray | Tensor,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [16] of the raw latents of clips, uint8 [N, F, H, W, 3] each.

    Both are of the mixture of CHARACTER_SHARE characters and skeletons for the rest.
    """
    vae = loaded_vae(state).to(device)
    moments = torch.zeros(2, LATENT, dtype=torch.float64, device=device)  # mean and mean square
    for share, clips in ((CHARACTER_SHARE, characters), (1 - CHARACTER_SHARE, poses)):
        total = torch.zeros_like(moments)
        for clip in clips:
            latent = vae_whole.encode(vae, as_video(clip[None]).to(device)).double()
            total += torch.stack([latent, latent.square()]).mean(dim=(1, 3, 4, 5))
        moments += share * (total / len(clips))
    mean, square = moments.cpu()
    return mean.float(), (square - mean.square()).sqrt().float()


def folded(state: Mapping[str, Tensor], mean: Tensor, std: Tensor) -> dict[str, Tensor]:
    """Return the tensors with latents of this mean and standard deviation [16] brought to those of Wan 2.1."""
    fixed = Wan21()
    gain = fixed.latents_std.flatten() / std
    shift = fixed.latents_mean.flatten() - gain * mean
    new = {key: tensor.clone() for key, tensor in state.items()}
    new["conv1.weight"][:LATENT] *= gain.view(-1, 1, 1, 1, 1)
    new["conv1.bias"][:LATENT] = new["conv1.bias"][:LATENT] * gain + shift
    new["conv2.weight"] /= gain.view(1, -1, 1, 1, 1)
    new["conv2.bias"] -= new["conv2.weight"].flatten(1) @ shift
    return new


def vae_file(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return a float16 safetensors file that ComfyUI's VAE loader takes for a Wan 2.1 VAE. ValueError: not finite."""
    halves = {key: tensor.detach().cpu().half().contiguous() for key, tensor in state.items()}
    broken = [key for key, tensor in halves.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(
            f"{len(broken)} tensors of the VAE do not fit float16, such as {broken[0]}. "
            "The training diverged; train again with a lower learning rate."
        )
    return safetensors_bytes(halves, {**METADATA, **(metadata or {})})


@torch.no_grad()
def reconstruction(
    state: Mapping[str, Tensor], clips: Path, poses: Path, n: int = 16, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Return how well the VAE gives back the last `n` clips of two .npy files, uint8 [N, F, H, W, 3].

    Computed in float32, as ComfyUI does on a CPU. Means over the clips: PSNR in dB of the
    photo (a first frame), of all later frames, of skeleton frames and of a photo that gray frames follow, and of the
    moving pixels of both (moving.py); mean and standard deviation of the characters' latents after ComfyUI's
    normalization.
    """
    vae, rows = loaded_vae(state).to(device), []
    characters, skeletons = (np.load(path, mmap_mode="r")[-n:] for path in (clips, poses))
    for character, skeleton in zip(characters, skeletons, strict=True):
        video, drawn = (as_video(frames[None]).to(device) for frames in (character, skeleton))
        latent = vae_whole.encode(vae, video)
        back = vae_whole.decode(vae, latent)
        drawn_back = vae_whole.decode(vae, vae_whole.encode(vae, drawn))
        gray = photo_then_gray(video)
        gray_back = vae_whole.decode(vae, vae_whole.encode(vae, gray))
        normal = Wan21().process_in(latent.cpu())
        row = {
            "photo_psnr": psnr(back[:, :, :1], video[:, :, :1]),
            "frames_psnr": psnr(back[:, :, 1:], video[:, :, 1:]),
            "moving_psnr": moving_psnr(_frames(back), character),
            "skeleton_psnr": psnr(drawn_back, drawn),
            "skeleton_moving_psnr": moving_psnr(_frames(drawn_back), skeleton),
            "gray_photo_psnr": psnr(gray_back, gray),
            "latent_mean": float(normal.mean()),
            "latent_std": float(normal.std()),
        }
        rows.append(row)
    return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def _frames(video: Tensor) -> np.ndarray:
    """Return a video [1, 3, F, H, W] in -1..1 as uint8 frames [F, H, W, 3]."""
    return video_to_uint8(video[0].movedim(0, -1))


def photo_then_gray(video: Tensor) -> Tensor:
    """Return the video with all but its first frame gray, as Wan's image conditioning has it."""
    return torch.cat([video[:, :, :1], torch.zeros_like(video[:, :, 1:])], 2)


def psnr(found: Tensor, truth: Tensor) -> float:
    """Return the PSNR in dB of videos in -1..1; the found one is clipped to that."""
    error = (found.clamp(-1, 1) - truth).square().mean() / 4
    return float(-10 * torch.log10(error.clamp(min=1e-10)))
