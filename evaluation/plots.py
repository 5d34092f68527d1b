"""Diagrams of figures: curves over the frames of one clip, bars over the runs of a comparison."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..media.canvas import ACCENT, BEST, FAINT, GRID, INK, PANEL, Canvas
from .metric_table import NAME, Row
from .metrics import MEASURES, measure_of, number

PANEL_WIDTH, PANEL_HEIGHT, GAP = 480, 200, 16
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 26  # margins of a curve in its panel
BAR_HEIGHT, BAR_GAP, BAR_LABEL, BAR_VALUE = 18, 6, 190, 70
LETTERS = 24  # of a bar's label


def draw_curves(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return uint8 [H, W, 3]: a panel for each curve [F] over the frames, with gaps where it is NaN.

    Without any value it is a line that says so.
    """
    order = [name for name in (*MEASURES, *curves) if name in curves and np.isfinite(curves[name]).any()]
    names = list(dict.fromkeys(order))
    if not names:
        return _empty("Nothing was measured frame by frame.")
    columns = min(2, len(names))
    rows = math.ceil(len(names) / columns)
    canvas = Canvas(columns * (PANEL_WIDTH + GAP) + GAP, rows * (PANEL_HEIGHT + GAP) + GAP)
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        _curve(canvas, GAP + column * (PANEL_WIDTH + GAP), GAP + row * (PANEL_HEIGHT + GAP), name, curves[name])
    return canvas.picture()


def draw_bars(rows: Sequence[Row], columns: Sequence[str]) -> np.ndarray:
    """Return uint8 [H, W, 3]: for each of the columns a panel with one bar for each row; the best bar is green.

    rows: as for a report, each with a "name". Bars start at 0. ValueError if there is no row or no column.
    """
    if not rows or not columns:
        raise ValueError("There are no bars to draw: give at least one row and one column of figures.")
    height = TOP + len(rows) * (BAR_HEIGHT + BAR_GAP) + BAR_GAP
    across = min(2, len(columns))
    canvas = Canvas(across * (PANEL_WIDTH + GAP) + GAP, math.ceil(len(columns) / across) * (height + GAP) + GAP)
    for place, column in enumerate(columns):
        row, at = divmod(place, across)
        _bars(canvas, GAP + at * (PANEL_WIDTH + GAP), GAP + row * (height + GAP), height, rows, column)
    return canvas.picture()


def _empty(text: str) -> np.ndarray:
    canvas = Canvas(PANEL_WIDTH + 2 * GAP, 2 * TOP)
    canvas.text(2 * GAP, TOP, text, INK, "lm")
    return canvas.picture()


def _curve(canvas: Canvas, x: int, y: int, name: str, curve: np.ndarray) -> None:
    low, high = _range(curve)
    canvas.box(x, y, x + PANEL_WIDTH, y + PANEL_HEIGHT, PANEL)
    mean = number(name, float(np.nanmean(curve)))
    canvas.text(x + 10, y + 8, f"{measure_of(name).label}: mean {mean} {measure_of(name).unit}".strip())
    left, right, top, bottom = x + LEFT, x + PANEL_WIDTH - RIGHT, y + TOP, y + PANEL_HEIGHT - BOTTOM
    for value in (low, (low + high) / 2, high):
        level = bottom - (value - low) / (high - low) * (bottom - top)
        canvas.line([(left, level), (right, level)], GRID, 1)
        canvas.text(left - 6, level, number(name, value), FAINT, "rm", 12)
    canvas.text(left, bottom + 6, "0", FAINT, "la", 12)
    canvas.text(right, bottom + 6, f"frame {len(curve) - 1}", FAINT, "ra", 12)
    across, up = (right - left) / max(len(curve) - 1, 1), (bottom - top) / (high - low)
    for run in _runs(curve):
        canvas.line([(left + i * across, bottom - (curve[i] - low) * up) for i in run], ACCENT)


def _range(curve: np.ndarray) -> tuple[float, float]:
    """Return the ends of the axis; a flat curve lies in the middle of it."""
    low, high = float(np.nanmin(curve)), float(np.nanmax(curve))
    margin = 0.0 if high > low else max(abs(low) * 0.05, 0.05)
    return low - margin, high + margin


def _runs(curve: np.ndarray) -> list[list[int]]:
    """Return the frames that have a value, in runs that a line joins: across every second frame too, if all skip."""
    known = np.flatnonzero(np.isfinite(curve)).tolist()
    step = min(np.diff(known), default=1)
    runs: list[list[int]] = []
    for frame in known:
        if runs and frame - runs[-1][-1] <= step:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    return runs


def _bars(canvas: Canvas, x: int, y: int, height: int, rows: Sequence[Row], column: str) -> None:
    values = [_figure(row.get(column)) for row in rows]
    known = [value for value in values if value is not None]
    better, largest = measure_of(column).better, max([abs(value) for value in known] + [1e-12])
    best = (max if better > 0 else min)(known) if known and better else None
    canvas.box(x, y, x + PANEL_WIDTH, y + height, PANEL)
    hint = {1: ", higher is better", -1: ", lower is better", 0: ""}[better]
    canvas.text(x + 10, y + 8, _label(column) + hint)
    left, room = x + BAR_LABEL, PANEL_WIDTH - BAR_LABEL - BAR_VALUE
    for place, (row, value) in enumerate(zip(rows, values, strict=True)):
        top = y + TOP + place * (BAR_HEIGHT + BAR_GAP)
        length = max(value or 0.0, 0.0) / largest * room
        canvas.text(left - 8, top + BAR_HEIGHT / 2, _short(str(row[NAME])), INK, "rm", 12)
        canvas.box(left, top, left + length, top + BAR_HEIGHT, BEST if value is not None and value == best else ACCENT)
        canvas.text(left + length + 6, top + BAR_HEIGHT / 2, number(column, value), FAINT, "lm", 12)


def _label(column: str) -> str:
    return ", ".join(filter(None, [measure_of(column).label, measure_of(column).unit]))


def _figure(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 3] + "..."
