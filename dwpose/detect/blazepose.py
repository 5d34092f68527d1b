"""The bundled detector: BlazePose (arXiv:2006.10204), body only, no download.

Finds people by their trunk and head, then reads 33 landmarks in a square around each, turned upright. Weights and
their origin: dwpose/weights. Differences from MediaPipe, whose networks these are: several people, small people in
ever smaller parts of the frame, and nobody is found whom the landmark network does not confirm.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...media.log import logger
from ..boxes import overlaps
from ..packages.onnxruntime_advice import Gpu
from ..poses import KEYPOINTS
from . import blazepose_joints as joints
from . import blazepose_regions as regions
from .detector import Region, boxes
from .opencv_network import open_bundled
from .runtime import AUTO, OPENCV, prepare

WEIGHTS = Path(__file__).parents[1] / "weights"
DETECTION, LANDMARKS = WEIGHTS / "blazepose_detection.onnx", WEIGHTS / "blazepose_landmarks.onnx"
OUTPUTS = {DETECTION: ("boxes", "scores"), LANDMARKS: ("landmarks", "person", "heatmaps")}
REVISION = "2"  # goes up when the same weights give other keypoints
Check = Callable[[], None] | None


class Thresholds(NamedTuple):
    """What the detection and the landmark network must give, 0..1, before somebody counts as found."""

    score: float
    person: float


# To be found, a person must be likelier than to be followed, the more so the more windows are looked at. Chosen on
# pictures of ComfyUI's templates: WHOLE and PART find somebody in 79 of 89 with people and in 4 of 102 without. False
# finds of the finest search score under 0.76 in 720p mosaics of those without, 0.81 in one picture of a statue; most
# dancers of 60 to 130 pixels score over 0.9.
WHOLE, PART, FINE = Thresholds(0.5, 0.6), Thresholds(0.7, 0.6), Thresholds(0.85, 0.9)
# From the first on, somebody whose hips lie elsewhere is read again there, and from the second on confirmed. Of
# 135 pictures without people one reaches 0.977; most people reach 0.992 and more. On small parts of the frame, where
# things that are no people reach it too, nobody is read again.
SURE_PERSON, SURE_AGAIN = 0.97, 0.99
OVERLAP = 0.3  # of the boxes, intersection over union, from which on who is read again is somebody found already
SHIFT = 0.07  # by how many sides of the crop the landmarks may move the hips
SAME_PERSON = 0.1  # hips nearer than this many sides of the crop are the same person's
BATCH = 8  # windows in one run, which bounds the memory
SMALL = 1.25  # sides of a part of the frame; a larger person is not wholly in it, and is found on the whole frame
LEAST_SIDE = 112  # pixels of a part at the finest search: the joints of who is small in less would be guesses


class BlazePose:
    """Body joints and feet of the people in a frame: the Detector of detector.py. provider, gpu: as in open_bundled."""

    def __init__(self, provider: str = AUTO, gpu: Gpu | None = None):
        self._detection, self._landmarks = (open_bundled(*network, provider, gpu) for network in OUTPUTS.items())
        self.fingerprint = fingerprint()
        if self._landmarks.provider == OPENCV:
            logger.warning("%s", " ".join(self.notes))

    @property
    def name(self) -> str:
        return f"BlazePose ({self._landmarks.place})"

    @property
    def notes(self) -> list[str]:
        (first, *one), (second, *other) = self._detection.notes, self._landmarks.notes
        return list(dict.fromkeys([first, second, *one, *other]))

    def prepare(self, make_room: Callable[[], None]) -> None:
        prepare((self._detection, self._landmarks), make_room)

    def find(self, frame: np.ndarray, fine: bool = True, check: Check = None) -> list[Region]:
        height, width = frame.shape[:2]
        short, long = sorted((width, height))
        people = self._search(frame, [regions.whole_frame(width, height)], WHOLE, check, math.inf)
        if short < long:
            people += self._search_parts(frame, max(short, long // 3), PART, check)
        people = people or self._search_parts(frame, max(short // 2, long // 6, 1), PART, check)
        side = max(short // 4, long // 12)
        if fine and not people and side >= LEAST_SIDE:
            people = self._search_parts(frame, side, FINE, check)
        return distinct(people)

    def estimate(self, frame: np.ndarray, people: list[Region]) -> tuple[np.ndarray, np.ndarray]:
        if not people:
            return np.zeros((0, KEYPOINTS, 2)), np.zeros((0, KEYPOINTS))
        return joints.keypoints(self._read(frame, people), frame.shape[1], frame.shape[0])

    def follow(self, points: np.ndarray, scores: np.ndarray) -> Region | None:
        return joints.next_region(points, scores)

    def _search_parts(self, frame: np.ndarray, side: int, least: Thresholds, check: Check) -> list[Region]:
        parts = regions.tiles(frame.shape[1], frame.shape[0], side)
        return self._search(frame, parts, least, check, SMALL * side)

    def _search(
        self, frame: np.ndarray, windows: list[regions.Window], least: Thresholds, check: Check, largest: float
    ) -> list[Region]:
        """Return the people, no larger than `largest` pixels, whom both networks see in the windows of the frame."""
        likely = []
        for start in range(0, len(windows), BATCH):
            if check:
                check()
            batch = windows[start : start + BATCH]
            images = np.stack([regions.window_image(frame, window) for window in batch])
            likely += regions.regions(*self._detection.run({"image": images}), batch, least.score)
        likely = [region for region in likely if regions.crop_side(region) <= largest]
        if not likely:
            return []
        found = self._read(frame, likely)
        people = confirmed(likely, found, least.person)
        beside = misplaced(likely, found) if windows[0][2] >= min(frame.shape[:2]) else []
        return people + (self._confirm_again(frame, beside, people) if beside else [])

    def _confirm_again(self, frame: np.ndarray, beside: list[Region], people: list[Region]) -> list[Region]:
        """Return those of the misplaced people whom a run at their own place confirms and who are none of `people`."""
        found = confirmed(beside, self._read(frame, beside), SURE_AGAIN)
        known = np.any(overlaps(boxes(found), boxes(people)) > OVERLAP, axis=1)
        return [person for person, is_known in zip(found, known, strict=True) if not is_known]

    def _read(self, frame: np.ndarray, people: list[Region]) -> joints.Landmarks:
        outputs = self._landmarks.run({"image": np.stack([joints.crop(frame, region) for region in people])})
        return joints.read(outputs, people)


def confirmed(likely: list[Region], found: joints.Landmarks, least: float = PART.person) -> list[Region]:
    """Return those of the regions where the landmarks [N] show a person, and the same one, placed by the landmarks."""
    people = []
    for row, region in enumerate(likely):
        better = joints.circle(found, row, region.score)
        if found.person[row] >= least and apart(better, region) <= SHIFT:
            people.append(better)
    return people


def misplaced(likely: list[Region], found: joints.Landmarks) -> list[Region]:
    """Return where the landmarks [N] surely show a person, of the regions that lie too far off to be confirmed."""
    places = [joints.circle(found, row, region.score) for row, region in enumerate(likely)]
    return [
        place
        for place, region, person in zip(places, likely, found.person, strict=True)
        if person >= SURE_PERSON and apart(place, region) > SHIFT
    ]


def distinct(people: list[Region]) -> list[Region]:
    """Return the people, best score first, without those whose hips are a better one's, as where a part cuts them."""
    kept = []
    for person in sorted(people, key=lambda person: -person.score):
        if all(apart(person, other) > SAME_PERSON for other in kept):
            kept.append(person)
    return kept


def apart(one: Region, other: Region) -> float:
    """Return how far the hips of two people are from each other, in sides of the second one's crop."""
    return math.hypot(one.x - other.x, one.y - other.y) / regions.crop_side(other)


def fingerprint() -> str:
    """Return what identifies these weights and this way to read them."""
    digest = hashlib.sha256()
    for file in (DETECTION, LANDMARKS):
        digest.update(file.read_bytes())
    return f"blazepose-{REVISION}-{digest.hexdigest()[:16]}"
