"""What a person wears: color histograms of the torso and the legs, to know somebody again.

An appearance is float64 [parts, bins]; the row of a part that is not seen is 0. Colors that have a hue are counted by
hue and brightness, the others by brightness alone, because the hue of a gray is noise.
"""

import numpy as np

from ..packages.opencv import import_cv2
from ..poses import LEFT_HIP, LEFT_SHOULDER, RIGHT_HIP, RIGHT_SHOULDER, VISIBLE_SCORE
from ..skeleton import LIMB_PATHS

HUES, VALUES, GRAYS = 12, 3, 6
BINS = HUES * VALUES + GRAYS
MIN_SATURATION, MIN_VALUE = 48, 32  # of 255; below them a color counts as gray
# Each part is made of quadrilaterals, as two opposite edges of joints; those of a limb are one.
TORSO = ((RIGHT_SHOULDER, RIGHT_HIP), (LEFT_SHOULDER, LEFT_HIP))
PARTS = ((TORSO,), tuple((limb, limb) for limb in LIMB_PATHS["upper_leg"] + LIMB_PATHS["lower_leg"]))
ALONG, ACROSS = np.linspace(0.15, 0.85, 16), np.linspace(0.15, 0.85, 9)
LIMB_WIDTH = 0.12  # of its length: a limb is sampled as a band about the line between its joints
MIN_SAMPLES = 40


def describe(frame: np.ndarray, points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the appearance [parts, bins] of the person at points [134, 2] in pixels of a uint8 RGB frame [H, W, 3]."""
    histograms = []
    for part in PARTS:
        cells = np.floor(_places(part, points, scores)).astype(int)
        inside = ((cells >= 0) & (cells < (frame.shape[1], frame.shape[0]))).all(1)
        histograms.append(_histogram(frame[cells[inside, 1], cells[inside, 0]]))
    return np.stack(histograms)


def blend(mean: np.ndarray | None, new: np.ndarray, share: float) -> np.ndarray:
    """Return the running mean of appearances with `share` of `new` in it; a part that is not seen changes nothing."""
    if mean is None:
        return new
    known, seen = mean.any(1, keepdims=True), new.any(1, keepdims=True)
    return np.where(known & seen, (1 - share) * mean + share * new, np.where(seen, new, mean))


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return [...] of appearances [..., parts, bins]: the Hellinger distance, 0 (alike) to 1.

    The mean over the parts seen in both; NaN where there is none.
    """
    distance = np.sqrt(np.clip(1 - np.sqrt(one * other).sum(-1), 0, 1))  # ... parts
    shared = one.any(-1) & other.any(-1)
    return np.where(shared, distance, 0).sum(-1) / np.where(shared.any(-1), shared.sum(-1), np.nan)


def changes(appearances: list[np.ndarray], window: int, least: int) -> np.ndarray:
    """Return [n]: how the mean of the `window` appearances before each of n differs from those from it on, else 0."""
    count = len(appearances)
    if count < 2 * least:
        return np.zeros(count)
    sums = np.concatenate([np.zeros((1, *appearances[0].shape)), np.cumsum(appearances, axis=0)])
    here = np.arange(count)
    before = sums[:-1] - sums[np.maximum(here - window, 0)]
    after = sums[np.minimum(here + window, count)] - sums[:-1]
    result = np.nan_to_num(difference(_normalized(before), _normalized(after)))
    return np.where((here >= least) & (here <= count - least), result, 0)


def _normalized(sums: np.ndarray) -> np.ndarray:
    total = sums.sum(-1, keepdims=True)
    return np.where(total > 1e-9, sums, 0) / np.maximum(total, 1e-9)


def _places(part, points: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the places [S, 2] to sample, of those quadrilaterals whose joints are all seen."""
    quads = []
    for quad in part:
        if (scores[np.array(quad)] < VISIBLE_SCORE).any():
            continue
        edges = points[np.array(quad)]
        if quad[0] == quad[1]:  # a limb is one line: the edges are those of the band about it
            along = edges[0, 1] - edges[0, 0]
            side = LIMB_WIDTH * np.array([-along[1], along[0]])
            edges = np.stack([edges[0] - side, edges[0] + side])
        quads.append(edges)
    if not quads:
        return np.zeros((0, 2))
    first, second = np.stack(quads, 1)[:, :, :, None, None]  # Q 2 1 1 xy, two edges of two ends
    edges = [e[:, 0] + ALONG[:, None, None] * (e[:, 1] - e[:, 0]) for e in (first, second)]  # Q along 1 xy
    return (edges[0] + ACROSS[:, None] * (edges[1] - edges[0])).reshape(-1, 2)


def _histogram(colors: np.ndarray) -> np.ndarray:
    """Return [bins], summing to 1, of uint8 RGB [S, 3]; 0 for too few. Hues are smeared into their neighbors."""
    cv2 = import_cv2()

    if len(colors) < MIN_SAMPLES:
        return np.zeros(BINS)
    hue, saturation, value = cv2.cvtColor(colors[:, None], cv2.COLOR_RGB2HSV_FULL)[:, 0].T.astype(int)
    colored = (saturation >= MIN_SATURATION) & (value >= MIN_VALUE)
    cell = hue * HUES // 256 * VALUES + value * VALUES // 256
    hues = np.bincount(cell[colored], minlength=HUES * VALUES).reshape(HUES, VALUES)
    hues = hues / 2 + (np.roll(hues, 1, 0) + np.roll(hues, -1, 0)) / 4
    grays = np.bincount(value[~colored] * GRAYS // 256, minlength=GRAYS)
    return np.concatenate([hues.ravel(), grays]) / len(colors)
