"""Where an evaluation of the model stands in a run, read from its noise level and never from a loop's index.

So windows and points stay where they belong in solvers that evaluate twice a step. A run that starts or ends on the way
(split sampling, denoise below 1) is placed by the model's own schedule, on which the official and simple ones lie.
"""

from dataclasses import dataclass, replace

from torch import Tensor

# The official UniPC schedule starts at timestep 999 of 1000, so its steps lie up to one timestep after index / steps.
TOLERANCE = 1.5 / 1000


@dataclass(frozen=True)
class Moment:
    """The noise level of one evaluation, and the levels [steps + 1] of its run (empty when they are not known)."""

    level: float
    levels: tuple[float, ...]
    model_sampling: object

    @classmethod
    def at(cls, sigma: Tensor, model_sampling, run: Tensor | None = None) -> "Moment":
        """Return the moment at noise level `sigma` [B] of a run over the sigmas `run` [steps + 1]."""
        return cls(float(sigma.max()), () if run is None else tuple(run.tolist()), model_sampling)

    @property
    def step(self) -> int:
        """The step that the level lies in, from 0; of a level between two steps, the earlier one."""
        return int(self._place()) if len(self.levels) > 1 else 0

    def at_step(self, step: int) -> "Moment":
        """Return the moment at which step `step` of the same run starts."""
        return replace(self, level=self.levels[step])

    def is_after(self, part: float) -> bool:
        """Return whether more than `part` (0..1) of the run lies behind."""
        if self._is_whole():
            return self._part() > part
        return self.level < self._model_level(part + TOLERANCE)

    def has_reached(self, part: float) -> bool:
        """Return whether at least `part` (0..1) of the run lies behind."""
        if self._is_whole():
            return self._part() >= part
        return self.level <= self._model_level(part - TOLERANCE)

    def _is_whole(self) -> bool:
        """Return whether the levels fall from pure noise to none."""
        return len(self.levels) > 1 and self.levels[-1] == 0 and self.levels[0] > self._model_level(TOLERANCE)

    def _part(self) -> float:
        return self._place() / (len(self.levels) - 1)

    def _place(self) -> float:
        """Return the steps behind: whole at the run's own levels, in between interpolated."""
        step = max((i for i, level in enumerate(self.levels[:-1]) if level >= self.level), default=0)
        span = self.levels[step] - self.levels[step + 1]
        part = max(0.0, self.levels[step] - self.level) / span if span > 0 else 0.0
        return round(step + part, 4)  # solvers that work in log-SNR come back to a level with a rounding error

    def _model_level(self, part: float) -> float:
        return float(self.model_sampling.percent_to_sigma(part))
