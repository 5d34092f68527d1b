"""Whether coordinates without a unit are pixels or fractions of the frame (0..1): decided once for a whole clip.

Fractions lie in 0..1 and, aligned to a close-up, a few frames beyond; pixels run into the hundreds. The median over all
keypoints seen separates the two.
"""

import numpy as np

from ...media.log import logger
from ..poses import BODY, FACE, FEET, LEFT_HAND, RIGHT_HAND

LARGEST_FRACTION = 4.0  # median coordinate up to which a clip is read as fractions
SMALLEST_CANVAS = 16  # on a smaller one, coordinates that small may well be pixels
TIE = 2.0  # a median within that factor of the largest fraction might be either


def in_fractions(points: np.ndarray, seen: np.ndarray, canvases: np.ndarray) -> np.ndarray:
    """Return bool [N, 134]: which coordinates of N people are fractions of the frame.

    points: [N, 134, 2]; seen: bool [N, 134]; canvases: [N, 2] in pixels. The body decides; hands, face and feet follow
    it unless theirs clearly are the other. A median near the border is a warning in the log.
    """
    result = np.zeros(seen.shape, bool)
    large_enough = canvases.max(axis=1) >= SMALLEST_CANVAS
    extent, counted = np.abs(points).max(axis=2), seen & large_enough[:, None]
    if not counted.any():
        return result
    deciding = counted.copy()
    if counted[:, BODY].any():
        deciding[:, BODY.stop :] = False
    median = float(np.median(extent[deciding]))
    fractions = median <= LARGEST_FRACTION
    if LARGEST_FRACTION / TIE < median < LARGEST_FRACTION * TIE:
        logger.warning(
            "These poses do not say whether they are in pixels or in fractions of the frame, and could be either: half "
            "of their coordinates are above %.2f. They are read as %s. If the skeletons come out far too large or "
            "small, save them with Save Poses in the workflow that made them.",
            median,
            "fractions" if fractions else "pixels",
        )
    result[:, BODY] = fractions
    for part in (FEET, FACE, LEFT_HAND, RIGHT_HAND):
        seen = counted[:, part]
        if not seen.any():
            result[:, part] = fractions
        elif fractions:
            result[:, part] = np.median(extent[:, part][seen]) <= LARGEST_FRACTION * TIE
        else:  # a keypoint alone may lie in the corner: pixels of a body need two keypoints a list to be doubted
            is_small = np.median(extent[:, part][seen]) <= LARGEST_FRACTION / TIE
            result[:, part] = is_small and seen.sum() > seen.any(axis=1).sum()
    return result & large_enough[:, None]
