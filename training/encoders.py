"""What turns pictures and prompts into the model's numbers, loaded by ComfyUI from files that the user names.

Each `load_` function returns a function; nothing is loaded before, and nothing is downloaded.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import comfy.clip_vision
import comfy.sd
import comfy.utils
import torch
from comfy.latent_formats import Wan21
from torch import Tensor

from ..media.frames import clip_pixels
from .prompts import prompt_vectors

SUFFIX = ".safetensors"
VISION = 257, 1280
Encode = Callable[[Tensor], Tensor]


class Encoders(NamedTuple):
    """Functions that load what encodes, each called when its turn comes.

    latent: frames [F, H, W, 3] in 0..1 -> [1, 16, T, h, w] in model space; see: a picture [1, H, W, 3] in 0..1 ->
    [1, 257, 1280]; read: a prompt -> [1, rows, width].
    """

    latent: Callable[[], Encode]
    see: Callable[[], Encode]
    read: Callable[[], Callable[[str], Tensor]]


def load_vae(path: Path) -> comfy.sd.VAE:
    """Return a VAE; ValueError if the file is none."""
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(_checked(path)))
    if vae.first_stage_model is None or vae.latent_channels != 16 or vae.latent_dim != 3:
        raise ValueError(f"{path.name} is not the VAE of Wan 2.1. Choose wan_2.1_vae.safetensors.")
    return vae


def load_encoder(path: Path) -> Encode:
    """Return what makes latents in model space of frames [F, H, W, 3] in 0..1."""
    vae = load_vae(path)

    @torch.no_grad()
    def encode(frames: Tensor) -> Tensor:
        return Wan21().process_in(vae.encode(frames).float())

    return encode


def load_decoder(path: Path) -> Encode:
    """Return what makes frames [1, 3, F, H, W] in -1..1 of latents [1, 16, T, h, w] in model space."""
    vae = load_vae(path)

    @torch.no_grad()
    def decode(latent: Tensor) -> Tensor:
        return vae.decode(Wan21().process_out(latent)).float().movedim(-1, 1) * 2 - 1

    return decode


def load_vision(path: Path) -> Encode:
    """Return what CLIP vision sees in a picture [1, H, W, 3] in 0..1, squeezed into its square as at inference."""
    vision = comfy.clip_vision.load(_checked(path))
    if vision is None:
        raise ValueError(f"{path.name} is not a CLIP vision model. Choose clip_vision_h.safetensors.")

    @torch.no_grad()
    def see(picture: Tensor) -> Tensor:
        return vision.encode_image(clip_pixels(picture), crop=False).penultimate_hidden_states.float().cpu()

    return see


def load_text(path: Path) -> Callable[[str], Tensor]:
    """Return what makes [1, rows, width] of a prompt."""
    clip = comfy.sd.load_clip([_checked(path)], clip_type=comfy.sd.CLIPType.WAN)

    @torch.no_grad()
    def read(prompt: str) -> Tensor:
        return clip.encode_from_tokens(clip.tokenize(prompt)).float().cpu()

    return read


def no_vision() -> Encode:
    """Return what sees nothing: the miniature has no CLIP vision."""
    return lambda picture: torch.zeros(len(picture), *VISION)


def miniature_text() -> Callable[[str], Tensor]:
    """Return what makes [1, rows, width] of a prompt for the miniature."""
    return lambda prompt: prompt_vectors(prompt)[None]


def _checked(path: Path) -> str:
    if not path.is_file() or path.suffix != SUFFIX:
        raise ValueError(f"{path} is not there or is no {SUFFIX} file; other formats can run code. Name another file.")
    return str(path)
