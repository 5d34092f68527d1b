"""Charts of metrics by matplotlib: curves over the frames of one clip, bars over the runs of a comparison.

matplotlib is imported when a chart is drawn, under its default settings: other packs may have changed the process's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from ..media.canvas import Canvas
from .extra_packages import MATPLOTLIB, import_from
from .metric_table import NAME, Row, best_rows, heading, numbers_of
from .metrics import METRICS, metric_of, number

PANEL_WIDTH, CURVE_HEIGHT, BAR_HEIGHT = 4.9, 2.3, 0.24  # inches
COLOR, BEST_COLOR = "dodgerblue", "limegreen"
OURS = {"figure.constrained_layout.w_pad": 0.12, "axes.titlelocation": "left", "font.size": 9, "text.parse_math": False}
STYLE = ("default", "dark_background", OURS)
DRAWING = Lock()  # matplotlib's settings are those of the process


def draw_curves(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return uint8 [H, W, 3]: a panel for each curve [F], gaps where it is NaN. MissingPackage without matplotlib."""
    known = {name: curves[name] for name in (*METRICS, *curves) if name in curves and np.isfinite(curves[name]).any()}
    if not known:
        return text_picture("Nothing was measured frame by frame.")

    def draw(axes: Any, name: str) -> None:
        curve, unit = known[name], metric_of(name).unit
        axes.set_title(f"{metric_of(name).label}: mean {number(name, np.nanmean(curve))} {unit}".rstrip())
        frames = np.flatnonzero(np.isfinite(curve))
        step = np.diff(frames).min(initial=len(curve))  # some metrics have a value on every second frame only
        for run in np.split(frames, np.flatnonzero(np.diff(frames) > step) + 1):
            axes.plot(run, curve[run], color=COLOR, marker="." if len(run) == 1 else "")
        axes.set_xlim(0, max(len(curve) - 1, 1))
        axes.set_xlabel("frame")
        axes.grid(axis="y", alpha=0.3)

    return _panels(list(known), CURVE_HEIGHT, draw)


def draw_bars(rows: Sequence[Row], columns: Sequence[str]) -> np.ndarray:
    """Return uint8 [H, W, 3]: a panel for each column, with a bar for each row. ValueError without rows or columns."""
    if not rows or not columns:
        raise ValueError("There are no bars to draw: give at least one row and one column of metrics.")

    def draw(axes: Any, column: str) -> None:
        places, values = range(len(rows)), numbers_of(rows, column)
        best = best_rows(column, rows, places)
        colors = [BEST_COLOR if place in best else COLOR for place in places]
        bars = axes.barh(places, [values.get(place, 0) for place in places], color=colors)
        axes.bar_label(bars, [number(column, row.get(column)) for row in rows], padding=4)
        axes.set_title(heading(column))
        axes.set_yticks(places, [str(row[NAME]) for row in rows])
        axes.margins(x=0.3)
        axes.invert_yaxis()
        axes.tick_params(length=0, labelbottom=False)

    return _panels(columns, 0.6 + BAR_HEIGHT * len(rows), draw)


def draw_lines(title: str, lines: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return uint8 [H, W, 3]: named lines of shares 0..1 in one panel. ValueError without a line."""
    if not lines:
        raise ValueError("There are no lines to draw: give at least one.")

    def draw(axes: Any, name: str) -> None:
        for label, values in lines.items():
            axes.plot(range(len(values)), values, marker=".", label=label)
        axes.set_title(name)
        axes.set_xticks(range(max(map(len, lines.values()))))
        axes.set_ylim(0, 1.05)
        axes.grid(axis="y", alpha=0.3)
        axes.legend(fontsize=7)

    return _panels([title], CURVE_HEIGHT, draw)


def text_picture(text: str) -> np.ndarray:
    """Return a line of text as a picture, uint8 [H, W, 3]."""
    canvas = Canvas(512, 68)
    canvas.text(32, 34, text, anchor="lm")
    return canvas.picture()


def _panels(names: Sequence[str], height: float, draw: Callable[[Any, str], None]) -> np.ndarray:
    """Return uint8 [H, W, 3]: two columns of panels, `height` inches each, into which `draw` draws what has a name."""
    figures, agg = import_from(MATPLOTLIB, "figure"), import_from(MATPLOTLIB, "backends.backend_agg")
    across = min(2, len(names))
    down = math.ceil(len(names) / across)
    with DRAWING, import_from(MATPLOTLIB, "style").context(STYLE):
        figure = figures.Figure(figsize=(across * PANEL_WIDTH, down * height), layout="constrained")
        canvas = agg.FigureCanvasAgg(figure)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            draw(axes, name)
        for axes in panels[len(names) :]:
            axes.remove()
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
