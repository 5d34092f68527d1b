"""How far each preset and shortcut of guidance lies from the full official result, and how many forward passes it asks.

The model is made up (the golden one of the tests), so the numbers compare shortcuts with each other and with leaving
the term out; they say nothing of SteadyDancer-14B's pictures. Distance: |latent - full| / |full|, mean over the seeds.
The second table replaces the cached difference by none: of text guidance on the steps without v_neg, of the pose term
on the steps between, and of the pose term made up for by twice the strength on the others.
"""

import logging
import statistics
import sys
from dataclasses import replace
from functools import cache
from unittest import mock

from comfy_client.in_process import use_comfyui

use_comfyui()

# isort: split
import comfy.utils
import torch

from steadydancer_pack.benchmarks.golden_model import GoldenInputs, load_golden_model, make_conditions
from steadydancer_pack.steadydancer_core.sampling import guider, presets
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample, with_shift
from steadydancer_pack.steadydancer_core.sampling.run_log import RunLog

SEEDS = (0, 1, 2)
FULL = presets.PRESETS["Official 40"]
BALANCED = presets.PRESETS["Balanced 20"]
PLAIN_20 = replace(FULL, steps=20)


def skipped(after: float) -> presets.Settings:
    return replace(FULL, text=TextGuidance(5.0, after))


def posed(every: int, scale: float = 1.0) -> presets.Settings:
    return replace(FULL, pose=PoseGuidance(scale, 0.1, 0.4, every))


ROWS = {
    **presets.PRESETS,
    "Official 40, skip_negative_after 0.75": skipped(0.75),
    "Official 40, skip_negative_after 0.5": skipped(0.5),
    "Official 40, skip_negative_after 0.4": skipped(0.4),
    "Official 40, text_guidance 1": replace(FULL, text=TextGuidance(1.0)),
    "Official 40, pose_every 2": posed(2),
    "Official 40, pose_every 3": posed(3),
    "Official 40, pose_guidance 0": replace(FULL, pose=PoseGuidance(0.0)),
    "Official 40, both shortcuts as in Balanced 20": replace(FULL, text=BALANCED.text, pose=BALANCED.pose),
    "20 steps, official unipc": PLAIN_20,
    "20 steps, official dpm++": replace(PLAIN_20, solver="official dpm++"),
    "20 steps, official euler": replace(PLAIN_20, solver="official euler"),
}
WITHOUT_CACHE = {
    "Official 40, no text guidance after 0.5": skipped(0.5),
    "Official 40, pose term on every second step only": posed(2),
    "Official 40, pose term on every second step only, at twice the strength": posed(2, scale=2.0),
}


class Bench:
    def __init__(self):
        self.model, self.inputs = load_golden_model(), GoldenInputs()
        self.conditions = make_conditions(self.model, self.inputs)

    def run(self, settings: presets.Settings, seed: int) -> tuple[torch.Tensor, RunLog]:
        """Return the latent [1, 16, T, h, w] and what it asked of the model."""
        conditions = self.conditions if settings.pose.scale else (*self.conditions[:2], None)
        guider = make_guider(
            with_shift(self.model, settings.shift),
            *conditions,
            settings.text.scale,
            settings.pose,
            settings.text.skip_negative_after,
        )
        latent = {"samples": torch.zeros(1, 16, *self.inputs.size)}
        result = sample(guider, latent, seed, settings.solver, settings.scheduler, settings.steps)
        return result["samples"], guider.log

    def distance(self, settings: presets.Settings) -> tuple[int, float]:
        """Return the forward passes and the mean distance to FULL."""
        runs = [(self.full(seed), *self.run(settings, seed)) for seed in SEEDS]
        distances = [float((found - want).norm() / want.norm()) for want, found, _ in runs]
        return runs[0][2].passes, statistics.mean(distances)

    @cache  # noqa: B019  one bench lives as long as the program
    def full(self, seed: int) -> torch.Tensor:
        return self.run(FULL, seed)[0]


def table(bench: Bench, rows: dict[str, presets.Settings]) -> str:
    measured = ((name, *bench.distance(settings)) for name, settings in rows.items())
    lines = [f"| {name} | {passes} | {distance:.4f} |" for name, passes, distance in measured]
    return "\n".join(["| Settings | Forward passes | Distance to Official 40 |", "|---|---|---|", *lines, "", ""])


def main() -> None:
    comfy.utils.PROGRESS_BAR_ENABLED = False
    logging.disable(logging.WARNING)
    bench = Bench()
    sys.stdout.write(table(bench, ROWS))
    cached = guider.cached_difference
    with mock.patch.object(guider, "cached_difference", lambda *args: 0 * cached(*args)):
        sys.stdout.write(table(bench, WITHOUT_CACHE))


if __name__ == "__main__":
    main()
