"""Keypoints of one person over a clip, the parts of the body, and errors in parts of the person's height."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .pieces import NotMeasured

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


class Keypoints(NamedTuple):
    """One person: points float [F, K, 2] in parts of the frame's width and height, seen bool [F, K]."""

    points: np.ndarray
    seen: np.ndarray

    def first(self, frames: int) -> "Keypoints":
        """Return the first `frames` frames."""
        return Keypoints(self.points[:frames], self.seen[:frames])


class Person(Protocol):
    """A person of a clip, as dwpose's Track: points [F, K, 2], visible [F, K]."""

    points: np.ndarray
    visible: np.ndarray


def parts_of(keypoints: int) -> Parts:
    """Return the parts for so many keypoints: head, hands, feet and body for 134, else all in one."""
    return WHOLE_BODY if keypoints == WHOLE_BODY_KEYPOINTS else {"all": range(keypoints)}


def main_person(people: Iterable[Person]) -> Keypoints:
    """Return the one of whom most keypoints are seen over the clip; ValueError if there is nobody."""
    people = list(people)
    if not people:
        raise ValueError("There is nobody in the poses. Give poses of a video in which a person is seen.")
    best = max(people, key=lambda person: int(person.visible.sum()))
    return Keypoints(best.points, best.visible)


def nearest_person(people: Iterable[Person], target: Keypoints) -> Keypoints:
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
        raise NotMeasured("the target poses show nobody, or all keypoints in one point")
    return height
