"""Keypoints by SimCC: crop a person, run the network, read one peak along x and one along y for each keypoint.

Contract: DWPose dw-ll_ucoco_384.onnx, trained on RGB. Input float32 [N, 3, 384, 288], normalized; outputs simcc_x
[N, 133, 576] and simcc_y [N, 133, 768]: two bins for each pixel of the crop, logits, not probabilities. Crop and
decoding as mmpose's TopdownAffine and SimCCLabel, flip test as its RTMCC head.
"""

from typing import NamedTuple

import numpy as np

from ..packages.opencv import import_cv2
from .detector import Region
from .runtime import Session

# of the network's three channels, whichever colors they get
MEAN = np.array([123.675, 116.28, 103.53], np.float32).reshape(3, 1, 1)
STD = np.array([58.395, 57.12, 57.375], np.float32).reshape(3, 1, 1)
KEYPOINTS = 133  # COCO-WholeBody
PADDING = 1.25
SPLIT = 2.0  # bins for each pixel
NOT_FOUND = -1.0  # the bin of a keypoint without a peak
CROP_SIZE = 384, 288  # height and width, where the network takes any
BATCH = 16  # crops in one run at most, about 5 MB each within the network's input and outputs


class Crops(NamedTuple):
    """Where N crops lie in the frame: centers and sizes float64 [N, 2], x and y in pixels."""

    centers: np.ndarray
    sizes: np.ndarray


class SimccPose:
    """A SimCC network. mirror: for a flip test, each keypoint's index in a mirrored picture [133]; else None."""

    def __init__(self, session: Session, bgr: bool = False, mirror: np.ndarray | None = None):
        ((self._input, shape),) = session.inputs.items()
        self._session, self._bgr, self._mirror = session, bgr, mirror
        self._batch = shape[0] or BATCH
        self._height, self._width = (size or usual for size, usual in zip(shape[2:], CROP_SIZE, strict=True))

    def estimate(self, frame: np.ndarray, regions: list[Region]) -> tuple[np.ndarray, np.ndarray]:
        """Return points [N, 133, 2] in pixels of the frame, uint8 RGB [H, W, 3], and scores [N, 133], 0 or above."""
        if not regions:
            return np.zeros((0, KEYPOINTS, 2)), np.zeros((0, KEYPOINTS))
        crops = place(regions, self._width / self._height)
        batch = cut(frame, crops, self._width, self._height, self._bgr)
        if self._mirror is None:
            x, y = self._run(batch)
        else:
            (x, y), (x2, y2) = unmirrored(*self._run(np.concatenate([batch, batch[..., ::-1]])), self._mirror)
            x, y = (x + x2) / 2, (y + y2) / 2
        points, scores = decode(x, y)
        return to_frame(points, crops, self._width, self._height), scores

    def _run(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = (batch[i : i + self._batch] for i in range(0, len(batch), self._batch))
        outputs = [self._session.run({self._input: np.ascontiguousarray(part)}) for part in parts]
        x, y = (np.concatenate(axis) for axis in zip(*outputs, strict=True))
        if x.shape[1] != KEYPOINTS:
            raise ValueError(
                f"The pose network gives {x.shape[1]} keypoints; needed are {KEYPOINTS}. Choose dw-ll_ucoco_384.onnx."
            )
        return x, y


def place(regions: list[Region], aspect: float) -> Crops:
    """Return the crops about the regions: padded, and the short side grown to `aspect`, width by height."""
    boxes = np.array([region[:4] for region in regions], np.float64)
    width, height = (boxes[:, 2:].clip(min=1) * PADDING).T
    sizes = np.stack([np.maximum(width, height * aspect), np.maximum(height, width / aspect)], axis=1)
    return Crops(boxes[:, :2], sizes)


def cut(frame: np.ndarray, crops: Crops, width: int, height: int, bgr: bool) -> np.ndarray:
    """Return the crops of the RGB frame as float32 [N, 3, height, width], normalized; black where there is no frame."""
    cv2 = import_cv2()
    batch = np.empty((len(crops.centers), 3, height, width), np.float32)
    for blob, (x, y), (size, _) in zip(batch, *crops, strict=True):
        scale = width / size
        matrix = np.array([[scale, 0, width / 2 - scale * x], [0, scale, height / 2 - scale * y]])
        crop = cv2.warpAffine(frame, matrix, (width, height), flags=cv2.INTER_LINEAR)
        blob[:] = crop[..., :: -1 if bgr else 1].transpose(2, 0, 1)
    batch -= MEAN
    batch /= STD
    return batch


def decode(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 133, 2] in pixels of the crop and scores [N, 133] from the bins along x and y [N, 133, bins].

    The score is the lower of both peaks; without one above 0 it is 0, and the point lies half a pixel outside.
    """
    bins = np.stack([x.argmax(axis=2), y.argmax(axis=2)], axis=2)
    peaks = [np.take_along_axis(axis, bins[..., i, None], axis=2) for i, axis in enumerate((x, y))]
    scores = np.minimum(*peaks)[..., 0].astype(np.float64)
    found = scores > 0  # False for NaN as well
    return np.where(found[..., None], bins, NOT_FOUND) / SPLIT, np.where(found, scores, 0.0)


def to_frame(points: np.ndarray, crops: Crops, width: int, height: int) -> np.ndarray:
    """Return points [N, 133, 2] in pixels of width x height crops as pixels of the frame."""
    return points / (width, height) * crops.sizes[:, None] + (crops.centers - crops.sizes / 2)[:, None]


def unmirrored(x: np.ndarray, y: np.ndarray, mirror: np.ndarray):
    """Return (x, y) of the first half of a batch [2N, 133, bins], and of its second, mirrored half, put right."""
    n = len(x) // 2
    return (x[:n], y[:n]), (x[n:, mirror, ::-1], y[n:, mirror])
