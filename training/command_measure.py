"""What the verbs of `python -m training` do after the stages; their options are in command.py."""

import argparse
import json
import sys

from ..media.log import logger
from .evaluation.choices import FINAL
from .evaluation.comparison import compare
from .evaluation.kept import evaluation_folder
from .evaluation.long_video import measure_long
from .evaluation.model_files import ModelFiles
from .evaluation.pairs import FRAMES, make_pairs
from .evaluation.results import FOLDER, table, write_results
from .evaluation.run import evaluate, load_system
from .evaluation.sweep import HEAD, sweep
from .evaluation.worlds import NEW, WORLDS, World
from .evaluation.xdance_set import write_set
from .export import export
from .pipeline import Work
from .sample import write_sample

SET_SIZE = 384


def run_export(work: Work, options: argparse.Namespace) -> None:
    """Write the shipped files."""
    for path in export(work.weights(options.stage), work.vae_file, options.output or work.folder / "shipped"):
        logger.info("%s: %d bytes", path, path.stat().st_size)


def run_sample(work: Work, options: argparse.Namespace) -> None:
    """Write the sample."""
    write_sample(options.output or work.folder / "shipped")


def run_set(work: Work, options: argparse.Namespace) -> None:
    """Write the pairs as a set on disk."""
    table = write_set(options.output or work.folder / "xdance", make_pairs(options.pairs, FRAMES, SET_SIZE))
    workflow = "workflows/Stage by stage (no download).json"
    command = f'python -m evaluation.farm %s %s --pairs %s --workflow "{workflow}"'
    logger.info(command, table.parent, table.parent, table)


def _world(work: Work, options: argparse.Namespace) -> World:
    """Return the world that the options name, in frames of WORK's size where it is the one trained on."""
    world = WORLDS[options.world]
    return world._replace(size=work.scale.pixels) if world is NEW else world


def run_evaluate(work: Work, options: argparse.Namespace) -> None:
    """Measure baselines, ablations and the shipped pipeline."""
    world = _world(work, options)
    folder = options.output or evaluation_folder(work, options.pairs, world)
    logger.info("%s", evaluate(_measured(work, options), options.pairs, folder, tuple(options.only), world))


def run_sweep(work: Work, options: argparse.Namespace) -> None:
    """Print a table of settings."""
    world, system = _world(work, options), load_system(_measured(work, options), options.stage)
    pairs = make_pairs(options.pairs, FRAMES, world.size, world=world)
    lines = sweep(system, pairs, options.steps, options.shifts, options.windows, options.scales)
    sys.stdout.write(f"{table(HEAD, lines)}\n")


def run_compare(work: Work, options: argparse.Namespace) -> None:
    """Print a comparison in both drawn worlds."""
    measured = _measured(work, options)
    models = {"WORK": work} if work.weights(FINAL).exists() else {}
    if measured is not work:
        models[options.model.stem] = measured
    if not models:
        raise ValueError(f"{work.weights(FINAL)} is not there. Train it, or name files: --model MODEL --vae VAE.")
    folder = options.output or work.folder / f"comparison-{options.pairs}"
    sys.stdout.write(f"{compare(models, options.pairs, folder)}\n")


def _measured(work: Work, options: argparse.Namespace) -> Work:
    """Return what is measured: WORK, or the files that the options name. ValueError: one of them is missing."""
    given = {"--model": options.model, "--vae": options.vae}
    if not any(given.values()):
        return work
    missing = [str(file or name) for name, file in given.items() if not (file and file.is_file())]
    if missing:
        raise ValueError(f"Not found: {', '.join(missing)}. Name both files: --model MODEL --vae VAE.")
    return ModelFiles(folder=work.folder, scale=work.scale, model=options.model, vae=options.vae)


def run_results(work: Work, options: argparse.Namespace) -> None:
    """Write the results page."""
    for path in write_results(work, options.output or FOLDER, _world(work, options)):
        logger.info("%s", path)


def run_long(work: Work, options: argparse.Namespace) -> None:
    """Measure a long video."""
    world = _world(work, options)
    metrics, _ = measure_long(load_system(_measured(work, options), options.stage), world.size, world=world)
    logger.info("%s", json.dumps(metrics))
