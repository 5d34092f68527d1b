"""How far a run is, in steps, and how long the rest takes, going by the forward passes of each step."""

import time
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .display import Display
from .guidance import PoseGuidance, TextGuidance
from .step_position import StepPosition


class PlannedStep(NamedTuple):
    """How many forward passes a step takes, and whether pose guidance acts on it."""

    passes: int
    pose: bool


def plan_steps(sigmas: Tensor, model_sampling, text: TextGuidance, pose: PoseGuidance) -> list[PlannedStep]:
    """Return what each step of a run over `sigmas` [steps + 1] computes, if every cached difference is there."""
    start, plan = StepPosition.at(sigmas[0], model_sampling, sigmas), []
    for step in range(len(sigmas) - 1):
        position = start.at_step(step)
        acts = pose.acts_at(position)
        passes = [
            text.scale != 0 or acts,
            text.scale != 1 and not text.reuse_at(position),
            acts and not pose.reuse_at(position),
        ]
        plan.append(PlannedStep(max(1, sum(passes)), acts))
    return plan


class RunProgress:
    """Reports the steps of one run, of a chunk where a video is made of several, to a display."""

    def __init__(self, display: Display, plan: list[PlannedStep], clock: Callable[[], float] = time.monotonic):
        self.display, self.plan, self.clock = display, plan, clock
        self.times: list[float] = []  # of the begin and of the end of each step

    def begin(self) -> None:
        """Report the first step: the model is loaded and is about to be evaluated for the first time."""
        self.times = [self.clock()]
        self._say(0, None)

    def step_done(self, step: int, total_steps: int) -> None:
        """Report the step after `step`, from 0, and the time left; both numbers count the steps of all chunks."""
        self.times.append(self.clock())
        chunk, done = divmod(step, len(self.plan))
        if done + 1 < len(self.plan):
            self._say(done + 1, self.seconds_left(done + 1, total_steps // len(self.plan) - chunk - 1))

    def seconds_left(self, done: int, chunks_left: int) -> float | None:
        """Return the seconds that the steps after the first `done` and further chunks take, None if not known yet.

        The first step warms up, so the others give the speed as soon as there are any.
        """
        first = min(done - 1, 1)
        if len(self.times) < done + 1:
            return None
        passes = [step.passes for step in self.plan]
        per_pass = (self.times[done] - self.times[first]) / sum(passes[first:done])
        return per_pass * (sum(passes[done:]) + chunks_left * sum(passes))

    def _say(self, done: int, seconds: float | None) -> None:
        pose = self.plan[done].pose
        self.display.say("step", step=done + 1, steps=len(self.plan), pose=pose, seconds=seconds)
