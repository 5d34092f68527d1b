"""What the verbs of `python -m training` do that make clips, weights and snapshots; their options are in command.py."""

import argparse
import sys
from dataclasses import fields
from functools import partial
from typing import Any

from ..dwpose.detect.blazepose import BlazePose
from ..dwpose.detect.wholebody import DWPose
from ..media.log import logger
from .clip_parts import Part
from .command import STORE
from .encoders import Encoders, load_encoder, load_text, load_vision, miniature_text, no_vision
from .full import FullFiles, run_full
from .gpu_run import STORE_CLIPS, VAE, VAE_CLIPS, gpu_run
from .lora_run import LoRASettings, run_lora
from .memory_table import table
from .parts import join
from .pipeline import FRAMES, Work, run_stage, write_stores
from .processes import processes
from .prompts import NEGATIVE, POSITIVE
from .real_clips import ClipSettings, prepare_clips
from .run_options import RunOptions
from .snapshot import restore, write_snapshot
from .stages import STAGES, columns
from .vae import METRICS, default_plan, train_vae
from .vae_gate import check_vae
from .world.store import CLIPS, POSES, render


def run_step(work: Work, options: argparse.Namespace) -> None:
    """Run the step `options.name` of the pipeline."""
    world = work.folder / "world"
    if options.name == "world":
        render(world, options.clips or VAE_CLIPS, FRAMES, work.scale.pixels)
    elif options.name == "vae":
        plan = default_plan(options.steps) if options.steps else None
        train_vae(work.vae_file.parent, world / CLIPS, world / POSES, plan)
    elif options.name in STAGES and options.full:
        _run_full_stage(work, options)
    else:
        if not options.accept_vae:
            check_vae(work.vae_file.with_name(METRICS))
        if options.name == "store":
            write_stores(work, options.clips or STORE_CLIPS)
        else:
            run_stage(work, options.name, options.steps, options.before, options.output, options.compile)


def run_gpu(work: Work, options: argparse.Namespace) -> None:
    """Train the VAE or the stages against the clock."""
    if options.part != VAE and not options.accept_vae:
        check_vae(work.vae_file.with_name(METRICS))
    logger.info("%s", gpu_run(work, options.part, options.minutes, options.steps, options.clips))


def run_join(work: Work, options: argparse.Namespace) -> None:
    """Make files of the parts in the folder `work`."""
    for path in join(work.folder, options.target):
        logger.info("%s: %d bytes", path, path.stat().st_size)


def _run_full_stage(work: Work, options: argparse.Namespace) -> None:
    if options.base is None:
        raise ValueError("--full needs --base, the file of Wan 2.1 I2V that SteadyDancer is trained from.")
    files = FullFiles(options.base, options.store or work.folder / STORE, options.preview_vae, options.held)
    how = _run_options(options)
    run_full(work, options.name, files, options.steps, options.before, options.output, how)


def _run_options(options: argparse.Namespace) -> RunOptions:
    return RunOptions(**{name: getattr(options, name) for name in RunOptions._fields if hasattr(options, name)})


def run_lora_verb(work: Work, options: argparse.Namespace) -> None:
    """Train a LoRA of a character or a style."""
    found = {field.name: getattr(options, field.name) for field in fields(LoRASettings)}
    given: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    if options.targets:
        given["targets"] = tuple(options.targets)
    settings = LoRASettings(**given)
    files = FullFiles(options.base, options.store or work.folder / STORE, options.preview_vae, options.held)
    run_lora(work, files, settings, options.output, _run_options(options))


def run_prepare(work: Work, options: argparse.Namespace) -> None:
    """Make a store of a folder of videos."""
    if not options.miniature and not (options.clip_vision and options.text_encoder):
        raise ValueError("Name --clip-vision and --text-encoder; clips for the miniature need --miniature instead.")
    state = processes()  # first: it chooses this process's GPU
    part = Part(state.process_index, state.num_processes)
    given: dict[str, Any] = {}
    if options.miniature:
        encoders = Encoders(partial(load_encoder, options.vae), no_vision, miniature_text)
        given = {"prompt": POSITIVE, "negative": NEGATIVE}
    else:
        see, read = partial(load_vision, options.clip_vision), partial(load_text, options.text_encoder)
        encoders = Encoders(partial(load_encoder, options.vae), see, read)
    if options.size:
        given |= {"size": options.size[0]} if len(options.size) == 1 else {"sizes": tuple(options.size)}
    for name in ("frames", "prompt", "negative", "windows"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    settings = ClipSettings(**given)
    if bool(options.yolox) != bool(options.dwpose):
        raise ValueError("DW-Pose needs both of its files: --yolox and --dwpose.")
    detector = DWPose(options.yolox, options.dwpose) if options.yolox else BlazePose()
    prepare_clips(options.store or work.folder / STORE, options.videos, encoders, detector, settings, part)


def run_tables(_work: Work, _options: argparse.Namespace) -> None:
    """Print the tables of README.md: the stages, and what each takes of a GPU's memory."""
    sys.stdout.write(f"{columns()}\n\n{table()}\n")


def run_snapshot(work: Work, options: argparse.Namespace) -> None:
    """Keep the newest weights in one file."""
    logger.info("%s", write_snapshot(work, options.output, not options.without_vae))


def run_restore(work: Work, options: argparse.Namespace) -> None:
    """Make a work folder from such a file."""
    logger.info("%s", restore(work, options.snapshot, options.vae))
