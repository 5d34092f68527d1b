"""Pictures beside each other, each with a caption, and tables as pictures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from .canvas import BACKGROUND, FAINT, GRID, INK, Canvas

GAP, CAPTION, LETTERS = 12, 30, 20
FIRST, OTHERS, ROW, MARGIN = 150, 84, 28, 12  # of a table: widths of the columns, height of a row
CAPTION_WIDTH = 170  # pixels that a caption of 15 letters takes


def shrink(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return uint8 [H, W, 3], made smaller in its own shape to fit into width x height pixels, never larger."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def beside(pictures: Sequence[np.ndarray], captions: Sequence[str] = ()) -> np.ndarray:
    """Return uint8 [H, W, 3]: the pictures, uint8 [h, w, 3], from left to right, with their captions over them."""
    top, least = (GAP + CAPTION, CAPTION_WIDTH) if captions else (GAP, 0)
    lefts = np.cumsum([GAP, *(max(picture.shape[1], least) + GAP for picture in pictures)]).tolist()
    width, height = lefts.pop(), top + max(len(picture) for picture in pictures) + GAP
    sheet = np.full((height, width, 3), BACKGROUND, np.uint8)
    if captions:
        canvas = Canvas(width, top)
        for left, caption in zip(lefts, captions, strict=True):
            canvas.text(left, GAP, caption, INK, "la", LETTERS)
        sheet[:top] = canvas.picture()
    for left, picture in zip(lefts, pictures, strict=True):
        sheet[top : top + len(picture), left : left + picture.shape[1]] = picture
    return sheet


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
