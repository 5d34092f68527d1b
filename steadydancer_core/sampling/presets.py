"""Whole settings of a run by name: one table, a row each; benchmarks/guidance_shortcuts.py measures all of it.

"Official 40" is what SteadyDancer was published with. "Balanced 20" halves the steps and takes both shortcuts of
guidance; its solver is made for 15 to 20 guided steps (DPM-Solver++, arXiv:2211.01095). "Fast 6" and "Fast 4" are for
a step-distilled LoRA: such LoRAs are trained with the prompt's guidance built in, so text guidance is 1. "Fast 6" has
the solver and schedule of ComfyUI's template for Wan Animate 2; its window of 0.1 to 0.4 holds two of the six steps.
"Fast 4" takes straight steps from the levels of the official euler schedule; its window holds one of the four.
"""

from dataclasses import dataclass

from .guidance import PoseGuidance, TextGuidance

CUSTOM = "Custom"


@dataclass(frozen=True)
class Settings:
    """All that decides a run besides its conditions, its latent and its seed. The names are those of the sampler."""

    name: str
    steps: int
    text: TextGuidance
    pose: PoseGuidance
    solver: str
    scheduler: str = "official"
    shift: float = 5.0
    step_distilled: bool = False


ROWS = (
    Settings("Official 40", 40, TextGuidance(5.0), PoseGuidance(1.0, 0.1, 0.4), "official unipc"),
    Settings("Balanced 20", 20, TextGuidance(5.0, 0.5), PoseGuidance(1.0, 0.1, 0.4, every=2), "official dpm++"),
    Settings("Fast 6", 6, TextGuidance(1.0), PoseGuidance(1.0, 0.1, 0.4), "lcm", "simple", step_distilled=True),
    Settings("Fast 4", 4, TextGuidance(1.0), PoseGuidance(1.0, 0.1, 0.4), "official euler", step_distilled=True),
)
PRESETS = {row.name: row for row in ROWS}
CHOICES = (*PRESETS, CUSTOM)


def find(name: str | None) -> Settings | None:
    """Return the row called `name`, or None for CUSTOM; ValueError for a name that is neither."""
    if name not in CHOICES:
        found = f"There is no preset '{name}'." if name else "The preset is not one of this version."
        raise ValueError(f"{found} Choose one of: {', '.join(CHOICES)}.")
    return PRESETS.get(name)
