"""Baselines, ablations and the shipped road on the same pairs and noise: figures, a table, a plot, contact sheets.

Every variant's figures are kept beside the report as soon as they are there; a run that was stopped goes on, and what
was measured with other weights, another VAE or another number of pairs is measured again.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ...dwpose.detector_files import checksum
from ...steadydancer_core.measures.plots import draw_bars
from ...steadydancer_core.measures.report import write_report
from ..batches import conditions
from ..export import model_file
from ..flow import Velocity
from ..network import MINIATURE, build
from ..pipeline import SIZE, Work, to_frames, to_latent
from ..preview import sample
from ..prompts import POSITIVE, prompt_vectors
from ..vae_file import loaded_vae
from ..whole_file import write_whole
from .figures import means
from .kept import SHEET_PAIRS, Rows, kept_clips, kept_rows, key_of
from .pairs import KINDS, Pair, make_pairs
from .system import NOISE_SEED, STEPS, System
from .variants import VARIANTS, Variant, photo_repeated

FRAMES, SHEET_EVERY = 17, 4
OF = "of"  # in the metadata of rounded weights: the sha256 of those that they were rounded from
PLOTTED = ("first_frame_psnr", "truth_psnr", "pck_all", "pck_hands")
PHOTO_REPEATED = "photo repeated"
BASELINES = (PHOTO_REPEATED, "base without pose")


def evaluate(work: Work, count: int, folder: Path, names: tuple[str, ...] = ()) -> Path:
    """Measure the named variants, or all whose weights are there, on `count` pairs; return the Markdown report."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = make_pairs(count, FRAMES, SIZE)
    results = {}
    for name in BASELINES:
        weights, vae = (None, None) if name == PHOTO_REPEATED else (work.weights("base"), work.vae_file)
        key = key_of(count, weights, vae)
        results[name] = kept_rows(folder, name, key, pairs, partial(_baseline, work, name, pairs))
    for variant in VARIANTS:
        if (names and variant.name not in names) or not work.weights(variant.weights).exists():
            continue
        key = key_of(count, work.weights(variant.weights), work.vae_file)
        results[variant.name] = kept_rows(folder, variant.name, key, pairs, partial(_clips, work, variant, pairs))
        logging.info("%s: %s", variant.name, means(results[variant.name]))
    return _report(results, pairs, folder)


def _clips(work: Work, variant: Variant, pairs: list[Pair]) -> list[np.ndarray]:
    system = load_system(work, variant.weights)
    with zeroed(system.model.model.diffusion_model, variant.zeroed):
        return system.run(pairs, [variant.poses(pair) for pair in pairs], variant.settings)


def load_system(work: Work, stage: str) -> System:
    """Return the road with a stage's weights, rounded as they are shipped."""
    weights, file = work.weights(stage), work.folder / stage / "shipped.safetensors"
    of = checksum(weights)
    if _rounded_from(file) != of:
        write_whole(file, model_file(load_file(weights), {OF: of}))
    return System(file, work.vae_file)


def _rounded_from(file: Path) -> str | None:
    """Return the sha256 of the weights that a file was rounded from, None where it does not tell."""
    try:
        with safe_open(file, "pt") as opened:
            return (opened.metadata() or {}).get(OF)
    except (OSError, SafetensorError):
        return None


@contextmanager
def zeroed(network: torch.nn.Module, names: tuple[str, ...]) -> Iterator[None]:
    """Let modules put out zeros."""
    hooks = [network.get_submodule(name).register_forward_hook(_nothing) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _nothing(module: torch.nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return torch.zeros_like(output)


def _baseline(work: Work, name: str, pairs: list[Pair]) -> list[np.ndarray]:
    if name == PHOTO_REPEATED:
        return [photo_repeated(pair) for pair in pairs]
    vae, network = loaded_vae(load_file(work.vae_file)), build(MINIATURE, pose=False)
    network.load_state_dict(load_file(work.weights("base")))
    return [_without_pose(Velocity(network, pose=False), vae, work, pair) for pair in pairs]


@torch.no_grad()
def _without_pose(velocity: Velocity, vae, work: Work, pair: Pair) -> np.ndarray:
    photo = torch.full((1, FRAMES, *pair.photo.shape), 0.5)
    photo[:, 0] = torch.from_numpy(pair.photo).float() / 255
    latent = to_latent(vae, 2 * photo.movedim(-1, 1) - 1)
    batch = conditions(latent, torch.zeros_like(latent), slice(None)) | {"text": prompt_vectors(POSITIVE)[None]}
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    with torch.autocast("cpu", torch.bfloat16):
        made = sample(velocity, batch, noise, STEPS)
    video = to_frames(vae, made)[0].movedim(0, -1)
    return (127.5 * (video.clamp(-1, 1) + 1)).round().byte().numpy()


def _report(results: dict[str, Rows], pairs: list[Pair], folder: Path) -> Path:
    rows = [{"name": name, **means(rows)} for name, rows in results.items()]
    kinds = {kind: [i for i, pair in enumerate(pairs) if pair.misalignment == kind] for kind in KINDS}
    grouped = [
        {"name": name, "group": kind, **means([rows[i] for i in own])}
        for kind, own in kinds.items() if own for name, rows in results.items()
    ]  # fmt: skip
    write_report(grouped, folder / "kinds", "Miniature by kind of misalignment")
    pictures = {"Figures": draw_bars(rows, PLOTTED), "Clips": contact_sheet(results, pairs, folder)}
    return write_report(rows, folder, "Miniature on pairs with a true answer", pictures)[1]


def contact_sheet(results: dict[str, Rows], pairs: list[Pair], folder: Path) -> np.ndarray:
    """Return for some pairs: photo, driver, truth and then each result, uint8 [H, W, 3]."""
    clips = {name: kept_clips(folder, name) for name in results}
    rows = []
    for index, pair in enumerate(pairs[:SHEET_PAIRS]):
        shown = [pair.driver.frames, pair.truth.frames, *(clip[index] for clip in clips.values())]
        strips = [np.concatenate(list(frames[::SHEET_EVERY]), axis=1) for frames in shown]
        rows.append(np.concatenate(strips))
    return np.concatenate(rows, axis=1)
