"""The verbs that come after training: the shipped files, the sample, the set of pairs, metrics."""

import argparse
import json
import sys
from pathlib import Path

from ..media.log import logger
from .evaluation.comparison import compare
from .evaluation.kept import evaluation_folder
from .evaluation.long_video import measure_long
from .evaluation.model_files import FINAL, ModelFiles
from .evaluation.pairs import FRAMES, make_pairs
from .evaluation.results import FOLDER, table, write_results
from .evaluation.run import evaluate, load_system
from .evaluation.sweep import HEAD, SCALES, SHIFTS, STEPS, WINDOWS, sweep
from .evaluation.worlds import NEW, WORLDS
from .evaluation.xdance_set import write_set
from .export import export
from .pipeline import Work
from .sample import write_sample

PAIRS, SET_SIZE = 64, 384


def add_measures(verbs) -> None:
    """Add the verbs to a parser's."""
    for name, (run, purpose) in VERBS.items():
        verb = verbs.add_parser(name, help=purpose)
        verb.add_argument("work", type=Path, help="the folder in which everything was made")
        verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
        verb.add_argument("--stage", default=FINAL, help="whose weights: %(default)s")
        verb.add_argument("--pairs", type=int, default=PAIRS, help="how many pairs: %(default)s")
        verb.add_argument("--only", nargs="*", default=[], help="names of variants, else all whose weights are there")
        verb.add_argument("--output", type=Path, help="another folder for the result")
        if name in ("evaluate", "sweep", "results", "long"):
            verb.add_argument("--world", choices=WORLDS, default=NEW.name, help="whose pairs: %(default)s")
        if name in ("evaluate", "sweep", "compare", "long"):
            verb.add_argument("--model", type=Path, help="measure this model file, not WORK's result; needs --vae")
            verb.add_argument("--vae", type=Path, help="the VAE file of --model")
        if name == "sweep":
            verb.add_argument("--steps", type=int, nargs="+", default=STEPS, help="%(default)s")
            verb.add_argument("--shifts", type=float, nargs="+", default=SHIFTS, help="%(default)s")
            verb.add_argument("--windows", type=_window, nargs="+", default=WINDOWS, help="START-END, such as 0.1-0.4")
            verb.add_argument("--scales", type=float, nargs="+", default=SCALES, help="of pose guidance: %(default)s")
        verb.set_defaults(run=run)


def _export(work: Work, options: argparse.Namespace) -> None:
    for path in export(work.weights(options.stage), work.vae_file, options.output or work.folder / "shipped"):
        logger.info("%s: %d bytes", path, path.stat().st_size)


def _sample(work: Work, options: argparse.Namespace) -> None:
    write_sample(options.output or work.folder / "shipped")


def _set(work: Work, options: argparse.Namespace) -> None:
    table = write_set(options.output or work.folder / "xdance", make_pairs(options.pairs, FRAMES, SET_SIZE))
    command = "python -m evaluation.farm %s %s --pairs %s --workflow workflows/dance_from_video.json"
    logger.info(command, table.parent, table.parent, table)


def _evaluate(work: Work, options: argparse.Namespace) -> None:
    world = WORLDS[options.world]
    folder = options.output or evaluation_folder(work, options.pairs, world)
    logger.info("%s", evaluate(_measured(work, options), options.pairs, folder, tuple(options.only), world))


def _sweep(work: Work, options: argparse.Namespace) -> None:
    world, system = WORLDS[options.world], load_system(_measured(work, options), options.stage)
    pairs = make_pairs(options.pairs, FRAMES, world.size, world=world)
    lines = sweep(system, pairs, options.steps, options.shifts, options.windows, options.scales)
    sys.stdout.write(f"{table(HEAD, lines)}\n")


def _compare(work: Work, options: argparse.Namespace) -> None:
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
    return ModelFiles(work.folder, options.model, options.vae)


def _window(text: str) -> tuple[float, float]:
    start, _, end = text.partition("-")
    try:
        return float(start), float(end)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no window; write START-END, such as 0.1-0.4.") from None


def _results(work: Work, options: argparse.Namespace) -> None:
    for path in write_results(work, options.output or FOLDER, WORLDS[options.world]):
        logger.info("%s", path)


def _long(work: Work, options: argparse.Namespace) -> None:
    world = WORLDS[options.world]
    metrics, _ = measure_long(load_system(_measured(work, options), options.stage), world.size, world=world)
    logger.info("%s", json.dumps(metrics))


VERBS = {
    "export": (_export, "write the shipped files of model, VAE and prompts"),
    "sample": (_sample, "write the sample: photo, driving video, skeletons"),
    "set": (_set, "write the pairs of different people in X-Dance's layout"),
    "evaluate": (_evaluate, "baselines, ablations and the shipped pipeline on pairs with a true answer"),
    "sweep": (_sweep, "steps, shift, window and scale of pose guidance on pairs, as a table"),
    "compare": (_compare, "WORK's result and the files of --model and --vae on the pairs of both drawn worlds"),
    "results": (_results, "write rows, tables and pictures of training/results from what was evaluated"),
    "long": (_long, "a long video in windows: seams, first frame, truth"),
}
