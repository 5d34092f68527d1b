"""The table of stages as Markdown: the 14B column beside the miniature's. training/README.md holds it."""

from .stages import STAGES, Stage


def columns() -> str:
    """Return a row of each stage: what it trains, steps, learning rate and clips, at 14B and in the miniature."""
    head = "| stage | loss | trains | 14B: steps, rate, frames | miniature: steps, rate, latent frames x clips |"
    rows = [f"| {name} | {stage.loss} | {_trains(stage)} | {_full(stage)} | {_miniature(stage)} |"
            for name, stage in STAGES.items()]  # fmt: skip
    return "\n".join([head, "|" + " --- |" * 5, *rows])


def _trains(stage: Stage) -> str:
    if not stage.rank:
        return "all weights"
    return f"LoRA of rank {stage.rank}" + (" and the pose tensors" if stage.pose_parts else "")


def _full(stage: Stage) -> str:
    if stage.full is None:
        return "a file"
    (latent_frames, _), *_ = stage.full_cuts.lengths
    return f"{stage.full.steps}, {stage.full.learning_rate:g}, {4 * latent_frames - 3}"


def _miniature(stage: Stage) -> str:
    clips = ", ".join(f"{frames} x {count}" for frames, count in stage.cuts.lengths)
    return f"{stage.miniature.steps}, {stage.miniature.learning_rate:g}, {clips}"
