"""One training loop for every stage: it runs, is killed, goes on, and ends with the same weights.

A task brings a module that returns its own loss, and batches; the loop brings optimizer, warm-up and decay, clipping,
accumulation, mixed precision, a moving average, checkpoints, logs and pictures, on a CPU or on one or several GPUs
(HuggingFace accelerate). `accelerate launch --multi_gpu` starts a process for each GPU, `torchrun` under
ACCELERATE_USE_CPU=true several on a CPU. The paper gives steps and learning rates (3.5, B.1); optimizer, warm-up,
decay, clipping and the moving average are our choice.

A step is one update of the weights. All randomness of a step comes from a generator that is seeded from the plan's
seed, the step and the process, so a checkpoint keeps no random state.
"""

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Protocol, cast

import accelerate
import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor

from . import checkpoints
from .async_checkpoints import AsyncCheckpoints
from .checkpoints import Checkpoint
from .optimizer_state import OptimizerState, trained_parameters
from .plan import Plan
from .processes import processes, timeouts_explained
from .run_logger import Clock, MetricAverager, RunLogger
from .sharding import gather, put
from .start import Start

__all__ = ["Plan", "Task", "step_seed", "train"]
LEAST_TIMED = 3  # steps
SAMPLES = "samples"  # of one process in a step: batches may be of different sizes


class Task(Protocol):
    """What is trained.

    module: its forward(batch) returns {"loss": scalar tensor, further names: scalar tensors that are logged}; its
    parameters with requires_grad are trained, and each must take part in every loss. Buffers are not kept, so
    running statistics must not decide anything. The task chooses between train() and eval(). Where the module has
    `passes`, names of parts of its loss, forward(batch, name) returns that part, and one is differentiated before the
    next is computed: only one has its activations in memory.

    fill: None, or where the plan shards among several processes and the module lies on the meta device, what gives the
    parts that this process holds their memory and their values, once they are shared out.
    """

    fill: Callable[[], None] | None

    @property
    def module(self) -> torch.nn.Module: ...

    def batch(self, step: int, generator: torch.Generator, /) -> dict[str, Tensor]:
        """Return the next batch of a step that counts from 0, on any device; its tensors' first axis is the sample.

        All its randomness comes from `generator`, which lies on the CPU; with accumulation it is called several times
        with the same one.
        """

    def validate(self) -> Mapping[str, float]:
        """Return metrics on samples that are never trained on; may be empty. Called where `pictures` is, as that."""

    def pictures(self, step: int, /) -> dict[str, np.ndarray]:
        """Return pictures after `step` steps, name -> uint8 [H, W, 3]; may be empty.

        Called on every process at once, without gradients, in the plan's precision, with the averaged parameters in
        `module` where the plan averages.
        """


def never() -> bool:
    """Return False: the training ends with its last step."""
    return False


def train(
    task: Task, plan: Plan, folder: Path, start: Start | None = None, stop: Callable[[], bool] = never
) -> dict[str, Tensor]:
    """Train `task` in `folder`, from its newest checkpoint where there is one.

    start: what the task starts from, in words by name; a run goes on with the same alone. stop: asked after each step
    of a process that trains alone whether to end the run there, with a checkpoint, as if it had no more steps.
    Returns the trained tensors by name on the CPU: the moving averages where the plan has them. Where the parameters
    are shared out among processes, only the first one is sure to have them. A folder whose run is finished is returned
    at once. The module is left with the last parameters themselves.

    Raises ValueError where the folder holds a run of another plan, start or module, RuntimeError where the loss or the
    gradient is not finite; the last checkpoint stays.
    """
    folder, start = Path(folder), start or {}
    is_main = processes(plan.timeout).is_main_process
    checkpoint = checkpoints.load(folder, whole=False, check=is_main)
    if checkpoint is not None:
        _check_same(plan, start, checkpoint, folder)
        _check_module(task.module, checkpoint, folder)
        if checkpoint.step >= plan.steps:
            if checkpoint.shards and plan.shard and not is_main:
                return {}
            if checkpoint.shards:
                checkpoint = cast(Checkpoint, checkpoints.load(folder, check=False))
            _take_over(task.module, checkpoint)
            result = checkpoint.ema or checkpoint.trained
            return {name: result[name].clone() for name in trained_parameters(task.module)}
    run = _Run(task, plan, folder, start)
    if checkpoint is not None:
        run.go_on(checkpoint)
        del checkpoint  # its tensors hold its files, which Windows could not delete
    with RunLogger(folder, run.done, run.accelerator.is_main_process) as logger:
        run.go(logger, stop)
    keep = run.accelerator.is_main_process or not plan.shard
    return _on_cpu(run.optimizer.ema or run.optimizer.trained, keep, copy=True)


