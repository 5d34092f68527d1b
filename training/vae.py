"""The miniature Wan VAE: ComfyUI's own class at a small width, trained from nothing on the drawn world.

The full VAE is what SteadyDancer takes as given; nothing here is from its paper. Our choices: Charbonnier loss, a
little squared error for the PSNR, edges for the thin lines, up to seven times the weight on pixels that change, since
most of a clip stands still and limbs fade unnoticed, three times the weight on a first frame since it carries the
photo, noise on the latent while training so that a diffusion model's small errors are not seen, and a weak pull of
the latent towards zero. Muon for the kernels: after 200 steps on small cuts the loss was 0.28 with it, at a rate of
0.002, and 0.45 with AdamW at 0.001. The file is made so that the stock loader runs exactly what was trained.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from comfy.ldm.wan.vae import WanVAE
from torch import Tensor, nn

from ..media.atomic_write import atomic_write
from ..media.frame_size import latent_frames
from ..media.frames import video_to_uint8
from . import vae_whole
from .loop import Plan, never, train
from .processes import own_device, processes
from .vae_file import as_video, folded, latent_statistics, photo_then_gray, reconstruction, stock_vae, vae_file

WIDTH = 16
HELD = 16  # clips at the end of the files that are never trained on
STATISTICS_CLIPS = 32
FILE, METRICS = "vae.safetensors", "metrics.json"
WHOLE = 4096  # pixels, more than any frame has


class Crop(NamedTuple):
    """A cut of clips: how many, frames x size x size, at most the whole picture, and how often it is drawn."""

    count: int
    frames: int
    size: int
    weight: float


# From a fraction of the steps on: single frames, short and small clips, then mostly whole pictures of 17 frames.
CROPS = {
    0.0: (Crop(8, 1, 64, 0.7), Crop(2, 1, WHOLE, 0.3)),
    0.08: (Crop(3, 1, WHOLE, 0.15), Crop(3, 5, 64, 0.35), Crop(2, 9, 64, 0.35), Crop(1, 9, WHOLE, 0.15)),
    0.35: (Crop(6, 1, WHOLE, 0.1), Crop(1, 9, WHOLE, 0.1), Crop(1, 17, WHOLE, 0.75), Crop(1, 33, WHOLE, 0.05)),
}
KINDS = {"character": 0.5, "skeleton": 0.4, "photo, then gray": 0.1}
FIRST_FRAME_WEIGHT = 3.0
MOTION_WEIGHT = 6.0  # of a pixel that moves, above the 1 of a pixel that stands still
MOTION_RANGE = 0.5  # of -1..1: the change from which on a pixel has all of that
MOTION_REACH = 3  # pixels: the side of the square around a pixel whose changes count
NOISE = 0.03  # of each latent channel's standard deviation
PULL = 1e-4
CHARBONNIER = 0.1
SQUARED, EDGES = 2.0, 0.1


def default_plan(steps: int = 2200) -> Plan:
    """Return the plan of the miniature's VAE, for two processes."""
    return Plan(
        steps=steps,
        learning_rate=1.5e-3,
        batch_size=1,
        warmup=200,
        floor=0.02,
        optimizer="muon",
        weight_decay=0.0,
        ema_decay=0.998,
        precision="bf16",
        checkpoint_every=100,
        picture_every=500,
    )


def fresh_vae(width: int = WIDTH, seed: int = 0) -> WanVAE:
    """Return a stock VAE with seeded weights that treats each frame alone: of the taps in time only the last is set.

    Residual blocks start near the identity; halving in time keeps the last frame, doubling repeats it.
    """
    vae, generator = stock_vae(width), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            parameter.requires_grad_(True)
            parameter.fill_(1.0 if name.endswith("gamma") else 0.0)
            if "time_conv.weight" in name:
                copies = len(parameter) // parameter.shape[1]
                parameter[:, :, -1, 0, 0] = torch.eye(parameter.shape[1]).repeat(copies, 1)
            elif name.endswith("weight"):
                last = parameter[:, :, -1] if parameter.ndim == 5 else parameter
                # SiLU takes away two thirds of the variance
                gain = 1.6 if "residual.2." in name or "head.2." in name else 1.0
                if name.endswith("residual.6.weight") or "middle.1.proj" in name:
                    gain = 0.3
                last.copy_(gain * _orthogonal(last.shape, generator))
    return vae


