"""Find people with YOLOX: letterbox, decode, non-maximum suppression.

Contract: Megvii YOLOX 0.1.1rc0, yolox_l.onnx. Input float32 [1, 3, 640, 640], 0..255, trained on BGR; output
[1, 8400, 85], one row per cell: center and log size in cells, objectness, 80 class scores. Thresholds: SteadyDancer
preprocess/dwpose/wholebody.py (score) and its detector's config (overlap). Difference from upstream: a lower score
where nobody is found, and never the whole picture in place of a person.
"""

import numpy as np

from ..boxes import suppress
from ..packages.opencv import import_cv2
from .detector import Region, region_of
from .runtime import Session

STRIDES = (8, 16, 32)
PAD_VALUE = 114
ROW = 85  # numbers for each cell: box 4, objectness, COCO's 80 classes
PERSON = 0  # of these classes
SCORE = 0.5
LOW_SCORE = 0.25  # where nobody reaches SCORE
OVERLAP = 0.65
DEFAULT_SIZE = 640


class PersonFinder:
    """A YOLOX network. It keeps its grid of cells, but nothing of the frames it saw."""

    def __init__(self, session: Session, bgr: bool = True):
        (self._input, shape), *_ = session.inputs.items()
        self._session, self._bgr = session, bgr
        self._height, self._width = (size or DEFAULT_SIZE for size in shape[2:])
        self._cells, self._strides = grid(self._height, self._width)

    def find(self, frame: np.ndarray) -> list[Region]:
        """Return the people in uint8 RGB [H, W, 3], the best score first."""
        blob, ratio = letterbox(frame, self._height, self._width, self._bgr)
        rows = self._session.run({self._input: blob})[0][0]
        if rows.shape != (len(self._cells), ROW):
            raise ValueError(f"The person detector gives {rows.shape} numbers, not YOLOX's. Choose yolox_l.onnx.")
        boxes, scores = decode(rows, self._cells, self._strides)
        return people(boxes / ratio, scores)


def letterbox(frame: np.ndarray, height: int, width: int, bgr: bool) -> tuple[np.ndarray, float]:
    """Return the RGB frame as float32 [1, 3, height, width] in its top left corner on gray, and the scale used."""
    cv2 = import_cv2()
    h, w = frame.shape[:2]
    ratio = min(height / h, width / w)
    new_w, new_h = max(1, int(w * ratio)), max(1, int(h * ratio))
    canvas = np.full((height, width, 3), PAD_VALUE, np.uint8)
    canvas[:new_h, :new_w] = cv2.resize(frame, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    blob = np.ascontiguousarray(canvas[..., :: -1 if bgr else 1].transpose(2, 0, 1)[None], np.float32)
    return blob, ratio


def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return of every cell its corner [A, 2] as x, y counted in cells, and its stride [A, 1] in pixels."""
    levels = [np.mgrid[: height // s, : width // s].reshape(2, -1)[::-1].T for s in STRIDES]
    strides = [np.full((len(level), 1), s) for level, s in zip(levels, STRIDES, strict=True)]
    return np.concatenate(levels).astype(np.float64), np.concatenate(strides).astype(np.float64)


def decode(rows: np.ndarray, cells: np.ndarray, strides: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the person boxes [K, 4], x1, y1, x2, y2 in pixels of the network, and scores [K] of rows [A, 85]."""
    kept = np.flatnonzero(rows[:, 4] * rows[:, 5 + PERSON] > LOW_SCORE)
    kept = kept[rows[kept, 5:].argmax(axis=1) == PERSON]
    rows, strides = rows[kept].astype(np.float64), strides[kept]
    center = (rows[:, :2] + cells[kept]) * strides
    half = np.exp(rows[:, 2:4]) * strides / 2
    return np.concatenate([center - half, center + half], axis=1), rows[:, 4] * rows[:, 5 + PERSON]


def people(boxes: np.ndarray, scores: np.ndarray) -> list[Region]:
    """Return the boxes [K, 4] of sure people, or of the less sure where there are none, the best score first."""
    sure = scores > SCORE
    if sure.any():
        boxes, scores = boxes[sure], scores[sure]
    return [region_of(boxes[i, :2], boxes[i, 2:], scores[i]) for i in suppress(boxes, scores, OVERLAP)]
