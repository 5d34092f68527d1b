"""Find people with BlazePose's detection network: windows on the frame, anchors, boxes to regions.

Source: BlazePose (arXiv:2006.10204) and MediaPipe modules/pose_detection, whose graph gives the numbers below. The
network is a single-shot detector: each of its 2254 anchors gives a score, a box, and four points, of which the middle
of the hips and a point on the circle around the whole body, above the head, say where the person is, how large and how
far leaned. Difference from MediaPipe: more than one person, and a second search in parts of the frame for small people.
"""

import math

import numpy as np

from ..boxes import around, suppress
from ..packages.opencv import import_cv2
from .detector import Region

SIDE = 224  # pixels, the network's input
LAYERS = ((8, 2), (16, 2), (32, 6))  # pixels between the cells of a feature map, anchors in a cell
CROP_SCALE = 1.25  # the landmark network was trained on squares that much larger than the circle around the body
SLIM = 0.5  # width of a region by its height, so that the regions of people side by side hardly overlap
MOST = 16
OVERLAP = 0.3  # boxes that share more than this, intersection over union, are one person
HIPS, CIRCLE = 4, 6  # columns of a box where x, y of the point begin; before them x, y, width, height


def anchor_centers() -> np.ndarray:
    """Return float32 [2254, 2]: x, y of the anchors in pixels of the network's input."""
    centers = []
    for stride, count in LAYERS:
        line = (np.arange(SIDE // stride) + 0.5) * stride
        cells = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
        centers.append(np.repeat(cells, count, axis=0))
    return np.concatenate(centers).astype(np.float32)


ANCHORS = anchor_centers()
Window = tuple[int, int, int]  # left, top, side: a square in pixels of the frame, perhaps partly outside it


def window_image(frame: np.ndarray, window: Window) -> np.ndarray:
    """Return float32 [3, 224, 224] in -1..1: the square window (left, top, side) of the frame, black outside it."""
    cv2 = import_cv2()

    left, top, side = window
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    edges = np.round(np.array([x0 - left, y0 - top, x1 - left, y1 - top]) * (SIDE / side)).astype(int)
    x, y = np.minimum(edges[:2], SIDE - 1)
    right, bottom = np.maximum(edges[2:], [x + 1, y + 1])
    part = cv2.resize(frame[y0:y1, x0:x1], (int(right - x), int(bottom - y)), interpolation=cv2.INTER_AREA)
    image = np.full((3, SIDE, SIDE), -1, np.float32)
    image[:, y:bottom, x:right] = part.transpose(2, 0, 1) * np.float32(1 / 127.5) - 1
    return image


def whole_frame(width: int, height: int) -> Window:
    """Return the window (left, top, side) that holds the frame in its middle."""
    side = max(width, height)
    return (width - side) // 2, (height - side) // 2, side


def tiles(width: int, height: int, side: int) -> list[Window]:
    """Return windows of that side that cover the frame, each overlapping the next by half or more."""

    def starts(length: int) -> np.ndarray:
        if length <= side:
            return np.array([(length - side) // 2])
        return np.linspace(0, length - side, math.ceil((length - side) / (side / 2)) + 1).astype(int)

    return [(int(x), int(y), side) for y in starts(height) for x in starts(width)]


def regions(boxes: np.ndarray, scores: np.ndarray, windows: list[Window], least: float) -> list[Region]:
    """Return the likely people in the network's outputs for W windows, the best score first, at most MOST.

    boxes: [W, 2254, 12], pixels of the network's input from the anchor; scores: [W, 2254, 1], logits; least: 0..1.
    """
    window, anchor = np.nonzero(scores[..., 0] > math.log(least / (1 - least)))
    places = np.array(windows, np.float64).reshape(-1, 3)[window]
    found = boxes[window, anchor].astype(np.float64)
    found[:, [0, 1, *range(4, 12)]] += np.tile(ANCHORS[anchor], 5)
    found *= places[:, 2:] / SIDE
    found[:, [0, 1, *range(4, 12)]] += np.tile(places[:, :2], 5)
    chances = sigmoid(scores[window, anchor, 0])
    best = suppress(around(found[:, :2], found[:, 2:4]), chances, OVERLAP)[:MOST]
    return [about(found[i, HIPS : HIPS + 2], found[i, CIRCLE : CIRCLE + 2], float(chances[i])) for i in best]


def about(hips: np.ndarray, above_head: np.ndarray, score: float) -> Region:
    """Return the region about the middle of the hips, as high as the circle through a point above the head."""
    dx, dy = (above_head - hips).tolist()
    height = 2 * math.hypot(dx, dy)
    return Region(float(hips[0]), float(hips[1]), SLIM * height, height, math.atan2(dx, -dy), score)


def crop_side(region: Region) -> float:
    """Return the side in pixels of the square that the landmark network reads."""
    return CROP_SCALE * max(region.width, region.height)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))
