"""Baselines, ablations and the shipped pipeline on the same pairs and noise: metrics, a table, a plot, contact sheets.

Every variant's metrics are kept beside the report as soon as they are there; a run that was stopped goes on, and what
was measured with other weights, another VAE or another number of pairs is measured again.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ...evaluation.evaluation_report import report_files, write_report
from ...media.atomic_write import atomic_write
from ...media.file_hash import file_sha256
from ...media.log import logger
from ...steadydancer_core.sampling.presets import Settings
from ..export import model_file
from ..pipeline import Work
from .baselines import BASELINES, Baseline
from .gates import measured_gates
from .kept import SHEET_PAIRS, Rows, kept_clips, kept_rows, key_of
from .metrics import means
from .model_files import ModelFiles
from .pairs import FRAMES, KINDS, Pair, make_pairs
from .result_pictures import bars
from .system import SETTINGS, System
from .variants import SHIPPED, VARIANTS, Variant, command_for
from .worlds import NEW, World

SHEET_EVERY = 4
OF = "of"  # in the metadata of rounded weights: the sha256 of those that they were rounded from


def evaluate(work: Work, count: int, folder: Path, names: tuple[str, ...] = (), world: World = NEW) -> Path:
    """Measure the baselines and the named variants, or all, on `count` pairs; return the Markdown report.

    What lacks its weights is left out, and the log says how they are made; it also says which gates are reached.
    ValueError: no such variant, no VAE.
    """
    known = [one.name for one in (*BASELINES, *VARIANTS)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"There is no variant {unknown[0]!r}. There are: {', '.join(known)}.")
    if not work.vae_file.exists():
        raise ValueError(f"{work.vae_file} is not there. It is made by: {command_for('vae', str(work.folder))}")
    folder.mkdir(parents=True, exist_ok=True)
    pairs, results = make_pairs(count, FRAMES, world.size, world=world), {}
    for one in (*BASELINES, *(variant for variant in VARIANTS if not names or variant.name in names)):
        if one.weights and not work.weights(one.weights).exists():
            command = command_for(one.weights, str(work.folder))
            logger.warning("%s is left out, its weights are not there. They are made by: %s", one.name, command)
            continue
        weights = work.weights(one.weights) if one.weights else None
        key = key_of(count, weights, work.vae_file if isinstance(one, Variant) or one.vae else None, world)
        make = one.clips if isinstance(one, Baseline) else partial(variant_clips, one)
        results[one.name] = kept_rows(folder, one.name, key, pairs, partial(make, work, pairs))
        logger.info("%s: %s", one.name, means(results[one.name]))
    for gate in measured_gates(results[SHIPPED.name]) if SHIPPED.name in results else ():
        logger.info("%s: at least %s, found %s: %s", *gate)
    return _report(results, pairs, folder)


def variant_clips(variant: Variant, work: Work, pairs: list[Pair]) -> list[np.ndarray]:
    """Return the clips that the variant makes of the pairs, uint8 [F, H, W, 3] each."""
    system = load_system(work, variant.weights, variant.settings)
    with zeroed(system.model.model.diffusion_model, variant.zeroed):
        return system.run(pairs, [variant.poses(pair) for pair in pairs])


def load_system(work: Work, stage: str, settings: Settings = SETTINGS) -> System:
    """Return the pipeline with a stage's weights, rounded as they are shipped."""
    if isinstance(work, ModelFiles):
        return System(work.weights(stage), work.vae_file, settings)
    weights, file = work.weights(stage), work.folder / stage / "shipped.safetensors"
    of, rounded_from = file_sha256(weights), None
    with suppress(OSError, SafetensorError), safe_open(file, "pt") as opened:
        rounded_from = (opened.metadata() or {}).get(OF)
    if rounded_from != of:
        with atomic_write(file) as part:
            part.write_bytes(model_file(load_file(weights), {OF: of}))
    return System(file, work.vae_file, settings)


@contextmanager
def zeroed(network: torch.nn.Module, names: tuple[str, ...]) -> Generator[None]:
    """Let modules put out zeros."""

    def zeros(_module: torch.nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        return torch.zeros_like(output)

    hooks = [network.get_submodule(name).register_forward_hook(zeros) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _report(results: dict[str, Rows], pairs: list[Pair], folder: Path) -> Path:
    rows = [{"name": name, **means(rows)} for name, rows in results.items()]
    kinds = {kind: [i for i, pair in enumerate(pairs) if pair.misalignment == kind] for kind in KINDS}
    grouped = [
        {"name": name, "group": kind, **means([rows[i] for i in own])}
        for kind, own in kinds.items()
        if own
        for name, rows in results.items()
    ]
    write_report(folder / "kinds", report_files("Miniature by kind of misalignment", grouped))
    pictures = {"Metrics": bars(results), "Clips": contact_sheet(results, pairs, folder)}
    return write_report(folder, report_files("Miniature on pairs with ground truth", rows, pictures))[1]


def contact_sheet(results: dict[str, Rows], pairs: list[Pair], folder: Path) -> np.ndarray:
    """Return for some pairs: photo, driver, truth and then each result, uint8 [H, W, 3]."""
    clips = {name: kept_clips(folder, name) for name in results}
    rows = []
    for index, pair in enumerate(pairs[:SHEET_PAIRS]):
        shown = [pair.driver.frames, pair.truth.frames, *(clip[index] for clip in clips.values())]
        strips = [np.concatenate(list(frames[::SHEET_EVERY]), axis=1) for frames in shown]
        rows.append(np.concatenate(strips))
    return np.concatenate(rows, axis=1)
