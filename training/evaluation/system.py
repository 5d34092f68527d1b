"""The shipped pipeline in one process: alignment, conditions, guided sampling and decoding by the pack's own functions.

Several pairs are sampled as one batch, which ComfyUI's samplers take as they take one. What makes it fast on a CPU
changes a clip by rounding only: the VAE takes whole clips in bfloat16, attention is two plain products, and the CLIP
vision features that the miniature lacks are one row of zeros, which its zero weights map to what 257 rows give.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from node_helpers import conditioning_set_values
from safetensors.torch import load_file
from torch import Tensor

from ...dwpose.edit.align import Request, align
from ...dwpose.edit.augment import augment
from ...dwpose.poses import PoseClip
from ...media.frames import to_float, to_uint8
from ...steadydancer_core.sampling import run as sampling
from ...steadydancer_core.sampling.conditions import CLIP_WIDTH, ClipPair, encode_shared, features_output
from ...steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from ...steadydancer_core.sampling.presets import Settings
from ...steadydancer_core.weights import detection
from ...steadydancer_core.weights.loading import load_model
from .. import vae_whole
from ..network import ATTENTION
from ..prompts import NEGATIVE, POSITIVE, prompt_vectors
from ..vae_file import loaded_vae
from ..world.store import skeletons
from .pairs import Pair

NEGATIVE_SEED, NOISE_SEED, BATCH = 7, 11, 8
STEPS = 12
Conditions = tuple[list, list, list]  # positive, negative, pose-negative
SETTINGS = Settings("Miniature", STEPS, TextGuidance(1.0), PoseGuidance(1.0, 0.1, 0.4), "official dpm++")


class WholeVAE:
    """A VAE file whose `encode` and `decode` take what those of comfy.sd.VAE take, whole clips at once in bfloat16."""

    def __init__(self, file: Path):
        self.network = loaded_vae(load_file(file))

    def encode(self, frames: Tensor) -> Tensor:
        """Return the raw latent [1, 16, T, h, w] of frames [F, H, W, 3] in 0..1."""
        with torch.autocast("cpu", torch.bfloat16):
            return vae_whole.encode(self.network, 2 * frames.movedim(-1, 0)[None] - 1).float()

    def decode(self, latent: Tensor) -> Tensor:
        """Return frames [B, F, H, W, 3] in 0..1 of raw latents [B, 16, T, h, w]."""
        with torch.autocast("cpu", torch.bfloat16):
            video = vae_whole.decode(self.network, latent.float().cpu()).float()
        return (video.movedim(1, -1) / 2 + 0.5).clamp(0, 1)


@dataclass
class System:
    """A model file, loaded as ComfyUI does, and a VAE file."""

    model_file: Path
    vae_file: Path
    settings: Settings = SETTINGS
    dtype: torch.dtype = torch.bfloat16
    model: ModelPatcher = field(init=False)
    vae: WholeVAE = field(init=False)
    passes: int = field(init=False, default=0)  # forward passes of the last run

    def __post_init__(self):
        detection.register()
        self.model = load_model(self.model_file, {"dtype": self.dtype})
        self.model.model_options["transformer_options"].update(ATTENTION)
        self.vae = WholeVAE(self.vae_file)

    @torch.no_grad()
    def run(self, pairs: list[Pair], poses: list[PoseClip]) -> list[np.ndarray]:
        """Return what the photos do, uint8 [F, H, W, 3] each, under these poses (aligned or not)."""
        return self.sample(self.prepare(pairs, poses))

    @torch.no_grad()
    def prepare(self, pairs: list[Pair], poses: list[PoseClip]) -> list[Conditions]:
        """Return the conditions of the pairs, BATCH pairs each; they serve any settings."""
        batches = [slice(start, start + BATCH) for start in range(0, len(pairs), BATCH)]
        return [self.conditions(pairs[batch], poses[batch]) for batch in batches]

    @torch.no_grad()
    def sample(self, prepared: list[Conditions]) -> list[np.ndarray]:
        """Return the clips of these conditions, uint8 [F, H, W, 3] each."""
        out = []
        for positive, negative, pose_negative in prepared:
            empty = {"samples": torch.zeros_like(positive[0][1]["pose_video_latent"])}
            if self.settings.pose.scale == 0:
                pose_negative = None
            latent, report = sampling.run(
                self.model, positive, negative, pose_negative, empty, NOISE_SEED, self.settings
            )
            self.passes = report.log.passes
            out += [self.frames(clip) for clip in latent["samples"].split(1)]
        return out

    def frames(self, latent: Tensor) -> np.ndarray:
        """Return a clip's latent [1, 16, T, h, w] as uint8 frames [F, H, W, 3]."""
        video = self.vae.decode(latent)
        return to_uint8(video.reshape(-1, *video.shape[-3:]))

    def conditions(self, pairs: list[Pair], poses: list[PoseClip]) -> Conditions:
        """Return positive, negative and pose-negative conditionings of a batch."""
        no_clip, each = features_output(torch.zeros(1, 1, CLIP_WIDTH)), []
        for pair, drawn in zip(pairs, poses, strict=True):
            photo, pose, negative_pose = (
                to_float(frames)
                for frames in (pair.photo[None], skeletons(drawn), skeletons(augment(drawn, NEGATIVE_SEED)))
            )
            shared, latent = encode_shared(self.vae, photo, pose, ClipPair(no_clip, no_clip))
            each.append(shared | {"pose_video_latent": latent, "pose_negative": self.vae.encode(negative_pose)})
        tensors = {key: torch.cat([one[key] for one in each]) for key in each[0] if not key.endswith("output")}
        pose_negative = tensors.pop("pose_negative")
        shared = tensors | {key: value for key, value in each[0].items() if key.endswith("output")}
        text = {name: [[prompt_vectors(name)[None].expand(len(pairs), -1, -1), {}]] for name in (POSITIVE, NEGATIVE)}
        positive, negative = (conditioning_set_values(text[name], shared) for name in (POSITIVE, NEGATIVE))
        distorted = shared | {"pose_video_latent": pose_negative}
        return positive, negative, conditioning_set_values(text[POSITIVE], distorted)


def aligned(pair: Pair, mode: str = "robust") -> PoseClip:
    """Return the driver's poses fitted to the photo."""
    height, width = pair.photo.shape[:2]
    return align(pair.photo_poses, pair.driver.poses, Request((width, height), mode)).clip


def shuffled(poses: PoseClip, seed: int) -> PoseClip:
    """Return the poses in another order."""
    return poses.at(np.random.default_rng(seed).permutation(poses.frames))
