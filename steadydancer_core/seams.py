"""Seams of a long video: how much a border between windows or chunks shows, as numbers.

A border is a frame: the first that comes from the next part. Two things give a border away: the picture changes there
more than it does around it, and the colours before and after differ.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 8  # frames on each side of a border that it is compared with
STILL = 0.25 / 255  # a change below the rounding of 8 bits counts as this much
VISIBLE_JUMP, VISIBLE_COLOUR = 2.0, 4.0


class SeamScore(NamedTuple):
    """One border.

    frame: index of the border; jump: largest change from one frame to the next at the border over the median of
    such changes around it, 1 is as everywhere else; colour: how far the mean colour moves from before to after,
    beyond its trend, in 255ths of the channel that moves most.
    """

    frame: int
    jump: float
    colour: float

    @property
    def visible(self) -> bool:
        """Whether an eye would find this border."""
        return self.jump > VISIBLE_JUMP or self.colour > VISIBLE_COLOUR


def seam_scores(frames: Tensor, borders: Sequence[int], reach: int = 0) -> list[SeamScore]:
    """Score the borders of `frames` [F, H, W, 3] in 0..1; a border may spread over `reach` frames on both sides.

    Borders without a frame on each side are left out. Only frames near borders are read.
    """
    return [_score(frames, border, reach) for border in borders if 0 < border < frames.shape[0]]


def describe(scores: Sequence[SeamScore]) -> str:
    """Return a table of the scores in words, one border a line, and a verdict."""
    if not scores:
        return "No seam: the video is one part."
    rows = [
        f"frame {score.frame}: change {score.jump:.2f} x that around it, colour shift {score.colour:.1f} of 255"
        + (" (visible)" if score.visible else "")
        for score in scores
    ]
    visible = sum(score.visible for score in scores)
    return "\n".join([f"{visible} of {len(scores)} seams should be visible.", *rows])


def _score(frames: Tensor, border: int, reach: int) -> SeamScore:
    start = max(0, border - reach - NEIGHBOURS - 1)
    near = frames[start : border + reach + NEIGHBOURS + 1].float()
    changes = (near[1:] - near[:-1]).abs().mean(dim=(1, 2, 3))  # changes[i] lies between frames i and i + 1 of `near`
    first, last = max(0, border - start - 1 - reach), border - start - 1 + reach
    at = changes[first : last + 1]
    around = torch.cat([changes[:first], changes[last + 1 :]])
    usual = float(around.median()) if len(around) else STILL
    return SeamScore(border, float(at.max()) / max(usual, STILL), _colour_shift(near, first + 1, last + 1))


def _colour_shift(near: Tensor, first: int, last: int) -> float:
    """Return how far the mean colour moves over frames first..last beyond its trend on both sides, in 255ths."""
    colours = near.mean(dim=(1, 2))  # frames, 3
    sides = colours[:first], colours[last:]
    trend = torch.cat([side.diff(dim=0) for side in sides])
    trend = trend.median(dim=0).values if len(trend) else torch.zeros(3)
    distance = (last + len(near) - first) / 2  # between the middles of both sides
    before, after = (side.mean(dim=0) for side in sides)
    return float((after - before - trend * distance).abs().max()) * 255
