"""The bundled detector: BlazePose (arXiv:2006.10204), body only, no download.

Finds people by their trunk and head, then reads 33 landmarks in a square around each, turned upright. Weights and
their origin: dwpose/weights. Differences from MediaPipe, whose networks these are: several people, small people by a
second look at parts of the frame, and nobody is found whom the landmark network does not confirm.
"""

import hashlib
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import blazepose_joints as joints
from . import blazepose_regions as regions
from .detector import Region
from .onnxruntime_advice import Gpu
from .opencv_network import open_bundled
from .poses import KEYPOINTS
from .runtime import AUTO, OPENCV, prepare

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parent / "weights"
DETECTION, LANDMARKS = WEIGHTS / "blazepose_detection.onnx", WEIGHTS / "blazepose_landmarks.onnx"
OUTPUTS = {DETECTION: ("boxes", "scores"), LANDMARKS: ("landmarks", "person", "heatmaps")}
REVISION = "1"  # goes up when the same weights give other keypoints

# To be found, a person must be likelier than to be followed. Chosen on pictures of
# ComfyUI's templates: 79 of 89 with people, and 4 of 102 without, have somebody found in them.
LEAST_SCORE, LEAST_PART_SCORE = 0.5, 0.7  # of the detection network on the whole frame; on a part of it
LEAST_PERSON = 0.6  # of the landmark network
SHIFT = 0.07  # by how many sides of the crop the landmarks may move the hips
SAME_PERSON = 0.1  # hips nearer than this many sides of the crop are the same person's
BATCH = 8  # windows in one run, which bounds the memory
SMALL = 1.25  # sides of a part of the frame; a larger person is not wholly in it, and is found on the whole frame


class BlazePose:
    """Body joints and feet of the people in a frame. See dwpose/detector.py for the methods.

    provider, gpu: as in opencv_network.open_bundled. `notes` say which provider runs and why. ValueError: see there.
    """

    def __init__(self, provider: str = AUTO, gpu: Gpu | None = None):
        self._detection, self._landmarks = (open_bundled(*network, provider, gpu) for network in OUTPUTS.items())
        self.fingerprint = fingerprint()
        if self._landmarks.provider == OPENCV:
            log.warning("%s", " ".join(self.notes))

    @property
    def name(self) -> str:
        return f"BlazePose ({self._landmarks.place})"

    @property
    def notes(self) -> list[str]:
        """Return what each network runs on, then why."""
        (first, *one), (second, *other) = self._detection.notes, self._landmarks.notes
        return list(dict.fromkeys([first, second, *one, *other]))

    def prepare(self, make_room: Callable[[], None]) -> None:
        prepare((self._detection, self._landmarks), make_room)

    def find(self, frame: np.ndarray) -> list[Region]:
        height, width = frame.shape[:2]
        short, long = sorted((width, height))
        people = self._look(frame, [regions.whole_frame(width, height)], LEAST_SCORE)
        if short < long:
            people += self._look_at_parts(frame, max(short, long // 3))
        people = people or self._look_at_parts(frame, max(short // 2, long // 6, 1))
        return distinct(people)

    def estimate(self, frame: np.ndarray, people: list[Region]) -> tuple[np.ndarray, np.ndarray]:
        if not people:
            return np.zeros((0, KEYPOINTS, 2)), np.zeros((0, KEYPOINTS))
        return joints.keypoints(self._read(frame, people), frame.shape[1], frame.shape[0])

    def follow(self, points: np.ndarray, scores: np.ndarray) -> Region | None:
        return joints.next_region(points, scores)

    def _look_at_parts(self, frame: np.ndarray, side: int) -> list[Region]:
        parts = regions.tiles(frame.shape[1], frame.shape[0], side)
        return self._look(frame, parts, LEAST_PART_SCORE, SMALL * side)

    def _look(self, frame: np.ndarray, windows: list[regions.Window], least: float, largest=math.inf) -> list[Region]:
        """Return the people, no larger than `largest` pixels, whom both networks see in the windows of the frame."""
        likely = []
        for start in range(0, len(windows), BATCH):
            batch = windows[start : start + BATCH]
            images = np.stack([regions.window_image(frame, window) for window in batch])
            likely += regions.regions(*self._detection.run({"image": images}), batch, least)
        likely = [region for region in likely if regions.crop_side(region) <= largest]
        return confirmed(likely, self._read(frame, likely)) if likely else []

    def _read(self, frame: np.ndarray, people: list[Region]) -> joints.Landmarks:
        outputs = self._landmarks.run({"image": np.stack([joints.crop(frame, region) for region in people])})
        return joints.read(outputs, people)


def confirmed(likely: list[Region], found: joints.Landmarks) -> list[Region]:
    """Return those of the regions where the landmarks [N] show a person, and the same one, placed by the landmarks."""
    people = []
    for row, region in enumerate(likely):
        better = joints.circle(found, row, region.score)
        if found.person[row] >= LEAST_PERSON and apart(better, region) <= SHIFT:
            people.append(better)
    return people


def distinct(people: list[Region]) -> list[Region]:
    """Return the people, the best score first, without those whose hips are a better one's.

    A person cut by the edge of a part of the frame may be taken for one who stands on the head.
    """
    kept = []
    for person in sorted(people, key=lambda person: -person.score):
        if all(apart(person, other) > SAME_PERSON for other in kept):
            kept.append(person)
    return kept


def apart(one: Region, other: Region) -> float:
    """Return how far the hips of two people are from each other, in sides of the second one's crop."""
    return math.hypot(one.x - other.x, one.y - other.y) / regions.crop_side(other)


def fingerprint() -> str:
    """Return what tells these weights and this way to read them from any other detector."""
    digest = hashlib.sha256()
    for file in (DETECTION, LANDMARKS):
        digest.update(file.read_bytes())
    return f"blazepose-{REVISION}-{digest.hexdigest()[:16]}"
