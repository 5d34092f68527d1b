"""Everybody in a clip that may well be empty: for measuring videos, where seeing nobody is an answer and no mistake."""

from collections.abc import Callable, Iterable

import numpy as np

from ..detect.detector import Detector
from ..poses import PoseClip
from .extract import ExtractSettings, extract

SETTINGS = ExtractSettings(detect_every=1)


def search(
    frames: Iterable[np.ndarray],
    detector: Detector,
    size: tuple[int, int],
    count: int,
    on_frame: Callable[[int], None] = lambda _: None,
) -> PoseClip:
    """Return everybody in `count` frames, uint8 [H, W, 3] RGB, of `size` (width, height), looking for people in each.

    A clip in which nobody is seen has no tracks. on_frame: called after each frame with its index. ValueError if the
    detector fails or the size changes.
    """
    done = people = 0

    def note(index: int, _frame: np.ndarray, seen: list) -> None:
        nonlocal done, people
        on_frame(index)
        done, people = index + 1, people + len(seen)

    try:
        return extract(frames, detector, SETTINGS, note)
    except ValueError:
        if people or done < count:  # else all frames were looked at, and nobody is there
            raise
        return PoseClip(*size, count)
