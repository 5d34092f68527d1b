"""The pipeline from nothing to the shipped files, step by step, each in its own folder below one work folder.

    world/   frames and skeletons for the VAE       store/, held/   latents for training and for pictures on the way
    vae/     the miniature VAE                      base/ .. stage3/  the stages; each ends in weights.safetensors

A step whose result is there is not done again; one that was killed goes on.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from comfy.latent_formats import Wan21
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..media.atomic_write import atomic_write
from ..media.log import logger
from ..steadydancer_core.model.transformer import SteadyDancerWanModel
from . import checkpoints, vae_whole
from .batches import Batches, conditions
from .clip_rows import ClipRows
from .flow import Batch
from .latents import CLIP, PHOTO, POSE, TEXT, Store, encoded
from .loop import never, train
from .network import POSE_PARTS, SMALL, Scale, Size, add_pose, allow_gradients, base_part, build, initialize
from .processes import own_device, processes
from .prompts import NEGATIVE, prompt_vectors
from .stages import STAGES, Stage
from .start import fingerprint, start_of
from .tasks import StageTask
from .vae_file import loaded_vae
from .world.pixels import make_one
from .world.store import HELD_OUT

FRAMES = 33
PREVIEW_CLIPS, PREVIEW_LENGTH = 3, 5
LOG_EVERY = 100  # clips
WEIGHTS = "weights.safetensors"
BEFORE = {"stage1": "base", "stage2": "stage1", "stage2_plain": "stage1", "stage3": "stage2"}


@dataclass(frozen=True)
class Work:
    """A work folder, the VAE file that its stores are made with, and how large a miniature is made in it."""

    folder: Path
    scale: Scale = SMALL

    @property
    def vae_file(self) -> Path:
        return self.folder / "vae" / "vae.safetensors"

    def weights(self, name: str) -> Path:
        """Return where the result of a stage lies."""
        return self.folder / name / WEIGHTS


def write_stores(work: Work, count: int, held: int = 64, workers: int = 2) -> None:
    """Encode `count` training clips and `held` held-out ones, or go on. ValueError: begun with another count or VAE.

    workers: processes that draw, and on a processor encode too.
    """
    for name, seeds in (("held", range(HELD_OUT, HELD_OUT + held)), ("store", range(count))):
        facts = {"clips": len(seeds), "vae": fingerprint(work.vae_file)}
        rows = ClipRows(work.folder / name, len(seeds), facts)
        if rows.done:
            continue
        left = seeds[len(rows.clips) :]
        for seed, arrays in zip(left, _encoded(work, left, workers), strict=True):
            rows.add(str(seed), arrays)
            if len(rows.clips) % LOG_EVERY == 0:
                logger.info("%s: %d of %d clips are encoded", name, len(rows.clips), len(seeds))
        rows.finish()


def _encoded(work: Work, seeds: range, workers: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of the clips of these seeds; each worker works on one thread."""
    draw = partial(make_one, frames=FRAMES, size=work.scale.pixels)
    one = partial(encode_seed, work.vae_file, work.scale.pixels)
    device = own_device()
    if workers < 2:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        if device.type == "cpu":
            yield from pool.map(one, seeds, chunksize=4)
            return
        vae = loaded_vae(load_file(work.vae_file)).to(device)
        for pixels in pool.map(draw, seeds, chunksize=4):
            yield encoded(pixels, partial(to_latent, vae))


def encode_seed(vae_file: Path, size: int, seed: int) -> dict[str, np.ndarray]:
    """Return the arrays of the training clip of one seed, encoded on the processor."""
    return encoded(make_one(seed, FRAMES, size), partial(to_latent, _worker_vae(vae_file)))


@lru_cache(maxsize=1)
def _worker_vae(vae_file: Path):
    return loaded_vae(load_file(vae_file))


