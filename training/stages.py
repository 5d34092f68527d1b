"""The stages as tables: the 14B column with the paper's numbers beside the miniature's.

From the paper (3.5, B.1): the order, what each stage trains, steps and learning rates of the 14B column, clips of 81
frames, 8 GPUs. Not in the paper, and ours in both columns: batch size, rank of the LoRA, warm-up, moving average. The
miniature starts from nothing, so it has a base stage, and its learning rates are those of a network of 5 million
weights.
"""

from dataclasses import dataclass
from typing import Any

from .batches import Cuts
from .plan import Plan

SHORT = ((3, 12), (5, 8), (9, 5))  # latent frames, and how many clips of them make a batch of one process
LONG = ((21, 1),)


@dataclass(frozen=True)
class Stage:
    """What a stage trains and how. loss: flow, decoupled or plain; rank 0 trains all weights, else a LoRA."""

    purpose: str
    miniature: Plan
    full: Plan | None
    cuts: Cuts
    full_cuts: Cuts | None = None
    pose: bool = True
    loss: str = "flow"
    rank: int = 0
    pose_parts: bool = True


def _plan(steps: int, rate: float, **more: Any) -> Plan:
    settings: dict[str, Any] = {"batch_size": 8, "floor": 0.05, "ema_decay": 0.998, "precision": "bf16"}
    settings |= {"log_every": 50, "checkpoint_every": 250}
    return Plan(steps=steps, learning_rate=rate, **(settings | more))


def _full(steps: int, rate: float, shard: bool = False) -> Plan:
    every = {"log_every": 10, "checkpoint_every": 250, "picture_every": 250}
    return Plan(steps, rate, batch_size=1, warmup=0, decay="constant", precision="bf16", shard=shard, **every)


STAGES = {
    "base": Stage(
        "a picture comes to life from photo and prompt",
        _plan(3000, 1e-3), None, Cuts(SHORT, (0.5, 0.4, 0.1)), pose=False,
    ),
    "stage1": Stage(
        "action supervision: follow the pose",
        _plan(5600, 1.5e-3), _full(12000, 1e-4),
        Cuts(SHORT, (0.4, 0.4, 0.2), middle=0.15), Cuts(LONG, (1.0,)), rank=64,
    ),
    "stage2": Stage(
        "condition-decoupled distillation: regain the base model's quality",
        _plan(400, 7e-5, warmup=50), _full(2000, 1e-6, shard=True),
        Cuts(SHORT, (0.3, 0.4, 0.3), middle=0.15), Cuts(LONG, (1.0,)), loss="decoupled",
    ),
    "stage2_plain": Stage(
        "plain distillation, the paper's ablation",
        _plan(400, 7e-5, warmup=50), _full(2000, 1e-6, shard=True),
        Cuts(SHORT, (0.3, 0.4, 0.3), middle=0.15), Cuts(LONG, (1.0,)), loss="plain",
    ),
    "stage3": Stage(
        "motion discontinuity mitigation: solve the start gap",
        _plan(300, 5e-4, warmup=50), _full(500, 1e-4),
        Cuts(SHORT, (0.3, 0.4, 0.3), middle=0.15, jumps=True), Cuts(LONG, (1.0,), jumps=True), rank=64,
        pose_parts=False,
    ),
}  # fmt: skip


def columns() -> str:
    """Return the stages as a Markdown table, the 14B column beside the miniature's. training/README.md holds it."""
    head = "| stage | loss | trains | 14B: steps, rate, frames | miniature: steps, rate, latent frames x clips |"
    rows = [head, "|" + " --- |" * 5]
    for name, stage in STAGES.items():
        trains = f"LoRA of rank {stage.rank}" if stage.rank else "all weights"
        if stage.rank and stage.pose_parts:
            trains += " and the pose tensors"
        full = "a file"
        if stage.full and stage.full_cuts:
            frames = 4 * stage.full_cuts.lengths[0][0] - 3
            full = f"{stage.full.steps}, {stage.full.learning_rate:g}, {frames}"
        clips = ", ".join(f"{frames} x {count}" for frames, count in stage.cuts.lengths)
        small = f"{stage.miniature.steps}, {stage.miniature.learning_rate:g}, {clips}"
        rows.append(f"| {name} | {stage.loss} | {trains} | {full} | {small} |")
    return "\n".join(rows)
