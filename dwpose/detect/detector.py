"""What every pose detector offers, whichever network is behind it.

A frame is uint8 [H, W, 3], RGB. Coordinates are pixels of the frame, x to the right and y down.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np

from ..boxes import around


class Region(NamedTuple):
    """Where a person is: center and size in pixels, the angle in radians by which the person leans clockwise."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0
    score: float = 1.0


GRID = 16  # steps of the place within the longer side of a region
SIZES = 8  # steps of the size from one to twice as large
ANGLE = math.pi / 32  # step of the angle, radians


def on_grid(region: Region) -> Region:
    """Return the region with its size, angle and place rounded to a grid; the grid of the place depends on the size.

    Where one pose gives the crop for the next, differences in the last bits would otherwise grow from frame to frame.
    The cost: 10 % more jitter (mean acceleration of the joints, 70 frames at 720p); finer grids cost 9 to 13 %.
    """
    width, height = (2 ** (round(SIZES * math.log2(side)) / SIZES) if side > 0 else side for side in region[2:4])
    step = max(width, height) / GRID or 1.0
    x, y = (round(place / step) * step for place in region[:2])
    return Region(x, y, width, height, round(region.angle / ANGLE) * ANGLE, region.score)


def region_of(low: np.ndarray, high: np.ndarray, score: float, padding: float = 1.0) -> Region:
    """Return the region of a box from `low` to `high`, each x, y; padding multiplies its size."""
    (x, y), (width, height) = (low + high) / 2, (high - low) * padding
    return Region(float(x), float(y), float(width), float(height), score=float(score))


def boxes(regions: Iterable[Region]) -> np.ndarray:
    """Return [N, 4]: left, top, right, bottom, without the angle."""
    rows = np.array([(r.x, r.y, r.width, r.height) for r in regions], float).reshape(-1, 4)
    return around(rows[:, :2], rows[:, 2:])


class Detector(Protocol):
    """Finds people and their keypoints. Holds its networks, but nothing of the frames it saw."""

    fingerprint: str  # the same for the same files and settings: part of the pose cache's key

    @property
    def name(self) -> str:
        """Return the name for people, such as "DW-Pose (CUDA)"."""

    @property
    def notes(self) -> list[str]:
        """Return what runs where, and why not on the GPU if there is one."""

    def prepare(self, make_room: Callable[[], None]) -> None:
        """Get ready for a video, on the GPU if it is no longer full; `make_room` is called only if a GPU computes."""

    def find(self, frame: np.ndarray, fine: bool = True, check: Callable[[], None] | None = None) -> list[Region]:
        """Return the people in the frame, the best score first; an empty list if there is nobody.

        fine: search small parts of the frame too, which is slow. check: called between runs; what it raises ends all.
        """

    def estimate(self, frame: np.ndarray, regions: list[Region], /) -> tuple[np.ndarray, np.ndarray]:
        """Return the keypoints in N regions: points [N, 134, 2] in pixels, scores [N, 134], 0 where there is nobody."""

    def follow(self, points: np.ndarray, scores: np.ndarray) -> Region | None:
        """Return the next region of a person seen at points [134, 2], scores [134]; None if too little is seen."""