def _orthogonal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return random weights whose rows, or columns where there are fewer, are orthogonal and of length 1."""
    rows, columns = shape[0], math.prod(shape[1:])
    basis = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns), generator=generator))[0]
    return (basis if rows >= columns else basis.T).reshape(shape)


class VaeModule(nn.Module):
    """The VAE with its loss."""

    def __init__(self, vae: WanVAE):
        super().__init__()
        self.vae = vae

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss and its parts for a batch: video float [B, 3, F, H, W] in -1..1, noise like its latent."""
        video = batch["video"].contiguous(memory_format=torch.channels_last_3d)
        latent = vae_whole.encode(self.vae, video).float()
        spread = latent.detach().std(dim=(0, 2, 3, 4), keepdim=True)
        back = vae_whole.decode(self.vae, latent + NOISE * spread * batch["noise"]).float()
        # a single frame does not meet these, and every process must use every weight in every step
        unused = sum(weight.sum() for name, weight in self.vae.named_parameters() if "time_conv" in name)
        return losses(back, batch["video"], latent, 0.0 * unused)


def losses(back: Tensor, video: Tensor, latent: Tensor, unused: Tensor | float = 0.0) -> dict[str, Tensor]:
    """Return the loss of a video [B, 3, F, H, W] that came back, and what it consists of."""
    weight = pixel_weights(video)
    error = back - video
    square = error.square()
    charbonnier = (((square + CHARBONNIER**2).sqrt() - CHARBONNIER) * weight).mean()
    squared = (square * weight).mean()
    edges = (error.diff(dim=-1).abs() * weight[..., 1:]).mean() + (error.diff(dim=-2).abs() * weight[..., 1:, :]).mean()
    pull = latent.square().mean()
    loss = charbonnier + SQUARED * squared + EDGES * edges + PULL * pull + unused
    return {"loss": loss, "charbonnier": charbonnier, "squared": squared, "edges": edges, "latent square": pull}


