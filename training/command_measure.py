"""The verbs that come after training: the shipped files, the sample, the set of pairs, metrics."""

import argparse
import json
from pathlib import Path

from ..media.log import logger
from .evaluation.kept import evaluation_folder
from .evaluation.long_video import measure_long
from .evaluation.pairs import FRAMES, make_pairs
from .evaluation.results import FOLDER, write_results
from .evaluation.run import evaluate, load_system
from .evaluation.xdance_set import write_set
from .export import export
from .pipeline import SIZE, Work
from .sample import write_sample

PAIRS, SET_SIZE = 64, 384
SHIPPED = "stage3"


def add_measures(verbs) -> None:
    """Add the verbs to a parser's."""
    for name, (run, purpose) in VERBS.items():
        verb = verbs.add_parser(name, help=purpose)
        verb.add_argument("work", type=Path, help="the folder in which everything was made")
        verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
        verb.add_argument("--stage", default=SHIPPED, help="whose weights: %(default)s")
        verb.add_argument("--pairs", type=int, default=PAIRS, help="how many pairs: %(default)s")
        verb.add_argument("--only", nargs="*", default=[], help="names of variants, else all whose weights are there")
        verb.add_argument("--output", type=Path, help="another folder for the result")
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
    folder = options.output or evaluation_folder(work, options.pairs)
    logger.info("%s", evaluate(work, options.pairs, folder, tuple(options.only)))


def _results(work: Work, options: argparse.Namespace) -> None:
    for path in write_results(work, options.output or FOLDER):
        logger.info("%s", path)


def _long(work: Work, options: argparse.Namespace) -> None:
    metrics, _ = measure_long(load_system(work, options.stage), SIZE)
    logger.info("%s", json.dumps(metrics))


VERBS = {
    "export": (_export, "write the shipped files of model, VAE and prompts"),
    "sample": (_sample, "write the sample: photo, driving video, skeletons"),
    "set": (_set, "write the pairs of different people in X-Dance's layout"),
    "evaluate": (_evaluate, "baselines, ablations and the shipped pipeline on pairs with a true answer"),
    "results": (_results, "write rows, tables and pictures of training/results from what was evaluated"),
    "long": (_long, "a long video in windows: seams, first frame, truth"),
}
