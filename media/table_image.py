"""A table as a picture."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .canvas import FAINT, GRID, INK, Canvas

FIRST, OTHERS, ROW, LETTERS, MARGIN = 150, 84, 28, 20, 12  # widths of the columns, height of a row, pixels


class Line(NamedTuple):
    """A row: a word and its numbers. A faint one holds no number of its own, a heading has a line under it."""

    cells: Sequence[str]
    faint: bool = False
    heading: bool = False


def draw_table(lines: Sequence[Line], footnote: str = "") -> np.ndarray:
    """Return uint8 [H, W, 3]: a row for each of the lines, numbers to the right; then a line of small text."""
    columns = max(len(line.cells) for line in lines)
    height = len(lines) * ROW + (ROW if footnote else 0) + MARGIN
    canvas = Canvas(FIRST + (columns - 1) * OTHERS + 2 * MARGIN, height)
    for row, line in enumerate(lines):
        middle = row * ROW + ROW / 2 + MARGIN / 2
        color = FAINT if line.faint or line.heading else INK
        canvas.text(MARGIN, middle, line.cells[0], color, "lm", LETTERS)
        for column, number in enumerate(line.cells[1:], 1):
            canvas.text(MARGIN + FIRST + column * OTHERS, middle, number, color, "rm", LETTERS)
        if line.heading:
            canvas.box(MARGIN, middle + ROW / 2 - 1, canvas.size[0] - MARGIN, middle + ROW / 2, GRID)
    if footnote:
        canvas.text(MARGIN, height - ROW / 2 - MARGIN / 2, footnote, FAINT, "lm", LETTERS - 4)
    return canvas.picture()
