"""How a task is trained, as a frozen table of numbers that a checkpoint keeps and compares."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DECAYS = {
    "constant": lambda *_: 1.0,
    "cosine": lambda done, floor: floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2,
}
OPTIMIZERS = ("adamw", "muon")
PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}
LEAST = {"steps": 1, "batch_size": 1, "accumulate": 1, "warmup": 0, "seed": 0, "clip_norm": 0, "ema_decay": 0}
LEAST |= {"log_every": 0, "checkpoint_every": 0, "picture_every": 0, "timeout": 0}
WEEK = 7 * 24 * 60  # minutes
FREE = {
    "steps",
    "log_every",
    "checkpoint_every",
    "picture_every",
    "shard",
    "sharded_checkpoints",
    "timeout",
}  # may differ when a run goes on


@dataclass(frozen=True)
class Plan:
    """How a task is trained. ValueError: a number out of its range, a choice that is not there.

    steps: updates of the weights; batch_size: samples of one batch, information for the task; warmup: steps to reach
    learning_rate; floor: the last learning rate over the highest, for cosine; clip_norm: largest norm of the gradient,
    0 is no limit; ema_decay: of the moving average, 0 is none; accumulate: batches per step; precision: of the
    forward pass, "no" is float32; log_every, checkpoint_every, picture_every: steps, 0 is only at the end; shard:
    whether several processes share the parameters out (FSDP) instead of holding all of them each (DDP); optimizer:
    adamw, or muon for the blocks' matrices and the VAE's kernels beside adamw for the rest; bf16_shards: whether
    several processes collect each other's parts of the blocks in bf16 instead of float32, while gradients are averaged
    in float32; sharded_checkpoints: whether each process writes its own part of a checkpoint while the training goes
    on; timeout: minutes for which processes wait for each other, 0 is PyTorch's choice.
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
    shard: bool = False
    optimizer: str = "adamw"
    bf16_shards: bool = False
    sharded_checkpoints: bool = False
    timeout: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("decay", DECAYS), ("precision", PRECISIONS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}.")
        for name, least in LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {least} or more.")
        if self.timeout > WEEK:
            raise ValueError(f"timeout is {self.timeout}; it must be {WEEK} minutes, a week, or less.")
        if self.ema_decay >= 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be below 1, such as 0.999.")
        if self.shard and self.precision == "fp16":
            raise ValueError("shard does not go with precision fp16. Choose bf16.")
        if self.shard and self.optimizer == "muon":
            raise ValueError("shard does not go with optimizer muon, which needs whole matrices. Choose adamw.")
        if self.bf16_shards and not (self.shard and self.precision == "bf16"):
            raise ValueError("bf16_shards needs shard and precision bf16, in which the pass is computed.")

    @property
    def dtype(self) -> "torch.dtype":
        """The numbers of the forward pass."""
        import torch  # here, because the command's help reads the plans

        return getattr(torch, PRECISIONS[self.precision])

    def rate(self, step: int) -> float:
        """Return the learning rate of `step`, which counts from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * DECAYS[self.decay](done, self.floor)

    def due(self, every: int, done: int) -> bool:
        """Return whether what happens every `every` steps happens after `done` of them."""
        return done == self.steps or (every > 0 and done % every == 0)

    def differences(self, stored: Mapping[str, Any]) -> list[str]:
        """Return in words what keeps this plan from going on with the run of a `stored` one."""
        defaults = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        theirs, mine = {**defaults, **stored}, json.loads(json.dumps(asdict(self)))
        differ = [
            f"{name} is {mine.get(name)!r}, there {theirs.get(name)!r}"
            for name in dict.fromkeys([*mine, *theirs])
            if mine.get(name) != theirs.get(name) and name not in FREE
        ]
        if mine["steps"] < theirs["steps"]:
            differ.append(f"steps is {mine['steps']}, there {theirs['steps']} (it may only grow)")
        return differ
