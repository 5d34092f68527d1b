"""The larger miniature on a GPU that is at hand for minutes: one command for the VAE, one for the stages.

    python -m training gpu WORK vae            draw clips, train the VAE, write its files in parts to WORK/parts
    python -m training join PARTS WORK/vae     the files again, checked by their hashes
    python -m training gpu WORK stages         draw and encode clips, train all stages, write their weights in parts

The minutes are those since this process began. The first seconds of each training measure its rate, on weights that
are thrown away; the number of steps follows from it, so that the learning rate has come down when the time is over.
Where steps take longer then, the clock ends the training. It has run on a processor only, as a rehearsal: --cpu --small
--steps 5 --clips 20.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil

from ..media.log import logger
from .evaluation.choices import FINAL
from .loop import Plan, Task, seconds_per_step
from .parts import split
from .pipeline import BEFORE, FRAMES, Work, origin_of, prepare, run_stage, write_stores
from .stages import STAGES
from .vae import CROPS, HELD, METRICS, VaeTask, default_plan, train_vae
from .world.pixels import make_one
from .world.store import render

VAE, PARTS = "vae", "parts"
VAE_CLIPS, STORE_CLIPS = 1016, 2000
HELD_CLIPS = 64  # of the store, never trained on
DRAWING = 0.2  # share of the time for clips
FINISH = 30.0  # seconds to measure the VAE, to write the parts
MEASURING = 20.0  # seconds, at most
MEASURED_SHARE = 0.1  # of a training's time, at most
MARGIN = 0.95  # share of the time that steps are planned for: pictures and checkpoints take the rest
SHARES = {"base": 0.14, "stage1": 0.64, "stage2": 0.12, "stage3": 0.1}  # of the time for the stages
TIMED_CLIPS = 3
LEAST_CLIPS = 96  # as many as the largest batch takes


@dataclass(frozen=True)
class GpuRun:
    """Where and how long: `until` in seconds since the epoch; steps of each training and clips, 0 for what fits."""

    work: Work
    until: float
    steps: int = 0
    clips: int = 0

    def left(self) -> float:
        """Return the seconds until the files have to be written."""
        return self.until - FINISH - time.time()

    def fitting_clips(self, most: int, least: int) -> int:
        """Return how many clips all cores draw in the time for it."""
        if self.clips:
            return self.clips
        taken = []
        for seed in range(TIMED_CLIPS):
            began = time.perf_counter()
            make_one(seed, FRAMES, self.work.scale.pixels)
            taken.append(time.perf_counter() - began)
        fitting = int(DRAWING * self.left() * _cores() / median(taken))
        logger.info("A clip takes %.2f s of a core, so %d fit", median(taken), fitting)
        return max(least, min(most, fitting))

    def fitting_steps(self, task: Callable[[], Task], plan: Plan, seconds: float, kinds: Mapping[float, float]) -> int:
        """Return how many steps of a task, which is thrown away, fit into `seconds`; kinds: see seconds_per_step."""
        if self.steps:
            return self.steps
        began = time.monotonic()
        taken = seconds_per_step(task(), plan, kinds, min(MEASURING, MEASURED_SHARE * seconds))
        fitting = max(1, int((MARGIN * seconds - (time.monotonic() - began)) / taken))
        logger.info("A step takes %.3f s, so %d fit into %.0f s", taken, fitting, seconds)
        return fitting


def gpu_run(work: Work, part: str, minutes: float, steps: int = 0, clips: int = 0) -> Path:
    """Train the VAE or the stages in this many minutes since the process began; return the list of the parts written.

    ValueError: the time is over before the training could begin, or there is no VAE for the stages.
    """
    run = GpuRun(work, psutil.Process().create_time() + 60 * minutes, steps, clips)
    files = _vae(run) if part == VAE else _stages(run)
    return split(files, work.folder / PARTS)


def _vae(run: GpuRun) -> list[Path]:
    work, world = run.work, run.work.folder / "world"
    count = run.fitting_clips(VAE_CLIPS, HELD + 1)
    clips, poses = render(world, count, FRAMES, work.scale.pixels, workers=_cores())
    plan, starts = replace(default_plan(), batch_size=work.scale.batches), [*CROPS, 1.0]
    kinds = {begun: end - begun for begun, end in pairwise(starts)}
    steps = run.fitting_steps(partial(VaeTask, clips, poses, plan), plan, _enough(run.left()), kinds)
    file = train_vae(work.vae_file.parent, clips, poses, replace(plan, steps=steps), stop=lambda: run.left() <= 0)
    return [file, file.with_name(METRICS)]


def _stages(run: GpuRun) -> list[Path]:
    work = run.work
    if not work.vae_file.is_file():
        raise ValueError(f"There is no {work.vae_file}. Train the VAE first, and bring its files there with `join`.")
    write_stores(work, run.fitting_clips(STORE_CLIPS, LEAST_CLIPS), HELD_CLIPS, _cores())
    shares = 1.0  # of the stages that are left
    for name, share in SHARES.items():
        seconds = _enough(run.left()) * share / shares
        shares -= share
        stage, until = STAGES[name], time.time() + seconds
        origin = origin_of(work, stage, BEFORE.get(name, ""), work.folder / name)
        plan = stage.miniature.plan
        steps = run.fitting_steps(partial(prepare, work, stage, origin, plan.seed), plan, seconds, {0.0: 1.0})
        run_stage(work, name, steps, stop=partial(_is_past, until))
    return [work.weights(FINAL)]


def _is_past(moment: float) -> bool:
    return time.time() > moment


def _enough(seconds: float) -> float:
    """Return the seconds that are left. ValueError: there are none."""
    if seconds <= 0:
        raise ValueError("The time is over before the training began. Give it more with --minutes.")
    return seconds


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
