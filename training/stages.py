"""The stages as tables: the 14B column with the paper's numbers beside the miniature's.

From the paper (3.5, B.1): the order, what each stage trains, steps and learning rates of the 14B column, clips of 81
frames, 8 GPUs. Not in the paper, and ours in both columns: batch size, rank of the LoRA, warm-up, moving average. The
miniature starts from nothing, so it has a base stage; its learning rates are those of a network of 7 million weights,
and stage 1 trains them all.

The miniature's size and steps are chosen for a night on two CPU threads. A step of one process with 12 x 3, 8 x 5 or 5
x 9 latent frames of 128 px took 1.9 s of CPU time at a width of 256 with 6 blocks, 2.3 s with 8 blocks, 2.8 s at a
width of 384 with 6; two processes train together.

Its noise levels and its optimizer were chosen by stage 1 from nothing at 96 px, width 256 and 5 blocks, by the squared
error of latents sampled for 24 held-out clips, over cells that move. Noise of one level destroys less of what has more
tokens: by the rule of Esser et al. (arXiv:2403.03206) a shift of 4 at the 33,600 tokens of a 14B clip is one of 0.5 at
the miniature's 576. But after 179 steps a shift of 4 had 0.77 (sampled with a shift of 5) to 0.83 (of 0.5 or 1), and a
shift of 1 had 0.83 to 0.90: the motion is decided where the noise is high. In the time of these steps Muon at a rate
of 0.0015 made 149 and was behind, at 0.82 to 0.87. It is ahead after more: on the base at 128 px, in one process with
--compile, the loss on held-out clips was 0.75 after 500 steps of AdamW at 0.001, 0.69 of Muon at 0.0015 and 0.64 of
Muon at 0.004, and after 1400 steps of Muon 0.58 and 0.54. A step took 0.75 s with AdamW and 1.0 s with Muon.
"""

from dataclasses import dataclass, replace
from typing import Any

from .plan import Plan

SHORT = ((3, 12), (5, 8), (9, 5))  # latent frames, and how many clips of them make a batch of one process
LONG = ((21, 1),)
TARGETS = ("self_attn", "cross_attn", "ffn")  # layers of a block that have LoRA layers beside them
SHIFT, MOVING = 4.0, 4.0  # of the miniature; see Cuts


@dataclass(frozen=True)
class Cuts:
    """lengths: latent frames to how many clips a batch has, drawn by the shares; middle: share of batches from the
    middle; jumps: whether poses are changed as in stage 3; negative: share of samples with the negative prompt;
    shift: of the noise levels; moving: what the loss weighs a latent cell that moves above one that stands still, 0
    weighs all cells alike."""

    lengths: tuple[tuple[int, int], ...]
    shares: tuple[float, ...]
    middle: float = 0.0
    jumps: bool = False
    negative: float = 0.1
    shift: float = 4.0
    moving: float = 0.0

    def larger(self, times: int) -> "Cuts":
        """Return these cuts with `times` as many clips in a batch."""
        return replace(self, lengths=tuple((frames, times * count) for frames, count in self.lengths))


@dataclass(frozen=True)
class Column:
    """How a stage is trained in one of the columns. rank: of the LoRA, 0 trains all weights; targets: what has one;
    stream: whether frozen blocks wait in main memory (streaming.py)."""

    plan: Plan
    cuts: Cuts
    rank: int = 0
    targets: tuple[str, ...] = TARGETS
    stream: bool = False


@dataclass(frozen=True)
class Stage:
    """A stage. loss: flow, decoupled or plain; pose_parts: whether the pose tensors are trained beside a LoRA."""

    purpose: str
    miniature: Column
    full: Column | None
    pose: bool = True
    loss: str = "flow"
    pose_parts: bool = True


def _small(
    steps: int, rate: float, shares: tuple[float, ...], rank: int = 0, jumps: bool = False, **more: Any
) -> Column:
    settings: dict[str, Any] = {"batch_size": 8, "floor": 0.05, "ema_decay": 0.998, "precision": "bf16"}
    settings |= {"log_every": 50, "checkpoint_every": 250}
    middle = more.pop("middle", 0.15)
    cuts = Cuts(SHORT, shares, middle, jumps, shift=SHIFT, moving=MOVING)
    return Column(Plan(steps=steps, learning_rate=rate, **(settings | more)), cuts, rank)


def _full(steps: int, rate: float, rank: int = 0, jumps: bool = False) -> Column:
    every: dict[str, Any] = {"log_every": 10, "checkpoint_every": 250, "picture_every": 250}
    plan = Plan(steps, rate, batch_size=1, warmup=0, decay="constant", precision="bf16", shard=not rank, **every)
    return Column(plan, Cuts(LONG, (1.0,), jumps=jumps), rank)


STAGES = {
    "base": Stage(
        "a picture comes to life from photo and prompt",
        _small(1400, 4e-3, (0.5, 0.4, 0.1), middle=0.0, optimizer="muon"), None, pose=False,
    ),
    "stage1": Stage(
        "action supervision: follow the pose",
        _small(8000, 3e-3, (0.4, 0.4, 0.2), optimizer="muon"), _full(12000, 1e-4, rank=64),
    ),
    "stage2": Stage(
        "condition-decoupled distillation: regain the base model's quality",
        _small(500, 7e-5, (0.3, 0.4, 0.3), warmup=50), _full(2000, 1e-6), loss="decoupled",
    ),
    "stage2_plain": Stage(
        "plain distillation, the paper's ablation",
        _small(500, 7e-5, (0.3, 0.4, 0.3), warmup=50), _full(2000, 1e-6), loss="plain",
    ),
    "stage3": Stage(
        "motion discontinuity mitigation: solve the start gap",
        _small(600, 5e-4, (0.3, 0.4, 0.3), rank=64, jumps=True, warmup=50), _full(500, 1e-4, rank=64, jumps=True),
        pose_parts=False,
    ),
}  # fmt: skip


def columns() -> str:
    """Return the stages as a Markdown table, the 14B column beside the miniature's. training/README.md holds it."""
    head = "| stage | loss | 14B trains | steps, rate, frames | miniature trains | steps, rate, latent frames x clips |"
    rows = [head, "|" + " --- |" * 6]
    for name, stage in STAGES.items():
        full = "| - | a file"
        if stage.full:
            frames = 4 * stage.full.cuts.lengths[0][0] - 3
            full = f"| {trains(stage, stage.full)} | {_pace(stage.full)}, {frames}"
        clips = ", ".join(f"{frames} x {count}" for frames, count in stage.miniature.cuts.lengths)
        small = f"{trains(stage, stage.miniature)} | {_pace(stage.miniature)}, {clips}"
        rows.append(f"| {name} | {stage.loss} {full} | {small} |")
    return "\n".join(rows)


def trains(stage: Stage, column: Column) -> str:
    """Return in words what a column of the stage trains."""
    if not column.rank:
        return "all weights"
    return f"LoRA of rank {column.rank}{' and the pose tensors' if stage.pose_parts else ''}"


def _pace(column: Column) -> str:
    return f"{column.plan.steps}, {column.plan.learning_rate:g}"
