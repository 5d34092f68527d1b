"""HDR pixels for a screen of standard range, for previews; poses are found on the pixels as they are coded.

Sources: ITU-R BT.2100 (PQ and HLG, with a system gamma of 1.2 at 1000 cd/m2), ITU-R BT.2408 (white at 203 cd/m2),
ITU-R BT.2087 (BT.2020 to BT.709), IEC 61966-2-1 (sRGB).
"""

import numpy as np

from .quantize import quantize

PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273
WHITE = 203.0  # cd/m2
KNEE = 0.5  # of white; what is darker keeps its brightness
TO_BT709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]]
)
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])


def tone_mapped(pixels: np.ndarray, transfer: int) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB coded by PQ or HLG in BT.2020 as sRGB; pixels of any other transfer as they are."""
    if transfer not in (PQ, HLG):
        return pixels
    coded = np.arange(256) / 255
    light = (_pq if transfer == PQ else _hlg)(coded)[pixels]
    if transfer == HLG:
        light *= 1000 * np.maximum(light @ LUMA_2020, 1e-6)[..., None] ** 0.2
    linear = np.maximum(light / WHITE @ TO_BT709.T, 0)
    peak = np.maximum(linear.max(-1, keepdims=True), 1e-6)
    over = np.maximum(peak - KNEE, 0)
    linear *= np.minimum(peak, KNEE + (1 - KNEE) * (1 - np.exp(-over / (1 - KNEE)))) / peak
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)
    return quantize(shown)


def _pq(coded: np.ndarray) -> np.ndarray:
    """Return light in cd/m2."""
    root = coded ** (32 / 2523)
    return 10000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)


def _hlg(coded: np.ndarray) -> np.ndarray:
    """Return scene light, 0..1."""
    bright = (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(coded <= 0.5, coded**2 / 3, bright)
