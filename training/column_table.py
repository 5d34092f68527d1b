"""The table of stages as Markdown: the 14B column beside the miniature's. training/README.md holds it."""

from .stages import STAGES


def columns() -> str:
    """Return a row of each stage: what it trains, steps, learning rate and clips, at 14B and in the miniature."""
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
