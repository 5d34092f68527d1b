"""Floats in 0..1 to the whole numbers of pictures and videos."""

import numpy as np

WHITE_8_BIT = 255
BLOCK = 1 << 18  # numbers at a time: fresh memory for a whole frame takes longer than the arithmetic


def quantize(pixels: np.ndarray, white: int = WHITE_8_BIT) -> np.ndarray:
    """Return floats in 0..1 as 0..white, uint8 or uint16, rounded half to even and clipped; NaN is 0."""
    levels = np.empty(pixels.shape, np.uint8 if white <= WHITE_8_BIT else np.uint16)
    quantize_to(levels, pixels, white)
    return levels


def quantize_to(levels: np.ndarray, pixels: np.ndarray, white: int) -> bool:
    """Write floats to `levels` of the same shape as `quantize` does; return whether they are all finite."""
    if pixels.ndim > 3:
        return min([quantize_to(one, frame, white) for one, frame in zip(levels, pixels, strict=True)], default=True)
    rows, all_finite = max(1, BLOCK * len(pixels) // max(1, pixels.size)), True
    for start in range(0, len(pixels), rows):
        block = pixels[start : start + rows]
        low, high = block.min(initial=0), block.max(initial=0)  # NaN if anything is
        if not (low >= 0 and high <= 1):
            finite = bool(np.isfinite(low) and np.isfinite(high))
            block = np.clip(block if finite else np.nan_to_num(block), 0, 1)
            all_finite &= finite
        block = block * white
        np.rint(block, out=block)
        levels[start : start + rows] = block
    return all_finite
