"""Where head, hands and feet are in a picture of the drawn world, found by their colors alone.

A part is the largest connected patch of vivid pixels of its hue. Nothing else in that world is as vivid.
"""

import cv2
import numpy as np

from ..world.look import MARKERS

HUE_WITHIN = 11  # of 180
LEAST_SATURATION, LEAST_VALUE = 145, 90  # of 255
LEAST_AREA = 4 / 96**2  # of the picture


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
