"""Metrics of clips against their ground truth, and their means over many pairs."""

import math

import numpy as np

from .pairs import Pair
from .parts import find_parts

PCK_WITHIN = 0.1  # of the person's height
GROUPS = {"head": ("head",), "hands": ("right_hand", "left_hand"), "feet": ("right_foot", "left_foot")}
LEAST_ERROR = 1e-4  # of squared error: PSNR ends at 88 dB


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR in dB of uint8 pictures of one shape."""
    error = np.square(found.astype(np.float64) - truth).mean()
    return float(10 * np.log10(255**2 / max(error, LEAST_ERROR)))


def metrics(pair: Pair, frames: np.ndarray) -> dict[str, float]:
    """Return the metrics of a clip that should show `pair.truth`.

    PCK: share of the parts that the truth shows from its second frame on, in all of GROUPS and in each, that are
    found within PCK_WITHIN of the person's height from where the truth has them; a part that is not found is wrong.
    """
    found, truth = find_parts(frames[1:]), find_parts(pair.truth.frames[1:])
    right = {}
    for part, where in truth.items():
        shown = np.isfinite(where).all(axis=1)
        right[part] = np.linalg.norm(found[part][shown] - where[shown], axis=1) < PCK_WITHIN * pair.height
    out = {"first_frame_psnr": psnr(frames[0], pair.photo), "truth_psnr": psnr(frames[1:], pair.truth.frames[1:])}
    groups = {"all": tuple(right), **GROUPS}
    for name, parts in groups.items():
        values = np.concatenate([right[part] for part in parts])
        out[f"pck_{name}"] = float(values.mean()) if len(values) else math.nan
    return out


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the pairs that have it, the same bits everywhere; NaN where none has it."""
    out = {}
    for name in rows[0]:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        out[name] = math.fsum(values) / len(values) if values else math.nan
    return out