@torch.no_grad()
def to_latent(vae, frames: Tensor) -> Tensor:
    """Return frames [B, 3, F, H, W] in -1..1 as latents in model space, made on the VAE's device."""
    device = next(vae.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        latent = vae_whole.encode(vae, frames.to(device))
    return Wan21().process_in(latent.float().cpu())


@torch.no_grad()
def to_frames(vae, latent: Tensor) -> Tensor:
    """Return latents in model space as frames [B, 3, F, H, W] in -1..1."""
    with torch.autocast("cpu", torch.bfloat16):
        return vae_whole.decode(vae, Wan21().process_out(latent)).float()


def run_stage(
    work: Work,
    name: str,
    steps: int = 0,
    before: str = "",
    output: str = "",
    fast: bool = False,
    stop: Callable[[], bool] = never,
) -> Path:
    """Train a stage of the miniature, or go on with it, and return its weights' file.

    steps other than 0 replaces the table's; before is the stage whose weights it starts from, output the folder; stop:
    see train.
    """
    stage, path = STAGES[name], work.weights(output or name)
    before = before or BEFORE.get(name, "")
    if is_done(path):
        return path
    plan = replace(stage.miniature.plan, steps=steps) if steps else stage.miniature.plan
    origin = origin_of(work, stage, before, path.parent)
    teacher = None if stage.loss == "flow" else trained_stage(work, "base")
    task = prepare(work, stage, origin, plan.seed, fast)
    start = start_of(origin, [cast(Batches, task.batches).store], teacher)
    result = task.result(train(task, plan, path.parent, start, stop))
    if processes().is_main_process:
        with atomic_write(path) as part:
            save_file({name: tensor.contiguous() for name, tensor in result.items()}, part)
    processes().wait_for_everyone()
    return path


def is_done(weights: Path) -> bool:
    """Return whether a stage's result is there, and log it: then it is not trained, whatever the number of steps."""
    if weights.exists():
        logger.info(
            "%s is there already. Delete it to go on with more steps; delete its folder to train again.", weights
        )
    return weights.exists()


def origin_of(work: Work, stage: Stage, before: str, folder: Path) -> Path | None:
    """Return the weights that a stage starts from, None for fresh ones. ValueError: they are not there.

    A stage that trains all weights needs them no more once `folder` has a checkpoint.
    """
    if not before:
        return None
    if not work.weights(before).exists() and not stage.miniature.rank and checkpoints.complete(folder):
        return None
    return trained_stage(work, before)


def trained_stage(work: Work, name: str) -> Path:
    """Return the weights of a stage. ValueError: it was not trained."""
    path = work.weights(name)
    if not path.exists():
        raise ValueError(f"There is no {path}. Train '{name}' first, or name another stage with --before.")
    return path


def prepare(work: Work, stage: Stage, origin: Path | None, seed: int, fast: bool = False) -> StageTask:
    """Return the task of a stage of the miniature."""
    allow_gradients()
    vae = loaded_vae(load_file(work.vae_file))
    negative, blank = prompt_vectors(NEGATIVE), blank_pose(vae, work.scale.pixels)
    cuts = stage.miniature.cuts.larger(work.scale.batches)
    held = Store(work.folder / "held")
    batches, validation = (Batches(store, cuts, negative, blank) for store in (Store(work.folder / "store"), held))
    teacher = None
    if stage.loss != "flow":
        teacher = build(work.scale.network, pose=False)
        teacher.load_state_dict(load_file(work.weights("base")))
    shown = preview_batch(held, PREVIEW_CLIPS, slice(PREVIEW_LENGTH))
    preview = shown, partial(to_frames, vae)
    network = starting_network(stage, origin, seed, work.scale.network)
    return StageTask(stage, stage.miniature, network, batches, teacher, preview, seed=seed, fast=fast, held=validation)


def starting_network(stage: Stage, origin: Path | None, seed: int, size: Size) -> torch.nn.Module:
    """Return the stage's network with the weights of the stage before, None for fresh ones."""
    network = build(size, stage.pose)
    if origin is None:
        initialize(network, seed)
        return network
    state = load_file(origin)
    if isinstance(network, SteadyDancerWanModel) and not any(key.startswith(POSE_PARTS) for key in state):
        add_pose(network, base_part(state), seed)
    else:
        network.load_state_dict(state)
    return network


def blank_pose(vae, pixels: int) -> Tensor:
    """Return the latent of a square picture without anybody, [1, 16, 1, h, w] in model space."""
    return to_latent(vae, -torch.ones(1, 3, 1, pixels, pixels))


def preview_batch(store: Store, count: int, frames: slice) -> Batch:
    """Return these frames of the first clips of a store as a batch without noise."""
    rows = np.arange(count)
    batch = conditions(store.take(PHOTO, rows), store.take(POSE, rows), frames)
    batch |= {name: store.take(name, rows) for name in store.features}
    return batch | {"clean": store.take(CLIP, rows)[:, :, frames], "text": store.take(TEXT, rows)}
