"""Where an evaluation of the model stands in a run, read from its noise level and never from a loop's index.

So windows also hold in solvers that evaluate twice a step. A run that does not go from pure noise to none (split
sampling, denoise below 1) is placed by the model's own schedule, on which the official and simple ones lie.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

# The official UniPC schedule starts at timestep 999 of 1000, so its steps lie up to one timestep after index / steps.
TOLERANCE = 1.5 / 1000


@dataclass(frozen=True)
class StepPosition:
    """The noise level of one evaluation, and the levels [steps + 1] of its run (empty when they are not known)."""

    level: float
    levels: tuple[float, ...]
    model_sampling: Any

    @classmethod
    def at(cls, sigma: Tensor, model_sampling, sigmas: Tensor | None = None) -> "StepPosition":
        """Return the position at noise level `sigma` [B] of a run over `sigmas` [steps + 1]."""
        return cls(float(sigma.max()), () if sigmas is None else tuple(sigmas.tolist()), model_sampling)

    @classmethod
    def in_run(cls, sigma: Tensor, model_sampling, model_options: dict) -> "StepPosition":
        """Return the position at noise level `sigma` [B] of the run that has these options."""
        return cls.at(sigma, model_sampling, model_options.get("transformer_options", {}).get("sample_sigmas"))

    @property
    def step(self) -> int:
        """The step that the level lies in, from 0; of a level between two steps, the earlier one."""
        return int(self._steps_done()) if len(self.levels) > 1 else 0

    def at_step(self, step: int) -> "StepPosition":
        """Return the position at which step `step` of the same run starts."""
        return replace(self, level=self.levels[step])

    def is_after(self, fraction: float) -> bool:
        """Return whether more than `fraction` (0..1) of the steps is done."""
        if self._is_whole():
            return self._steps_done() / (len(self.levels) - 1) > fraction
        return self.level < self.model_sampling.percent_to_sigma(fraction + TOLERANCE)

    def has_reached(self, fraction: float) -> bool:
        """Return whether at least `fraction` (0..1) of the steps is done."""
        if self._is_whole():
            return self._steps_done() / (len(self.levels) - 1) >= fraction
        return self.level <= self.model_sampling.percent_to_sigma(fraction - TOLERANCE)

    def is_within(self, start: float, end: float) -> bool:
        """Return whether it lies between two fractions of the steps, `start` included; 0 to 1 is all of the run."""
        return (start == 0 or self.has_reached(start)) and (end == 1 or not self.has_reached(end))

    def _is_whole(self) -> bool:
        """Return whether the levels fall from pure noise to none."""
        pure_noise = self.model_sampling.percent_to_sigma(TOLERANCE)
        return len(self.levels) > 1 and self.levels[-1] == 0 and self.levels[0] > pure_noise

    def _steps_done(self) -> float:
        """Return the steps done: whole at the run's own levels, in between interpolated."""
        step = max((i for i, level in enumerate(self.levels[:-1]) if level >= self.level), default=0)
        span = self.levels[step] - self.levels[step + 1]
        fraction = max(0.0, self.levels[step] - self.level) / span if span > 0 else 0.0
        return round(step + fraction, 4)  # solvers that work in log-SNR come back to a level with a rounding error


def check_fractions(name: str, start: float, end: float) -> None:
    """Raise ValueError unless `name` starts before it ends, inside the run."""
    if not 0 <= start < end <= 1:
        raise ValueError(
            f"{name} acts from {start} to {end} of the steps; it must start before it ends, between 0 and 1. 0 to 1 is "
            "the whole run."
        )
