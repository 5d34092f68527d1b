"""One training loop for every stage: it runs, is killed, goes on, and ends with the same weights.

A task brings a module that returns its own loss, and batches; the loop brings AdamW, warm-up and decay, clipping,
accumulation, mixed precision, a moving average, checkpoints, logs and pictures, on a CPU or on one or several GPUs
(HuggingFace accelerate; several processes are started by `accelerate launch`). The paper gives steps and learning
rates (B.1); optimizer, warm-up, decay, clipping and the moving average are our choice.

A step is one update of the weights. All randomness of a step comes from a generator that is seeded from the plan's
seed, the step and the process, so nothing but the step must be kept of it.
"""

import json
import math
import platform
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import accelerate
import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import send_to_device
from torch import Tensor

from . import checkpoints
from .checkpoints import Checkpoint
from .logs import Clock, Journal, duration

DECAYS = {
    "constant": lambda done, floor: 1.0,
    "cosine": lambda done, floor: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2,
}
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FREE = {"steps", "log_every", "checkpoint_every", "picture_every"}  # may differ when a run goes on
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Task(Protocol):
    """What is trained.

    module: its forward(batch) returns {"loss": scalar tensor, further names: scalar tensors that are logged}; its
    parameters with requires_grad are trained, and each must take part in the loss. Buffers are not kept.
    """

    module: torch.nn.Module

    def batch(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the batch of a step, on any device; all its randomness comes from `generator` (on the CPU)."""

    def pictures(self, step: int) -> dict[str, np.ndarray]:
        """Return pictures that show how far the training is, name -> uint8 [H, W, 3]; may be empty.

        Called on the first process without gradients, in the plan's precision, with the averaged parameters in
        `module` where the plan averages.
        """


@dataclass(frozen=True)
class Plan:
    """How a task is trained.

    steps: updates of the weights; batch_size: samples of one batch (what the task draws); warmup: steps to reach
    learning_rate; floor: the last learning rate over the first, for cosine; clip_norm: largest norm of the gradient,
    0 is no limit; ema_decay: of the moving average, 0 is none; accumulate: batches per step; precision: of the
    forward pass, "no" is float32; the three `every`: steps, 0 is only at the end.
    """

    steps: int
    learning_rate: float
    batch_size: int
    warmup: int = 100
    decay: str = "cosine"
    floor: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    accumulate: int = 1
    precision: str = "no"
    seed: int = 0
    log_every: int = 20
    checkpoint_every: int = 500
    picture_every: int = 500

    def __post_init__(self) -> None:
        for name, choices in (("decay", DECAYS), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}.")
        for name in ("steps", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more.")

    def rate(self, step: int) -> float:
        """Return the learning rate of `step`, which counts from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * DECAYS[self.decay](done, self.floor)


def train(task: Task, plan: Plan, folder: Path) -> dict[str, Tensor]:
    """Train `task` in `folder`, from its newest checkpoint where there is one.

    Returns the trained tensors by name on the CPU: the moving averages where the plan has them. A folder whose run is
    finished is returned at once. The module is left on its device with the last parameters.

    Raises ValueError where the folder holds a run of another plan or module, RuntimeError where the loss or the
    gradient is not finite; the last checkpoint stays.
    """
    run = _Run(task, plan, Path(folder))
    run.resume()
    if run.done < plan.steps:
        with Journal(run.folder, run.done, run.accelerator.is_main_process) as journal:
            run.go(journal)
    return {name: tensor.detach().cpu().clone() for name, tensor in (run.ema or run.trained).items()}


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """Return the seed of a step's generator."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1)


class _Run:
    def __init__(self, task: Task, plan: Plan, folder: Path):
        self.task, self.plan, self.folder, self.done = task, plan, folder, 0
        ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[ddp])
        self.device = self.accelerator.device
        if plan.precision == "fp16" and self.device.type == "cpu":
            raise ValueError("precision fp16 needs a GPU. Choose bf16 or no on this machine.")
        task.module.to(self.device)
        self.trained = {name: p for name, p in task.module.named_parameters() if p.requires_grad}
        _check_parameters(self.trained)
        self.ema = {name: p.detach().float().clone() for name, p in self.trained.items()} if plan.ema_decay else {}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=0.0, weight_decay=plan.weight_decay, fused=self.device.type in ("cpu", "cuda")
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "fp16")

    def resume(self) -> None:
        """Take over the newest checkpoint, if there is one."""
        checkpoint = checkpoints.load(self.folder)
        if checkpoint is None:
            return
        _check_plan(self.plan, checkpoint, self.folder)
        _check_names(self.trained, checkpoint.trained, self.folder)
        with torch.no_grad():
            for mine, theirs in ((self.trained, checkpoint.trained), (self.ema, checkpoint.ema)):
                for name, tensor in mine.items():
                    tensor.copy_(theirs[name])
        self._load_moments(checkpoint.adam)
        self.scaler.load_state_dict(checkpoint.facts["scaler"])
        self.done = checkpoint.step

    def go(self, journal: Journal) -> None:
        """Do the steps that are left."""
        plan, clock, rows = self.plan, Clock(), []
        self.model = self.accelerator.prepare(self.task.module)
        journal.say(f"training from step {self.done} to {plan.steps} on {self.device}")
        while self.done < plan.steps:
            rows.append(self._update())
            self.done += 1
            logs, saves, shows = (self._due(every) for every in (plan.log_every, plan.checkpoint_every,
                                                                 plan.picture_every))
            if not (logs or saves or shows):
                continue
            figures = self._read(rows)
            clock.stop(len(rows))
            rows.clear()
            if logs:
                self._tell(journal, figures, clock.take())
            if saves:
                self._save()
            if shows:
                self._show(journal)
            clock.start()

    def _due(self, every: int) -> bool:
        return self.done == self.plan.steps or (every > 0 and self.done % every == 0)

    def _update(self) -> dict[str, Tensor]:
        """Do one step; return its figures, which stay on the device."""
        plan, figures = self.plan, {}
        seed = step_seed(plan.seed, self.done, self.accelerator.process_index)
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)  # for a module that draws by itself, such as dropout
        for turn in range(plan.accumulate):
            batch = send_to_device(self.task.batch(self.done, generator), self.device, non_blocking=True)
            if turn + 1 < plan.accumulate:
                with self.accelerator.no_sync(self.model):
                    self._backward(batch, figures)
            else:
                self._backward(batch, figures)
        figures["learning rate"] = plan.rate(self.done)
        figures["gradient norm"] = self._descend(figures["learning rate"])
        return figures

    def _backward(self, batch: dict[str, Tensor], figures: dict[str, Tensor]) -> None:
        with self._precision():
            results = self.model(batch)
        self.scaler.scale(results["loss"].float() / self.plan.accumulate).backward()
        for name, value in results.items():
            figures[name] = figures.get(name, 0.0) + value.detach().float() / self.plan.accumulate

    def _descend(self, rate: float) -> Tensor:
        """Move the parameters and their averages; return the norm of the gradient."""
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.trained.values(), self.plan.clip_norm or math.inf)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            # early averages would hold on to the untrained start
            decay = min(self.plan.ema_decay, (1 + self.done) / (10 + self.done))
            parameters = [p.detach().float() for p in self.trained.values()]
            torch._foreach_lerp_(list(self.ema.values()), parameters, 1 - decay)
        return norm

    def _precision(self) -> torch.autocast:
        dtype = PRECISIONS[self.plan.precision]
        return torch.autocast(self.device.type, dtype, enabled=self.plan.precision != "no")

    def _read(self, rows: list[dict[str, Any]]) -> dict[str, float]:
        """Return the means of the figures of some steps over steps and processes. RuntimeError: not finite."""
        flat = [torch.as_tensor(value, dtype=torch.float32, device=self.device) for row in rows for value in
                row.values()]
        values = iter(self.accelerator.reduce(torch.stack(flat), "mean").tolist())
        table = [{name: next(values) for name in row} for row in rows]
        must = ("loss",) if self.scaler.is_enabled() else ("loss", "gradient norm")
        for number, row in enumerate(table, self.done - len(rows) + 1):
            if not all(math.isfinite(row[name]) for name in must):
                raise RuntimeError(_diverged(number, row, self.folder))
        names = dict.fromkeys(name for row in table for name in row)
        return {name: float(np.mean([row[name] for row in table if name in row])) for name in names}

    def _tell(self, journal: Journal, figures: dict[str, float], seconds: float) -> None:
        plan = self.plan
        rate = plan.batch_size * plan.accumulate * self.accelerator.num_processes / seconds
        journal.figures(self.done, {**figures, "samples per second": rate})
        left = duration((plan.steps - self.done) * seconds)
        journal.say(
            f"step {self.done}/{plan.steps}  loss {figures['loss']:.5f}  lr {figures['learning rate']:.2e}  "
            f"{rate:.2f} samples/s  {left} left"
        )

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            facts = {"plan": asdict(self.plan), "versions": _versions(), "scaler": self.scaler.state_dict()}
            checkpoints.save(self.folder, Checkpoint(self.done, facts, self.trained, self.ema, self._moments()))
        self.accelerator.wait_for_everyone()

    def _show(self, journal: Journal) -> None:
        if self.accelerator.is_main_process:
            self._swap()
            with torch.no_grad(), self._precision():
                pictures = self.task.pictures(self.done)
            self._swap()
            journal.pictures(self.done, pictures)
        self.accelerator.wait_for_everyone()

    def _swap(self) -> None:
        """Exchange the parameters and their averages, where there are any."""
        for name, average in self.ema.items():
            self.trained[name].data, self.ema[name] = average, self.trained[name].data

    def _moments(self) -> dict[str, Tensor]:
        state = self.optimizer.state
        return {f"{name}.{kind}": state[p][kind] for name, p in self.trained.items() if p in state for kind in MOMENTS}

    def _load_moments(self, adam: dict[str, Tensor]) -> None:
        state = {}
        for number, (name, p) in enumerate(self.trained.items()):
            if f"{name}.step" in adam:  # a parameter that had no gradient yet has no moments
                moments = {kind: torch.empty_like(p).copy_(adam[f"{name}.{kind}"]) for kind in MOMENTS[:2]}
                state[number] = {**moments, "step": adam[f"{name}.step"]}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _check_parameters(trained: dict[str, Tensor]) -> None:
    if not trained:
        raise ValueError("The task's module has no parameter with requires_grad: there is nothing to train.")
    coarse = [name for name, p in trained.items() if p.dtype not in (torch.float32, torch.float64)]
    if coarse:
        raise ValueError(
            f"{len(coarse)} trained parameters are not float32, such as {coarse[0]} ({trained[coarse[0]].dtype}); "
            "small steps would vanish in their rounding. Convert them with .float() and set precision instead."
        )


def _check_plan(plan: Plan, checkpoint: Checkpoint, folder: Path) -> None:
    defaults = {field.name: field.default for field in fields(Plan) if field.default is not MISSING}
    theirs, mine = {**defaults, **checkpoint.facts["plan"]}, json.loads(json.dumps(asdict(plan)))
    differ = [
        f"{name} is {mine.get(name)!r}, in the folder {theirs.get(name)!r}"
        for name in dict.fromkeys([*mine, *theirs])
        if mine.get(name) != theirs.get(name) and name not in FREE
    ]
    if plan.steps < theirs["steps"]:
        differ.append(f"steps is {plan.steps}, in the folder {theirs['steps']} (it may only grow)")
    if differ:
        raise ValueError(
            f"The folder {folder} holds a run of another plan: {'; '.join(differ)}. Use its plan, or another folder."
        )


def _check_names(mine: dict[str, Tensor], theirs: dict[str, Tensor], folder: Path) -> None:
    shapes = [{name: list(tensor.shape) for name, tensor in tensors.items()} for tensors in (mine, theirs)]
    differ = [name for name in dict.fromkeys([*mine, *theirs]) if shapes[0].get(name) != shapes[1].get(name)]
    if differ:
        name = differ[0]
        found, wanted = (side.get(name, "not there") for side in shapes)
        raise ValueError(
            f"The folder {folder} holds a run of another module: {len(differ)} parameters differ, such as {name}, "
            f"which is {found} in the module and {wanted} in the folder. Use its module, or another folder."
        )


def _diverged(step: int, figures: dict[str, float], folder: Path) -> str:
    told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    return (
        f"The training left the finite numbers at step {step}: {told}. The last checkpoint in {folder} is from before. "
        "A lower learning rate, a longer warm-up or another precision helps."
    )


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "accelerate": accelerate.__version__}
