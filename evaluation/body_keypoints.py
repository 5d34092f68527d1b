"""Keypoints of one person over a clip, the parts of the body, and errors in parts of the person's height."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..dwpose.poses import PoseClip, Track
from ..media.frame_size import MAX_ASPECT_DIFFERENCE, aspect_difference
from .metrics import NotMeasured

Parts = Mapping[str, Sequence[int]]

# Of the 134 keypoints of dwpose: 18 body joints, 3 on each foot, 68 on the face, 21 on each hand. The face's 68 are
# left out: they would outweigh the rest.
WHOLE_BODY: Parts = {
    "head": (0, 14, 15, 16, 17),
    "hands": (4, 7, *range(92, 134)),
    "feet": (10, 13, *range(18, 24)),
    "body": (1, 2, 3, 5, 6, 8, 9, 11, 12),
}
WHOLE_BODY_KEYPOINTS = 134
FACE = slice(24, 92)
# What some detectors do not look for at all: where none of it is ever found, it says nothing of the video.
BEYOND_SOME_DETECTORS: Parts = {"fingers": range(92, 134), "small toes": (19, 22)}


class Keypoints(NamedTuple):
    """One person: points float [F, K, 2] in parts of the frame's width and height, seen bool [F, K]."""

    points: np.ndarray
    seen: np.ndarray

    def first(self, frames: int) -> "Keypoints":
        """Return the first `frames` frames."""
        return Keypoints(self.points[:frames], self.seen[:frames])


def parts_of(keypoints: int) -> Parts:
    """Return the parts for so many keypoints: head, hands, feet and body for 134, else all in one."""
    return WHOLE_BODY if keypoints == WHOLE_BODY_KEYPOINTS else {"all": range(keypoints)}


def main_person(people: Iterable[Track]) -> Keypoints:
    """Return the one of whom most keypoints are seen over the clip; ValueError if there is nobody."""
    people = list(people)
    if not people:
        raise ValueError("There is nobody in the poses. Give poses of a video in which a person is seen.")
    best = max(people, key=lambda person: int(person.visible.sum()))
    return Keypoints(best.points, best.visible)


def found_person(people: Iterable[Track], frames: int, target: Keypoints | None) -> Keypoints | None:
    """Return whom of the people found in a clip of `frames` frames to measure; None for nobody without a target."""
    people = list(people)
    if target is not None:
        return nearest_person(people, target.first(frames))
    return main_person(people) if people else None


def nearest_person(people: Iterable[Track], target: Keypoints) -> Keypoints:
    """Return in each frame the person nearest to the target's, on average over the keypoints seen in both.

    So somebody who was lost and found again under another number is still one. Nobody in a frame: nothing is seen.
    """
    frames = len(target.points)
    found = Keypoints(np.zeros_like(target.points, float), np.zeros_like(target.seen))
    best = np.full(frames, np.inf)
    for person in people:
        points, seen = person.points[:frames], person.visible[:frames]
        shared = seen & target.seen[: len(seen)]
        apart = np.linalg.norm(points - target.points[: len(points)], axis=-1)
        mean = np.where(shared, apart, 0).sum(1) / np.maximum(shared.sum(1), 1)
        nearer = shared.any(1) & (mean < best[: len(mean)])
        rows = np.flatnonzero(nearer)
        best[rows], found.points[rows], found.seen[rows] = mean[rows], points[rows], seen[rows]
    return found


def comparable(found: Keypoints, target: Keypoints) -> tuple[Keypoints, list[str]]:
    """Return the target without what the detector of `found` cannot see, and the names of what was left out.

    That is fingers or small toes of which nothing is found in any frame, though somebody is.
    """
    if found.seen.shape[1] != WHOLE_BODY_KEYPOINTS or not found.seen.any():
        return target, []
    missing = {
        name: list(keypoints)
        for name, keypoints in BEYOND_SOME_DETECTORS.items()
        if target.seen[:, list(keypoints)].any() and not found.seen[:, list(keypoints)].any()
    }
    seen = target.seen.copy()
    for keypoints in missing.values():
        seen[:, keypoints] = False
    return Keypoints(target.points, seen), list(missing)


def checked(clip: PoseClip, what: str, size: tuple[int, int]) -> PoseClip:
    """Return the clip; ValueError if it cannot be that of frames of `size` (width, height), because of its aspect."""
    if aspect_difference((clip.width, clip.height), size) > MAX_ASPECT_DIFFERENCE:
        raise ValueError(
            f"The {what} are of a picture of {clip.width}x{clip.height}, the frames are {size[0]}x{size[1]}: of "
            "another shape, so they cannot be compared. Give the poses as Align Poses hands them to Draw Poses."
        )
    return clip


def person_height(target: Keypoints, aspect: float) -> float:
    """Return the person's height in parts of the frame's: the median over frames of the box's longer side.

    The box is the one around the keypoints seen. aspect: width / height of the frame. NotMeasured if nothing is seen,
    or all of it in one point.
    """
    points = np.where(target.seen[..., None], target.points * (aspect, 1.0), np.nan)
    points = points[target.seen.any(axis=1)]
    sides = (np.nanmax(points, axis=1) - np.nanmin(points, axis=1)).max(axis=1) if len(points) else np.zeros(1)
    height = float(np.median(sides))
    if not height > 0:
        raise NotMeasured("the poses show nobody, or all keypoints in one point")
    return height
