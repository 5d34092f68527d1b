"""What the miniature is held against: no motion at all, no skeleton, and the most that its VAE lets through."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from comfy.ldm.wan.vae import WanVAE
from safetensors.torch import load_file
from torch import Tensor

from ...media.frames import to_float, video_to_uint8
from ..batches import conditions
from ..flow import Velocity, sample
from ..network import build
from ..pipeline import Work, to_frames, to_latent
from ..prompts import POSITIVE, prompt_vectors
from ..vae_file import as_video, loaded_vae
from .pairs import Pair
from .system import NOISE_SEED, STEPS

WITHOUT_POSE = "base without pose"


@dataclass(frozen=True)
class Baseline:
    """One column of a table. weights: the stage whose result is used, if any; vae: whether the VAE is."""

    name: str
    clips: Callable[[Work, list[Pair]], list[np.ndarray]]
    weights: str = ""
    vae: bool = True


def photo_repeated(pair: Pair) -> np.ndarray:
    """Return the photo as long as the truth, uint8 [F, H, W, 3]."""
    return np.repeat(pair.photo[None], len(pair.truth.frames), axis=0)


def vae_alone(vae: WanVAE, pair: Pair) -> np.ndarray:
    """Return the truth encoded and decoded, uint8 [F, H, W, 3]: the most that a network before this VAE can reach."""
    return _pictures(to_frames(vae, to_latent(vae, as_video(pair.truth.frames[None]))))


def _pictures(video: Tensor) -> np.ndarray:
    """Return one video [1, 3, F, H, W] in -1..1 as uint8 [F, H, W, 3]."""
    return video_to_uint8(video[0].movedim(0, -1))


def photos(pairs: list[Pair]) -> list[np.ndarray]:
    """Return the photo of each pair, repeated."""
    return [photo_repeated(pair) for pair in pairs]


def _through_the_vae(work: Work, pairs: list[Pair]) -> list[np.ndarray]:
    vae = loaded_vae(load_file(work.vae_file))
    return [vae_alone(vae, pair) for pair in pairs]


@torch.no_grad()
def _by_the_base(work: Work, pairs: list[Pair]) -> list[np.ndarray]:
    """Return what the base stage makes of the photos."""
    vae, network, clips = loaded_vae(load_file(work.vae_file)), build(work.scale.network, pose=False), []
    network.load_state_dict(load_file(work.weights("base")))
    for pair in pairs:
        photo = torch.full((1, len(pair.truth.frames), *pair.photo.shape), 0.5)
        photo[:, 0] = to_float(pair.photo)
        latent = to_latent(vae, 2 * photo.movedim(-1, 1) - 1)
        batch = conditions(latent, torch.zeros_like(latent), slice(None)) | {"text": prompt_vectors(POSITIVE)[None]}
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
        with torch.autocast("cpu", torch.bfloat16):
            made = sample(Velocity(network, pose=False), batch, noise, STEPS)
        clips.append(_pictures(to_frames(vae, made)))
    return clips


BASELINES = (
    Baseline("VAE alone", _through_the_vae),
    Baseline("photo repeated", lambda _work, pairs: photos(pairs), vae=False),
    Baseline(WITHOUT_POSE, _by_the_base, "base"),
)
