"""Keypoints of one person over a clip, the parts of the body, and errors as fractions of the person's height."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..dwpose.poses import KEYPOINTS, LEFT_HAND, RIGHT_HAND, PoseClip, Track
from ..dwpose.skeleton import KEYPOINT_PARTS
from ..dwpose.track.pick import main_people
from ..media.frame_size import MAX_ASPECT_DIFFERENCE, aspect_difference
from .metrics import NotMeasured

Parts = Mapping[str, Sequence[int]]

# The face's 68 keypoints are left out: they would outweigh the rest.
WHOLE_BODY: Parts = {name: KEYPOINT_PARTS[name] for name in ("head", "hands", "feet")} | {
    "body": sorted(KEYPOINT_PARTS["neck"] + KEYPOINT_PARTS["arms"] + KEYPOINT_PARTS["legs"])
}
# What some detectors do not look for at all: where none of it is ever found, it says nothing of the video.
BEYOND_SOME_DETECTORS: Parts = {"fingers": range(LEFT_HAND.start, RIGHT_HAND.stop), "small toes": (19, 22)}


class Keypoints(NamedTuple):
    """One person: points float [F, K, 2] as fractions of the frame's width and height, seen bool [F, K]."""

    points: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, person: Track) -> "Keypoints":
        """Return the keypoints of a person of a clip."""
        return cls(person.points, person.visible)

    def first(self, frames: int) -> "Keypoints":
        return Keypoints(self.points[:frames], self.seen[:frames])


def parts_of(keypoints: int) -> Parts:
    """Return the parts for this number of keypoints: head, hands, feet and body for 134, else all in one."""
    return WHOLE_BODY if keypoints == KEYPOINTS else {"all": range(keypoints)}


def found_person(clip: PoseClip, target: Keypoints | None) -> Keypoints | None:
    """Return whom of the people found in a clip to measure: who is nearest to the target, else the main person.

    None for nobody without a target.
    """
    if target is not None:
        return nearest_person(clip.tracks, target.first(clip.frames))
    return Keypoints.of(main_people(clip, clip.tracks, 1)[0]) if clip.tracks else None


def nearest_person(people: Iterable[Track], target: Keypoints) -> Keypoints:
    """Return in each frame the person nearest to the target's, by the mean over the keypoints seen in both."""
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
    """Return the target without fingers or small toes that `found` never shows, and the names of those."""
    if found.seen.shape[1] != KEYPOINTS or not found.seen.any():
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
    """Return the person's height as a fraction of the frame's: the median over frames of the box's longer side.

    aspect: width / height of the frame. NotMeasured if nothing is seen, or all of it in one point.
    """
    points = np.where(target.seen[..., None], target.points * (aspect, 1.0), np.nan)
    points = points[target.seen.any(axis=1)]
    sides = (np.nanmax(points, axis=1) - np.nanmin(points, axis=1)).max(axis=1) if len(points) else np.zeros(1)
    height = float(np.median(sides))
    if not height > 0:
        raise NotMeasured("the poses show nobody, or all keypoints in one point")
    return height