def pixel_weights(video: Tensor) -> Tensor:
    """Return what each pixel of a video [B, 3, F, H, W] counts, [B, 1, F, H, W] with a mean of 1.

    It grows with the largest distance of a channel from the pixel's mean over time, there and around it, up to
    1 + MOTION_WEIGHT; a first frame has FIRST_FRAME_WEIGHT times as much.
    """
    change = (video - video.mean(dim=2, keepdim=True)).abs().amax(dim=1)  # [B, F, H, W]
    change = F.max_pool2d(change, MOTION_REACH, stride=1, padding=MOTION_REACH // 2)
    weight = 1 + MOTION_WEIGHT * (change / MOTION_RANGE).clamp(max=1)
    weight[:, 0] *= FIRST_FRAME_WEIGHT
    return (weight / weight.mean()).unsqueeze(1)


class VaeTask:
    """Random cuts of the drawn world's clips and skeletons.

    clips, poses: .npy files, uint8 [N, F, S, S, 3] of the same shape, N over HELD, F 33 or more, S a multiple of 8.
    Raises ValueError where they are not.
    """

    fill = None

    def __init__(self, clips: Path, poses: Path, plan: Plan, width: int = WIDTH):
        self.clips: Any
        self.poses: Any
        self.clips, self.poses = (np.load(path, mmap_mode="r") for path in (clips, poses))
        shape, longest = self.clips.shape, max(crop.frames for crops in CROPS.values() for crop in crops)
        fits = len(shape) == 5 and shape[0] > HELD and shape[1] >= longest and shape[2] % 8 == 0
        if not (fits and shape == self.poses.shape and self.clips.dtype == self.poses.dtype == np.uint8):
            raise ValueError(
                f"Found clips {self.clips.dtype} {list(shape)} and skeletons {self.poses.dtype} "
                f"{list(self.poses.shape)}; both must be uint8 [N, F, S, S, 3] of the same shape with N over {HELD}, "
                f"F of {longest} or more and S a multiple of 8. Render both files again."
            )
        self.plan, self.module = plan, VaeModule(fresh_vae(width, plan.seed))
        device = own_device()
        if device.type != "cpu":  # where cutting them costs next to nothing
            self.clips, self.poses = (
                torch.from_numpy(np.array(files)).to(device) for files in (self.clips, self.poses)
            )

    def batch(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return "video" float [B, 3, F, H, W] in -1..1 and "noise" like its latent; one shape for all."""
        begun = max(start for start in CROPS if step >= start * self.plan.steps)
        crop = CROPS[begun][_draw([crop.weight for crop in CROPS[begun]], generator)]
        size = min(crop.size, self.clips.shape[2])
        count = crop.count * self.plan.batch_size
        video = torch.cat([self._sample(crop.frames, size, generator) for _ in range(count)])
        latent = count, 16, latent_frames(crop.frames), size // 8, size // 8
        return {"video": video, "noise": torch.randn(latent, generator=generator)}

    def _sample(self, frames: int, size: int, generator: torch.Generator) -> Tensor:
        kind = list(KINDS)[_draw(list(KINDS.values()), generator)]
        source = self.poses if kind == "skeleton" else self.clips
        count, length, height, width = source.shape[:4]
        clip, start, top, left, flip = (
            int(torch.randint(high, (), generator=generator))
            for high in (count - HELD, length - frames + 1, height - size + 1, width - size + 1, 2)
        )
        cut = source[clip, start : start + frames, top : top + size, left : left + size]
        video = as_video(cut[None])
        video = video.flip(-1) if flip else video
        return photo_then_gray(video) if kind == "photo, then gray" else video

    def validate(self) -> dict[str, float]:
        """Return nothing: METRICS, measured at the end, says how good the VAE is."""
        return {}

    def pictures(self, _step: int) -> dict[str, np.ndarray]:
        """Return rows of first and last frames of held-out clips, each above what the VAE makes of it."""
        pairs = [(clips[-1 - i], clips[-2 - i]) for i in (0, 2) for clips in (self.clips, self.poses)]
        videos = torch.cat([as_video(clip[None, :9]) for pair in pairs for clip in pair])
        device = next(self.module.parameters()).device
        back = vae_whole.decode(self.module.vae, vae_whole.encode(self.module.vae, videos.to(device)))
        rows = []
        for frame in (0, -1):
            for video in (videos, back.float().cpu()):
                rows.append(np.concatenate(list(video_to_uint8(video[:, :, frame].movedim(1, -1))), axis=1))
        return {"reconstruction": np.concatenate(rows)}


def _draw(weights: list[float], generator: torch.Generator) -> int:
    return int(torch.multinomial(torch.tensor(weights), 1, generator=generator))


def train_vae(
    folder: Path,
    clips: Path,
    poses: Path,
    plan: Plan | None = None,
    width: int = WIDTH,
    stop: Callable[[], bool] = never,
) -> Path:
    """Train a VAE in `folder` on two .npy files (see VaeTask), or go on with it; return its safetensors file.

    Beside it lies metrics.json with the reconstruction metrics. stop: see train. Raises ValueError as VaeTask and the
    loop do.
    """
    folder, plan = Path(folder), plan or default_plan()
    task, path = VaeTask(clips, poses, plan, width), folder / FILE
    trained = {
        name.removeprefix("vae."): tensor.float() for name, tensor in train(task, plan, folder, stop=stop).items()
    }
    if processes().is_main_process:
        count = min(STATISTICS_CLIPS, len(task.clips) - HELD)
        state = folded(trained, *latent_statistics(trained, task.clips[:count], task.poses[:count], own_device()))
        facts = {"width": str(width), "steps": str(plan.steps), "seed": str(plan.seed)}
        with atomic_write(path) as part:
            part.write_bytes(vae_file(state, facts))
        halves = {key: tensor.half() for key, tensor in state.items()}
        metrics = reconstruction(halves, clips, poses, device=own_device())
        results = {"metrics": metrics, "plan": asdict(plan), "width": width}
        with atomic_write(folder / METRICS) as part:
            part.write_bytes(json.dumps(results, indent=2).encode())
    processes().wait_for_everyone()
    return path
