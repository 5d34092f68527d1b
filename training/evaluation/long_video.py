"""A long video of the miniature in overlapping windows: its seams, its first frame and its truth."""

from copy import copy

import numpy as np

from ...media.frames import to_float
from ...steadydancer_core.long_video.seams import seam_scores
from ...steadydancer_core.long_video.windows import apply_windows, window_borders
from .metrics import metrics
from .pairs import make_pair
from .system import System, aligned
from .worlds import NEW, World

FRAMES, WINDOW, OVERLAP = 161, 33, 17


def measure_long(
    system: System, size: int, index: int = 0, frames: int = FRAMES, world: World = NEW
) -> tuple[dict[str, float], np.ndarray]:
    """Return the metrics of a pair of `frames` frames, its seams' mean jump and largest color shift, and the clip.

    `truth_jump` is the same seam score of the true answer: what the motion itself amounts to there.
    """
    pair, windowed = make_pair(index, "place", frames, size, world), copy(system)
    windowed.model = apply_windows(system.model, WINDOW, OVERLAP)
    (clip,) = windowed.run([pair], [aligned(pair)])
    borders, reach = window_borders(frames, WINDOW, OVERLAP)
    found, truth = (seam_scores(to_float(f), borders, reach) for f in (clip, pair.truth.frames))
    jumps = {"seam_jump": found, "truth_jump": truth}
    out = {name: float(np.mean([score.jump for score in scores])) for name, scores in jumps.items()}
    color = max(score.color for score in found)
    return metrics(pair, clip) | out | {"seam_colour": color, "seams": len(found)}, clip
