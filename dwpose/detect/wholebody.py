"""DW-Pose: YOLOX finds the people, a SimCC network their 133 COCO-WholeBody keypoints, put into OpenPose's order.

Source: IDEA-Research/DWPose, and SteadyDancer preprocess/dwpose. Difference from upstream: a region in which no body
joint is seen is empty, and no region is the whole picture.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...media.file_hash import file_sha256
from ..packages.onnxruntime_advice import Gpu
from ..poses import BODY, KEYPOINTS, VISIBLE_SCORE
from .detector import Region, region_of
from .detector_files import DWPOSE, YOLOX, open_network
from .runtime import AUTO, prepare
from .simcc import KEYPOINTS as COCO_KEYPOINTS
from .simcc import SimccPose
from .yolox import PersonFinder

COCO_SHOULDERS = [5, 6]
NECK_SCORE = 0.3  # both shoulders above it: there is a neck
COCO_NECK = COCO_KEYPOINTS  # appended to COCO's own
# OpenPose's body in COCO's numbers: nose, neck, right arm, left arm, right leg, left leg, eyes, ears
BODY_ORDER = (0, COCO_NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
ORDER = np.array([*BODY_ORDER, *range(17, COCO_KEYPOINTS)])

FACE = 23  # where the 68 face points start
FACE_MIRROR = (  # points of the face, and the sum of the numbers of two that change places in a mirror
    (range(0, 17), 16), (range(17, 27), 43), (range(31, 36), 66),
    ((*range(36, 40), *range(42, 46)), 81), ((40, 41, 46, 47), 87),
    (range(48, 55), 102), (range(55, 60), 114), (range(60, 65), 124), (range(65, 68), 132),
)  # fmt: skip
# first on the left, first on the right, how many: joints of body, feet and hands that change sides in a mirror
SIDES = (*((left, left + 1, 1) for left in range(1, 17, 2)), (17, 20, 3), (91, 112, 21))

FOLLOW_PADDING = 1.1  # the keypoints do not reach the top of the head and the tips of the toes
FOLLOW_JOINTS = 4


class ColorOrder(NamedTuple):
    """Whether each network sees blue where red should be first."""

    yolox_bgr: bool
    pose_bgr: bool


COLOR_ORDERS = {
    "trained": ColorOrder(yolox_bgr=True, pose_bgr=False),  # what the networks learned from
    "official": ColorOrder(yolox_bgr=False, pose_bgr=True),  # what SteadyDancer's preprocessing feeds them
}


def _mirror_table() -> np.ndarray:
    """Return [133]: for each keypoint the one that takes its place in a mirrored picture."""
    table = np.arange(COCO_KEYPOINTS)
    for points, total in FACE_MIRROR:
        table[[FACE + i for i in points]] = [FACE + total - i for i in points]
    for left, right, n in SIDES:
        table[left : left + n] = np.arange(right, right + n)
        table[right : right + n] = np.arange(left, left + n)
    return table


MIRROR = _mirror_table()
assert len(ORDER) == KEYPOINTS and (MIRROR[MIRROR] == np.arange(COCO_KEYPOINTS)).all()


class DWPose:
    """The Detector of detector.py with YOLOX and DW-Pose files; ValueError if files or provider do not serve.

    provider: one of runtime.CHOICES. flip_test: average with a mirrored crop. color_order: a key of COLOR_ORDERS.
    official: whether the settings are those of SteadyDancer's preprocessing.
    """

    def __init__(
        self,
        yolox: Path | str,
        dwpose: Path | str,
        provider: str = AUTO,
        gpu: Gpu | None = None,
        flip_test: bool = False,
        color_order: str = "trained",
    ):
        if color_order not in COLOR_ORDERS:
            raise ValueError(f"Unknown color order '{color_order}'. Choose one of {', '.join(COLOR_ORDERS)}.")
        order = COLOR_ORDERS[color_order]
        files = (yolox, YOLOX), (dwpose, DWPOSE)
        self._sessions = finder, pose = [open_network(path, kind, provider, gpu) for path, kind in files]
        self._files, self._settings = (Path(yolox), Path(dwpose)), f"flip={flip_test} color={color_order}"
        self.official = flip_test and color_order == "official"
        self._finder = PersonFinder(finder, order.yolox_bgr)
        self._pose = SimccPose(pose, order.pose_bgr, MIRROR if flip_test else None)

    @property
    def name(self) -> str:
        return f"DW-Pose ({' and '.join(dict.fromkeys(session.place for session in self._sessions))})"

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for session in self._sessions for note in session.notes))

    @cached_property
    def fingerprint(self) -> str:
        return " ".join(["dwpose", *map(file_sha256, self._files), self._settings])

    def prepare(self, make_room: Callable[[], None]) -> None:
        prepare(self._sessions, make_room)

    def find(self, frame: np.ndarray, *_, **__) -> list[Region]:
        """Return the people in uint8 RGB [H, W, 3], the best score first; one run of the network, however fine."""
        return self._finder.find(frame)

    def estimate(self, frame: np.ndarray, regions: list[Region]) -> tuple[np.ndarray, np.ndarray]:
        points, scores = to_openpose(*self._pose.estimate(frame, regions))
        seen = (scores[:, BODY] >= VISIBLE_SCORE).any(axis=1, keepdims=True)
        return points, np.where(seen, scores, 0.0)

    def follow(self, points: np.ndarray, scores: np.ndarray) -> Region | None:
        return box(points, scores)


def to_openpose(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return COCO-WholeBody points [N, 133, 2] and scores [N, 133] as the 134 of poses.py: a neck comes in."""
    neck = points[:, COCO_SHOULDERS].mean(axis=1, keepdims=True)
    neck_score = (scores[:, COCO_SHOULDERS] > NECK_SCORE).all(axis=1, keepdims=True).astype(scores.dtype)
    points, scores = np.concatenate([points, neck], axis=1), np.concatenate([scores, neck_score], axis=1)
    return points[:, ORDER], scores[:, ORDER]


def box(points: np.ndarray, scores: np.ndarray) -> Region | None:
    """Return the padded box of the keypoints seen of a person [134, 2], [134]; None if too few joints are seen."""
    seen = scores >= VISIBLE_SCORE
    if seen[BODY].sum() < FOLLOW_JOINTS:
        return None
    score = scores[BODY][seen[BODY]].mean()
    return region_of(points[seen].min(axis=0), points[seen].max(axis=0), score, FOLLOW_PADDING)
