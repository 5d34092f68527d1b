"""Metrics of clips against their ground truth, and their means over many pairs.

Head, hands and feet are found by their colors alone: a part is the largest connected patch of vivid pixels of its hue,
and nothing else in the drawn world is as vivid.
"""

import math

import cv2
import numpy as np

from ..moving import moving_psnr
from ..world.look import MARKERS
from .pairs import Pair

PCK_WITHIN = 0.1  # of the person's height
LATENT_FRAMES = 4  # of the video in each latent frame but the first, which has one
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
    `hands_<latent frame>`: the same of the hands in the frames of each latent frame, where 0 is the first frame.
    `moving_psnr`: over the moving pixels of the truth (../moving.py).
    """
    truth = pair.truth.frames
    found, shown = find_parts(frames), find_parts(truth)
    right = {}  # part -> [F]: 1 where it is right, NaN where the truth does not show it
    for part, where in shown.items():
        near = np.linalg.norm(found[part] - where, axis=1) < PCK_WITHIN * pair.height
        right[part] = np.where(np.isfinite(where).all(axis=1), near, np.nan)
    out = {
        "first_frame_psnr": psnr(frames[0], pair.photo),
        "truth_psnr": psnr(frames[1:], truth[1:]),
        "moving_psnr": moving_psnr(frames, truth),
    }
    for name, parts in {"all": tuple(right), **GROUPS}.items():
        out[f"pck_{name}"] = _share(np.stack([right[part][1:] for part in parts]))
    hands = np.stack([right[part] for part in GROUPS["hands"]])
    latent = [hands[:, :1], *np.split(hands[:, 1:], range(LATENT_FRAMES, hands.shape[1] - 1, LATENT_FRAMES), axis=1)]
    return out | {f"hands_{index}": _share(values) for index, values in enumerate(latent)}


def _share(right: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none."""
    values = right[np.isfinite(right)]
    return float(values.mean()) if len(values) else math.nan


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the pairs that have it, the same bits everywhere; NaN where none has it."""
    out = {}
    for name in rows[0]:
        values = [row[name] for row in rows if not math.isnan(row[name])]
        out[name] = math.fsum(values) / len(values) if values else math.nan
    return out


def hands_by_latent_frame(rows: list[dict[str, float]]) -> list[float]:
    """Return the mean `hands_<latent frame>` of each latent frame, in order; nothing if they were not measured."""
    found = means(rows)
    return [found[f"hands_{index}"] for index in range(len(found)) if f"hands_{index}" in found]
