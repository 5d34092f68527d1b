"""Decoupled-condition guidance: prompt and pose each act with a strength of their own.

    v = v_neg + s_text (v_pos - v_neg) + s_pose (v_pos - v_posenegative)    inside the window
    v = v_neg + s_text (v_pos - v_neg)                                      outside

Source: paper B.3, equation 8; SteadyDancer wan/image2video_dancer.py, generate(). The weights sum to 1, so the formula
holds on ComfyUI's denoised predictions as it does on velocities. A branch of weight 0 is never computed.

Two shortcuts, off by default, reuse a difference v_pos - v_other from an earlier step of the run instead of running the
model again: v_neg after a fraction of the steps, v_posenegative on the steps between every k-th of the window. The
cached difference is that of the velocities; benchmarks/guidance_shortcuts.py measures both against the full result and
against leaving the term out. Where nothing is cached yet, the branch is computed.

Differences from upstream: an evaluation's place in the run is read from its noise level (step_position.py).
"""

import math
from dataclasses import dataclass

from torch import Tensor

from .step_position import StepPosition

CACHED = "steadydancer_cached_differences"
UNUSED = "Pose guidance is 0, so the connected pose_negative is not used."


@dataclass(frozen=True)
class TextGuidance:
    """Strength of the prompt (1 is off), and the fraction of the steps after which its difference is reused (1: never).

    Raises ValueError for a strength that is not finite and for a fraction outside 0..1.
    """

    scale: float = 5.0
    skip_negative_after: float = 1.0

    def __post_init__(self):
        if not math.isfinite(self.scale):
            raise ValueError(f"Text guidance is {self.scale}; it must be a number. 5.0 is official, 1.0 is off.")
        if not 0 <= self.skip_negative_after <= 1:
            raise ValueError(
                f"skip_negative_after is {self.skip_negative_after}; it must be between 0 and 1. 0.5 computes the "
                "negative prompt in the first half of the run, 1 in all of it."
            )

    def reuse_at(self, position: StepPosition) -> bool:
        """Return whether the cached difference replaces the negative prompt."""
        return self.skip_negative_after < 1 and position.has_reached(self.skip_negative_after)


@dataclass(frozen=True)
class PoseGuidance:
    """Strength of the pose (0 is off), the fractions between which it acts, ends open; every k-th step computes it.

    Raises ValueError for a negative strength, a window that is empty or not inside 0..1 and `every` below 1.
    """

    scale: float = 1.0
    start: float = 0.1
    end: float = 0.4
    every: int = 1

    def __post_init__(self):
        if not 0 <= self.scale < math.inf:
            raise ValueError(
                f"Pose guidance is {self.scale}; it must be 0 (off) or more. 1.0 is the official strength."
            )
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(
                f"The pose window goes from {self.start} to {self.end}; it must start before it ends, between 0 and 1. "
                "0.1 to 0.4 is official."
            )
        if self.every < 1:
            raise ValueError(f"pose_every is {self.every}; it must be 1 (every step of the window) or more.")

    def acts_at(self, position: StepPosition) -> bool:
        """Return whether the position lies inside the window."""
        return self.scale > 0 and position.is_after(self.start) and not position.has_reached(self.end)

    def reuse_at(self, position: StepPosition) -> bool:
        """Return whether the cached difference replaces the pose-negative, inside the window."""
        inside = (step for step in range(len(position.levels) - 1) if self.acts_at(position.at_step(step)))
        first = next(inside, position.step)
        return (position.step - first) % self.every > 0


def add_pose_term(guided: Tensor, positive: Tensor, pose_negative: Tensor, scale: float) -> Tensor:
    """Return `guided` plus s_pose (v_pos - v_posenegative)."""
    return guided + scale * (positive - pose_negative)


def cache_difference(run_options: dict, name: str, difference: Tensor, level: float) -> None:
    """Cache the `difference` of two denoised latents at noise level `level` for the rest of the run, as a velocity."""
    if level > 0:
        run_options.setdefault(CACHED, {})[name] = difference / level


def cached_difference(run_options: dict, name: str, level: float) -> Tensor:
    """Return the cached difference as one of denoised latents at noise level `level`; KeyError where there is none."""
    return run_options[CACHED][name] * level
