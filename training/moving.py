"""Which pixels of a clip move, and how well they come back: most of a clip stands still and hides a lost limb."""

import math

import numpy as np

CHANGED = 24  # of 255 levels, in the channel that changes most: above noise and shading, below any limb's contrast
LEAST_ERROR = 1e-4  # of squared error: PSNR ends at 88 dB


def moving_pixels(frames: np.ndarray) -> np.ndarray:
    """Return which pixels of a clip, uint8 [F, H, W, 3], differ from its first frame by more than CHANGED.

    bool [F, H, W]: where something has come to as well as what it has left; nothing in the first frame.
    """
    levels = frames.astype(np.int16)
    return np.abs(levels - levels[:1]).max(axis=-1) > CHANGED


def moving_psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR in dB of a clip over the moving pixels of its ground truth, uint8 [F, H, W, 3] each.

    NaN where nothing moves. ValueError: the clips are of different shapes.
    """
    if found.shape != truth.shape:
        raise ValueError(f"The clip is {list(found.shape)} and its ground truth {list(truth.shape)}; make them equal.")
    moving = moving_pixels(truth)
    if not moving.any():
        return math.nan
    error = np.square(found[moving].astype(np.float64) - truth[moving]).mean()
    return float(10 * np.log10(255**2 / max(error, LEAST_ERROR)))