def seconds_per_step(task: Task, plan: Plan, parts: Mapping[float, float], seconds: float) -> float:
    """Return the mean seconds that a step of `plan` takes, measured for about `seconds` on a task to be thrown away.

    parts: from which share of the steps on they are of one kind -> the share of all steps that are of it.
    """
    run = _Run(task, plan, Path(), {})
    return sum(
        share * run.seconds_of_step(int(begun * plan.steps), seconds / len(parts)) for begun, share in parts.items()
    )


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """Return the seed of a step's generator."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0]) >> 1


class _Run:
    def __init__(self, task: Task, plan: Plan, folder: Path, start: Start):
        self.task, self.plan, self.folder, self.start, self.done = task, plan, folder, start, 0
        self.optimizer = OptimizerState(task.module, plan, task.fill)
        self.accelerator = self.optimizer.accelerator
        self.writer = AsyncCheckpoints(folder, plan.timeout) if plan.sharded_checkpoints else None

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint of this run."""
        self.done = checkpoint.step
        if checkpoint.shards:
            self.optimizer.restore_shards(checkpoint, self.writer and self.writer.group)
        else:
            _take_over(self.task.module, checkpoint)
            self.optimizer.restore(checkpoint.ema, checkpoint.adam, checkpoint.facts["scaler"])

    def go(self, logger: RunLogger, stop: Callable[[], bool]) -> None:
        """Do the steps that are left."""
        with timeouts_explained(), self.writer or nullcontext():
            self._steps(logger, stop)

    def seconds_of_step(self, first: int, seconds: float) -> float:
        """Do the steps from `first` on for some time; return the median seconds of one, without the first of all."""
        self.done, taken, began = first, [], time.perf_counter()
        while len(taken) < LEAST_TIMED or time.perf_counter() - began < seconds:
            before = time.perf_counter()
            metrics, _ = self._update()
            metrics["loss"].item()  # waits for the device
            taken.append(time.perf_counter() - before)
            self.done += 1
        return median(taken[1:])

    def _steps(self, logger: RunLogger, stop: Callable[[], bool]) -> None:
        plan, clock = self.plan, Clock(self.done)
        count = self.accelerator.num_processes
        together = "1 process" if count == 1 else f"{count} processes"
        finite = ("loss",) if plan.precision == "fp16" else ("loss", "gradient_norm")  # fp16 leaves steps out
        averager = MetricAverager(self.accelerator, finite, self.done)
        logger.info(f"from step {self.done} to {plan.steps} on {self.accelerator.device}, {together}")
        over = False
        while self.done < plan.steps and not over:
            averager.add(*self._update())
            self.done += 1
            over = stop()
            every = (plan.log_every, plan.checkpoint_every, plan.picture_every)
            logs, saves, shows = (over or plan.due(steps, self.done) for steps in every)
            if logs or saves or shows:
                averager.check()  # before a checkpoint could keep what is not finite
                clock.stop(self.done)
            if logs:
                self._report(logger, averager.means(), clock.seconds_per_step())
            if saves:
                self._save()
            if shows:
                with self.optimizer.averaged(), torch.no_grad(), self.optimizer.precision():
                    held_out, pictures = self.task.validate(), self.task.pictures(self.done)
                logger.metrics(self.done, held_out)
                if held_out:
                    logger.info(f"step {self.done}  " + "  ".join(f"{n} {value:.5f}" for n, value in held_out.items()))
                logger.pictures(self.done, pictures)
            clock.start()

    def _update(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Do one step; return its metrics and the norms of its gradients by parameter, which stay on the device."""
        metrics: dict[str, Tensor] = {}
        samples = 0
        seed = step_seed(self.plan.seed, self.done, self.accelerator.process_index)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # for a module that draws by itself, such as dropout
        for turn in range(1, self.plan.accumulate + 1):
            batch = send_to_device(self.task.batch(self.done, generator), self.accelerator.device, non_blocking=True)
            samples += max(len(tensor) for tensor in batch.values() if tensor.ndim)
            passes = getattr(self.task.module, "passes", None) or (None,)
            for number, part in enumerate(passes, 1):
                last = turn == self.plan.accumulate and number == len(passes)
                with nullcontext() if last else self.accelerator.no_sync(self.optimizer.model):
                    with self.optimizer.precision():
                        results = self.optimizer.model(batch) if part is None else self.optimizer.model(batch, part)
                    self.optimizer.backward(results["loss"])
                for name, value in results.items():
                    metrics[name] = metrics.get(name, 0.0) + value.detach().float() / self.plan.accumulate
        norms = self.optimizer.gradient_norms()
        norm = self.optimizer.step(self.done)
        return {**metrics, "gradient_norm": norm, SAMPLES: torch.full_like(norm, samples)}, norms

    def _report(self, logger: RunLogger, metrics: Mapping[str, float], seconds: float) -> None:
        plan, rate = self.plan, self.plan.rate(self.done - 1)
        speed = metrics[SAMPLES] * self.accelerator.num_processes / seconds
        shown = {name: value for name, value in metrics.items() if name != SAMPLES}
        logger.metrics(self.done, {**shown, "learning_rate": rate, "samples_per_second": speed})
        logger.info(
            f"step {self.done}/{plan.steps}  loss {metrics['loss']:.5f}  lr {rate:.2e}  {speed:.2f} samples/s  "
            f"{timedelta(seconds=round((plan.steps - self.done) * seconds))} left"
        )

    def _save(self) -> None:
        optimizer = self.optimizer
        main = self.accelerator.is_main_process
        versions = {"python": platform.python_version(), "torch": torch.__version__}
        versions["accelerate"] = accelerate.__version__
        facts = {"plan": asdict(self.plan), "start": dict(self.start), "versions": versions}
        facts["scaler"] = optimizer.scaler.state_dict()
        groups = {"trained": optimizer.trained, "ema": optimizer.ema, "adam": optimizer.moments()}
        if self.writer:
            self.writer.begin(self.done, facts, groups)
            return
        trained, ema, adam = (_on_cpu(tensors, main) for tensors in groups.values())
        if main:
            checkpoints.save(self.folder, Checkpoint(self.done, facts, trained, ema, adam))
        self.accelerator.wait_for_everyone()


def _on_cpu(tensors: Mapping[str, Tensor], keep: bool, copy: bool = False) -> dict[str, Tensor]:
    """Return whole tensors on the CPU; none where `keep` is off, on a process that only has to give its parts."""
    found = {}
    for name, tensor in tensors.items():
        together = gather(tensor.detach())
        if keep:
            found[name] = together.to("cpu", copy=copy)
    return found


def _check_same(plan: Plan, start: Start, checkpoint: Checkpoint, folder: Path) -> None:
    """ValueError: the checkpoint is of another plan, or of a run that began with other files."""
    differ = plan.differences(checkpoint.facts["plan"])
    if differ:
        raise ValueError(
            f"The folder {folder} holds a run of another plan: {'; '.join(differ)}. Use its plan, or another folder."
        )
    began = checkpoint.facts.get("start", {})  # checkpoints of earlier versions have none
    differ = [
        f"{name}: now {mine}, then {began[name]}" for name, mine in start.items() if began.get(name, mine) != mine
    ]
    if differ:
        raise ValueError(
            f"The folder {folder} holds a run that began with other files. {'; '.join(differ)}. Name the files that "
            "it began with, or another folder."
        )


def _check_module(module: torch.nn.Module, checkpoint: Checkpoint, folder: Path) -> None:
    """ValueError: the parameters of `checkpoint` are those of another module."""
    mine, theirs = trained_parameters(module), checkpoint.trained
    shapes = [{name: list(tensor.shape) for name, tensor in tensors.items()} for tensors in (mine, theirs)]
    differ = [name for name in dict.fromkeys([*mine, *theirs]) if shapes[0].get(name) != shapes[1].get(name)]
    if differ:
        found, wanted = (side.get(differ[0], "not there") for side in shapes)
        raise ValueError(
            f"The folder {folder} holds a run of another module: {len(differ)} parameters differ, such as "
            f"{differ[0]}: {found} in the module, {wanted} in the folder. Use its module, or another folder."
        )


def _take_over(module: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Put the parameters of `checkpoint` into `module`."""
    for name, p in trained_parameters(module).items():
        put(checkpoint.trained[name], p)
