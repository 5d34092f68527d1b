"""Metrics of clips against their ground truth, and their means over many pairs.

Head, hands and feet are found by their colors alone: a part is the largest connected patch of vivid pixels of its hue,
and nothing else in the drawn world is as vivid.
"""

import math

import cv2
import numpy as np

from ..world.look import MARKERS
from .pairs import Pair

PCK_WITHIN = 0.1  # of the person's height
GROUPS = {"head": ("head",), "hands": ("right_hand", "left_hand"), "feet": ("right_foot", "left_foot")}
HUE_WITHIN = 11  # of 180
LEAST_SATURATION, LEAST_VALUE = 145, 90  # of 255
LEAST_AREA = 4 / 96**2  # of the picture
LEAST_ERROR = 1e-4  # of squared error: PSNR ends at 88 dB


def find_parts(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return part -> center in pixels [F, 2], NaN where it is not seen, in frames uint8 [F, H, W, 3] RGB."""
    found = {part: np.full((len(frames), 2), np.nan) for part in MARKERS}
    hues = {
        part: cv2.cvtColor(np.array([[color]], np.uint8), cv2.COLOR_RGB2HSV)[0, 0, 0] for part, color in MARKERS.items()
    }
    for index, frame in enumerate(frames):
        hsv = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2HSV)
        for part, hue in hues.items():
            found[part][index] = largest_patch(hsv, int(hue))
    return found


def largest_patch(hsv: np.ndarray, hue: int) -> np.ndarray:
    """Return the center of the largest vivid patch of a hue, NaN where there is none."""
    away = np.abs((hsv[..., 0].astype(int) - hue + 90) % 180 - 90)
    vivid = (away <= HUE_WITHIN) & (hsv[..., 1] >= LEAST_SATURATION) & (hsv[..., 2] >= LEAST_VALUE)
    count, _, stats, centers = cv2.connectedComponentsWithStats(vivid.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count < 2 or areas.max() < LEAST_AREA * vivid.size:
        return np.full(2, np.nan)
    return centers[1 + int(areas.argmax())]


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
