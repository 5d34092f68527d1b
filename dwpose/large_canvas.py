"""A canvas of twice a frame's size, and PIL's antialiased bicubic shrink of what is drawn on it, bit for bit.

A drawing is mostly black, and so is its shrunk frame: PIL is given only the cells that hold something and those around
them, side by side in one image. Cells that the filter cuts off at the frame's edge are shrunk with their whole row or
column. First the width is shrunk, then the height: PIL rounds between the two.
"""

from functools import reduce

import numpy as np
from PIL import Image

OVERSAMPLING = 2
REACH = 7  # pixels from the edge within which the filter is cut off: 8 wide, its first pixel at -3
# Cells as (rows, columns). The filter reaches from a cell into its neighbors, not beyond.
WIDE, TALL = (16, 4), (8, 8)  # of the drawing while the width is shrunk, then of that while the height is
ALIGNMENT = 16  # pixels; whole cells of both kinds


def canvas_bytes(width: int, height: int) -> int:
    """Return the memory of a canvas for frames of this size."""
    return 3 * OVERSAMPLING * (OVERSAMPLING + 1) * width * height


class LargeCanvas:
    """What one thread draws on. drawing: uint8 [2 * height, 2 * width, 3] RGB, black between frames."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        rows, columns = (-(-OVERSAMPLING * side // ALIGNMENT) * ALIGNMENT for side in (height, width))
        self._large = np.zeros((rows, columns, 3), np.uint8)
        self._narrow = np.zeros((rows, columns // OVERSAMPLING, 3), np.uint8)
        self.drawing = self._large[: OVERSAMPLING * height, : OVERSAMPLING * width]

    def move_to(self, frame: np.ndarray) -> None:
        """Write the shrunk drawing to `frame`, black [height, width, 3] of uint8 or floats in 0..1, and clear it."""
        drawn = self._drawn()
        if not drawn.any():
            return
        narrow = self._shrink_width(drawn)
        padded = tuple(side // OVERSAMPLING for side in self._large.shape[:2])
        whole = frame if frame.shape[:2] == padded else np.zeros((*padded, 3), frame.dtype)
        self._shrink_height(narrow, whole)
        if whole is not frame:
            frame[:] = whole[: self.height, : self.width]
        rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
        top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
        self._large[top * WIDE[0] : bottom * WIDE[0], left * WIDE[1] : right * WIDE[1]] = 0
        self._narrow.reshape(len(narrow), WIDE[0], -1)[narrow.any(axis=1)] = 0

    def _drawn(self) -> np.ndarray:
        """Return bool [R, C]: the WIDE cells that are not black."""
        rows, columns = self._large.shape[0] // WIDE[0], self._large.shape[1] // WIDE[1]
        words = np.bitwise_or.reduce(self._large.reshape(rows, WIDE[0], -1).view(np.uint32), axis=1)
        first, *others = words.reshape(rows, columns, -1).transpose(2, 0, 1)  # NumPy is slow along a short axis
        return reduce(np.bitwise_or, others, first) != 0

    def _shrink_width(self, drawn: np.ndarray) -> np.ndarray:
        """Shrink the drawing to `_narrow`; return bool [R, C]: its cells, 16 rows and 2 columns, that are not black."""
        first, last = -(-REACH // WIDE[1]), (OVERSAMPLING * self.width - REACH) // WIDE[1]
        cut = np.logical_or.reduce(drawn[:, np.r_[:first, last : drawn.shape[1]]], axis=1)
        spread = drawn.copy()
        spread[:, 1:] |= drawn[:, :-1]
        spread[:, :-1] |= drawn[:, 1:]
        if cut.any():
            rows = self._large.reshape(len(drawn), WIDE[0], -1, 3)[cut][:, :, : OVERSAMPLING * self.width]
            small = _resized(rows.reshape(-1, *rows.shape[2:]), (self.width, len(rows) * WIDE[0]))
            whole = self._narrow.reshape(len(drawn), WIDE[0], -1, 3)
            whole[cut, :, : self.width] = small.reshape(-1, WIDE[0], self.width, 3)
        rows, columns = np.nonzero(spread & ~cut[:, None])
        if len(rows):
            # A black cell at both ends, where PIL cuts the filter off.
            rows, columns = np.pad(rows, 1, "edge"), np.concatenate([columns[:1] - 1, columns, columns[-1:] + 1])
            ribbon = _cells(self._large, *WIDE)[rows, :, columns].swapaxes(0, 1).reshape(WIDE[0], -1, 3)
            small = _resized(ribbon, (ribbon.shape[1] // OVERSAMPLING, WIDE[0]))
            narrow = _cells(self._narrow, WIDE[0], WIDE[1] // OVERSAMPLING)
            narrow[rows, :, columns] = small.reshape(WIDE[0], len(rows), -1).swapaxes(0, 1)
        return spread

    def _shrink_height(self, narrow: np.ndarray, frame: np.ndarray) -> None:
        """Shrink `_narrow`, whose cells `narrow` are not black, to `frame`, of whole cells."""
        merged = TALL[1] * OVERSAMPLING // WIDE[1]  # cells in a row
        drawn = reduce(np.bitwise_or, (narrow[:, i::merged] for i in range(merged))).repeat(WIDE[0] // TALL[0], axis=0)
        last = (OVERSAMPLING * self.height - REACH) // TALL[0]
        cut = drawn[0] | drawn[last:].any(axis=0)
        spread = drawn.copy()
        spread[1:] |= drawn[:-1]
        spread[:-1] |= drawn[1:]
        if cut.any():
            columns = self._narrow.reshape(len(self._narrow), -1, TALL[1] * 3)[: OVERSAMPLING * self.height, cut]
            small = _resized(columns.reshape(len(columns), -1, 3), (columns.shape[1] * TALL[1], self.height))
            whole = frame.reshape(len(frame), -1, TALL[1] * 3)
            whole[: self.height, cut] = _levels(small.reshape(self.height, -1, TALL[1] * 3), frame.dtype)
        columns, rows = np.nonzero((spread & ~cut).T)
        if len(rows):
            ribbon = _cells(self._narrow, *TALL)[rows, :, columns].reshape(-1, TALL[1], 3)
            small = _resized(ribbon, (TALL[1], len(ribbon) // OVERSAMPLING))
            cells = _cells(frame, TALL[0] // OVERSAMPLING, TALL[1])
            cells[rows, :, columns] = _levels(small.reshape(len(rows), -1, TALL[1] * 3), frame.dtype)


def _cells(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return a view [R, rows, C, columns * 3] of a picture [R * rows, C * columns, 3]."""
    return picture.reshape(len(picture) // rows, rows, picture.shape[1] // columns, columns * 3)


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _levels(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return uint8 pixels as they are, or as floats in 0..1."""
    return pixels if dtype == np.uint8 else np.divide(pixels, 255, dtype=dtype)
