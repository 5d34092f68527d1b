"""Seams of a long video: how much a border between windows or chunks shows, as numbers.

A border is the first frame of the next part; it shows by a larger change than around it, and by another color.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...media.frame_source import FrameSource

NEIGHBORS = 8  # frames on each side of a border that it is compared with
STILL = 0.25 / 255  # a change below the rounding of 8 bits counts as this much
VISIBLE_JUMP, VISIBLE_COLOR = 2.0, 4.0


class SeamScore(NamedTuple):
    """One border, by its frame. jump: the largest change there over the median around it, 1 is as everywhere else.

    color: how far the mean color moves across the border beyond what it moves around it, in 255ths.
    """

    frame: int
    jump: float
    color: float

    @property
    def visible(self) -> bool:
        """Whether an eye would find this border."""
        return self.jump > VISIBLE_JUMP or self.color > VISIBLE_COLOR


def seam_scores(frames: FrameSource, borders: Sequence[int], reach: int = 0) -> list[SeamScore]:
    """Score the inner borders of `frames` [F, H, W, 3], 0..1, each spread over `reach` frames on both sides."""
    return [_score(frames, border, reach) for border in borders if 0 < border < frames.shape[0]]


def describe(scores: Sequence[SeamScore]) -> str:
    """Return a table of the scores in words, one border a line, and a verdict."""
    if not scores:
        return "No seam: the video is one part."
    rows = [
        f"frame {score.frame}: change {score.jump:.2f} x that around it, color shift {score.color:.1f} of 255"
        + (" (visible)" if score.visible else "")
        for score in scores
    ]
    visible = sum(score.visible for score in scores)
    return "\n".join([f"{visible} of {len(scores)} seams should be visible.", *rows])


def _score(frames: FrameSource, border: int, reach: int) -> SeamScore:
    start = max(0, border - reach - NEIGHBORS - 1)
    near = frames[start : border + reach + NEIGHBORS + 1].float()
    changes = (near[1:] - near[:-1]).abs().mean(dim=(1, 2, 3))  # changes[i] lies between frames i and i + 1 of `near`
    first = max(0, border - start - 1 - reach)
    last = min(border - start - 1 + reach, len(changes) - 1)
    usual, at = _usual_and_at(changes, first, last)
    colors = near.mean(dim=(1, 2))  # frames, 3
    steps = (colors[1:] - colors[:-1]).abs()
    moved = (colors[last + 1] - colors[first]).abs()
    beyond = moved - (last - first + 1) * _usual_and_at(steps, first, last)[0]
    jump = float(at.max()) / max(float(usual), STILL)
    return SeamScore(border, jump, max(0.0, float(beyond.max())) * 255)


def _usual_and_at(changes: Tensor, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Return the median of the changes outside first..last (0 where there are none), and those inside."""
    around = torch.cat([changes[:first], changes[last + 1 :]])
    usual = around.median(dim=0).values if len(around) else torch.zeros_like(changes[0])
    return usual, changes[first : last + 1]
