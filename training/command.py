"""`python -m training VERB WORK`: the steps of pipeline.py by name, and those of whole models (command_full.py)."""

import argparse
import logging
import os
import sys
from pathlib import Path

from ..media.log import logger
from .command_full import add_full_options, add_full_verbs, run_full_stage
from .command_measure import add_measures
from .pipeline import FRAMES, SIZE, Work, run_stage, write_stores
from .snapshot import DEFAULT, restore, write_snapshot
from .stages import STAGES
from .vae import METRICS, default_plan, train_vae
from .vae_gate import check_vae
from .world.store import CLIPS, POSES, render

VAE_CLIPS, STORE_CLIPS = 1016, 3000


def main(arguments: list[str] | None = None) -> int:
    """Run one step; return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)  # ComfyUI has set its own
    if options.cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"
    try:
        options.run(Work(options.work), options)
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make the miniature, step by step.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    steps = {"world": "draw clips for the VAE", "vae": "train the VAE", "store": "encode clips for the stages"}
    for name, purpose in (steps | {name: stage.purpose for name, stage in STAGES.items()}).items():
        verb = verbs.add_parser(name, help=purpose)
        verb.add_argument("work", type=Path, help="the folder in which everything is made")
        verb.add_argument("--cpu", action="store_true", help="do not use a GPU")
        verb.add_argument("--steps", type=int, default=0, help="instead of the table's")
        verb.add_argument("--clips", type=int, default=0, help="how many clips are drawn")
        verb.add_argument("--before", default="", help="the stage to start from, if not the one before")
        verb.add_argument("--output", default="", help="folder of the stage, if not its name")
        verb.add_argument("--compile", action="store_true", help="compile the blocks: slow to start, then faster")
        verb.add_argument("--accept-vae", action="store_true", help="go on with a VAE that is not good enough")
        if name in STAGES:
            add_full_options(verb)
        verb.set_defaults(run=run_step, name=name)
    add_full_verbs(verbs)
    add_measures(verbs)
    _add_snapshots(verbs)
    return parser


def _add_snapshots(verbs) -> None:
    """Add the verbs that keep the newest weights in one small file and make a work folder from it."""
    keep = verbs.add_parser("snapshot", help="keep VAE and newest weights in one small file")
    keep.add_argument("--output", type=Path, default=DEFAULT, help="the file, else %(default)s")
    keep.add_argument("--without-vae", action="store_true", help="leave the VAE out, whose file is kept elsewhere")
    keep.set_defaults(run=_snapshot)
    bring = verbs.add_parser("restore", help="make a new work folder from such a file")
    bring.add_argument("--snapshot", type=Path, default=DEFAULT, help="the file, else %(default)s")
    bring.add_argument("--vae", type=Path, help="the VAE's file where the snapshot has none")
    bring.set_defaults(run=_restore)
    for verb in (keep, bring):
        verb.add_argument("work", type=Path, help="the folder in which everything is made")
        verb.add_argument("--cpu", action="store_true", help="do not use a GPU")


def _snapshot(work: Work, options: argparse.Namespace) -> None:
    logger.info("%s", write_snapshot(work, options.output, not options.without_vae))


def _restore(work: Work, options: argparse.Namespace) -> None:
    logger.info("%s", restore(work, options.snapshot, options.vae))


def run_step(work: Work, options: argparse.Namespace) -> None:
    """Run the step `options.name` of the pipeline."""
    world = work.folder / "world"
    if options.name == "world":
        render(world, options.clips or VAE_CLIPS, FRAMES, SIZE)
    elif options.name == "vae":
        plan = default_plan(options.steps) if options.steps else None
        train_vae(work.vae_file.parent, world / CLIPS, world / POSES, plan)
    elif options.name in STAGES and options.full:
        run_full_stage(work, options)
    else:
        if not options.accept_vae:
            check_vae(work.vae_file.with_name(METRICS))
        if options.name == "store":
            write_stores(work, options.clips or STORE_CLIPS)
        else:
            run_stage(work, options.name, options.steps, options.before, options.output, options.compile)
