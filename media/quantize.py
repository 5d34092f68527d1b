"""Floats in 0..1 to the whole numbers of pictures and videos."""

import numpy as np

WHITE_8_BIT = 255


def quantize(pixels: np.ndarray, white: int = WHITE_8_BIT) -> np.ndarray:
    """Return floats in 0..1 as 0..white, uint8 or uint16, rounded half to even and clipped; NaN is 0."""
    levels = np.rint(np.clip(np.nan_to_num(pixels), 0, 1) * white)
    return levels.astype(np.uint8 if white <= WHITE_8_BIT else np.uint16)
