"""Which steps of a run computed which branch, and where pose guidance acted, as a picture of the guidance's own log."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ...media.canvas import ACCENT, BEST, FAINT, GRID, INK, PANEL, Canvas, Color
from .run_log import BRANCHES, RunLog, name_steps

WIDTH, LEFT, RIGHT, TOP = 640, 160, 16, 84
LANE, GAP, FOOT, LETTERS, SMALL = 32, 8, 34, 20, 16
SINGLE_STEPS = 5  # pixels from which on a gap shows between two steps
NEGATIVE = (240, 150, 70)
WINDOW = (44, 58, 50)
COLORS = dict(zip(BRANCHES, (ACCENT, NEGATIVE, BEST), strict=True))


class Lane(NamedTuple):
    """The steps, from 0, on which a branch was computed, and those on which its last difference was reused."""

    computed: list[range]
    reused: list[range]


class Timeline(NamedTuple):
    """The lanes by branch, the steps on which the pose term acted, and the forward passes of all `runs` alike."""

    steps: int
    passes: int
    runs: int
    lanes: dict[str, Lane]
    pose: list[range]
    levels: tuple[float, ...]


def timeline(logs: Sequence[RunLog]) -> Timeline:
    """Return the timeline of runs with one schedule; steps are those of any of them. ValueError if there is none."""
    if not logs:
        raise ValueError("There is no run to show: nothing was sampled.")
    levels = max((log.levels for log in logs), key=len)
    lanes = {}
    for name in BRANCHES:
        computed = set().union(*(log.computed[name] for log in logs))
        lanes[name] = Lane(spans(computed), spans(set().union(*(log.reused[name] for log in logs))))
    pose = spans(set().union(*(log.pose_steps for log in logs)))
    ends = [span.stop for lane in lanes.values() for span in (*lane.computed, *lane.reused)]
    steps = max([len(levels) - 1, 1, *ends])
    return Timeline(steps, sum(log.passes for log in logs), len(logs), lanes, pose, levels)


def spans(steps: Iterable[int]) -> list[range]:
    """Return the steps as ranges without gaps, in order."""
    found: list[range] = []
    for step in sorted(steps):
        if found and found[-1].stop == step:
            found[-1] = range(found[-1].start, step + 1)
        else:
            found.append(range(step, step + 1))
    return found


def describe_pose(shown: Timeline) -> str:
    """Return where pose guidance acted, in steps that count from 1 and in sigma, the noise level they start at."""
    steps = [step for span in shown.pose for step in span]
    if not steps:
        return "no pose guidance"
    where = name_steps(steps) if len(shown.pose) == 1 or len(steps) < 6 else f"{len(steps)} steps"
    if len(shown.levels) <= steps[-1]:
        return f"pose guidance: {where}"
    first, last = (f"{shown.levels[step]:.3f}" for step in (steps[0], steps[-1]))
    sigmas = f"{first} to {last}" if len(steps) > 1 else first
    return f"pose guidance: {where}, sigma {sigmas}"


def draw_timeline(shown: Timeline) -> np.ndarray:
    """Return uint8 [H, 640, 3]: a lane for each branch over the steps, full where computed, dark where reused."""
    bottom = TOP + len(shown.lanes) * (LANE + GAP)
    canvas = Canvas(WIDTH, bottom + FOOT)
    steps = f"{shown.steps} steps" if shown.steps > 1 else "1 step"
    runs = f"{shown.runs} x {steps}" if shown.runs > 1 else steps
    canvas.text(16, 12, f"{runs}, {shown.passes} forward passes", INK, "la", LETTERS + 2)
    canvas.text(16, 44, describe_pose(shown), BEST if shown.pose else FAINT, "la", LETTERS)
    for span in shown.pose:
        canvas.box(step_place(shown, span.start), TOP - GAP, step_place(shown, span.stop), bottom, WINDOW)
    for number, (name, lane) in enumerate(shown.lanes.items()):
        _lane(canvas, shown, TOP + number * (LANE + GAP), name, lane)
    canvas.text(LEFT, bottom + 6, "step 1", FAINT, "la", SMALL)
    if any(lane.reused for lane in shown.lanes.values()):
        canvas.text((LEFT + WIDTH - RIGHT) / 2, bottom + 6, "dark: last difference reused", FAINT, "ma", SMALL)
    canvas.text(WIDTH - RIGHT, bottom + 6, str(shown.steps), FAINT, "ra", SMALL)
    return canvas.picture()


def step_place(shown: Timeline, step: int) -> float:
    """Return the pixel, from the left, where `step` starts; the next one starts where it ends."""
    return LEFT + step * (WIDTH - LEFT - RIGHT) / shown.steps


def _lane(canvas: Canvas, shown: Timeline, top: float, name: str, lane: Lane) -> None:
    used = bool(lane.computed or lane.reused)
    canvas.text(LEFT - 12, top + LANE / 2, name, INK if used else FAINT, "rm", LETTERS)
    middle = top + LANE / 2
    canvas.box(LEFT, middle - 1, WIDTH - RIGHT, middle, GRID)
    for drawn, color in ((lane.reused, dark(COLORS[name])), (lane.computed, COLORS[name])):
        for span in drawn:
            _cells(canvas, shown, span, top, color)


def _cells(canvas: Canvas, shown: Timeline, span: range, top: float, color: Color) -> None:
    """Draw a box for each step, or one for all of them where no gap fits."""
    wide = step_place(shown, 1) - LEFT >= SINGLE_STEPS
    for part in [range(step, step + 1) for step in span] if wide else [span]:
        left, right = (step_place(shown, step) for step in (part.start, part.stop))
        canvas.box(left, top, right - (1.5 if wide else 0), top + LANE, color)


def dark(color: Color) -> Color:
    """Return the color of a step on which the branch was not computed but its last difference reused."""
    red, green, blue = (round(0.35 * full + 0.65 * panel) for full, panel in zip(color, PANEL, strict=True))
    return red, green, blue
