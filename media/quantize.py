"""Floats in 0..1 to the whole numbers of pictures and videos."""

import numpy as np

WHITE_8_BIT = 255
BLOCK = 1 << 18  # numbers at a time: fresh memory for a whole frame takes longer than the arithmetic


def quantize(pixels: np.ndarray, white: int = WHITE_8_BIT) -> np.ndarray:
    """Return floats in 0..1 as 0..white, uint8 or uint16, rounded half to even and clipped; NaN is 0."""
    levels = np.empty(pixels.shape, np.uint8 if white <= WHITE_8_BIT else np.uint16)
    _fill(levels, pixels, white)
    return levels


def _fill(levels: np.ndarray, pixels: np.ndarray, white: int) -> None:
    if pixels.ndim > 3:
        for one, frame in zip(levels, pixels, strict=True):
            _fill(one, frame, white)
        return
    rows = max(1, BLOCK * len(pixels) // max(1, pixels.size))
    for start in range(0, len(pixels), rows):
        block = np.clip(pixels[start : start + rows], 0, 1)
        block *= white
        np.rint(block, out=block)
        if np.isnan(block.max(initial=0)):
            np.nan_to_num(block, copy=False)
        levels[start : start + rows] = block
