"""How well the person in a clip follows the pose: keypoints found in the frames against those they should have.

PCK@t (Yang and Ramanan 2013): the part of the target's keypoints that are found within t person's heights of where
they should be; one that is not found at all is a miss. Joint error: the mean distance of those found, in per cent of
the height. Both are means over all keypoints of a part and all frames; the figure for the whole person is the mean of
its parts, because the 42 keypoints of the hands would outvote the rest.
"""

from typing import NamedTuple

import numpy as np

from .body_keypoints import Keypoints, Parts, parts_of, person_height
from .shared_pieces import NotMeasured

THRESHOLD = 0.1  # of the person's height


class PoseError(NamedTuple):
    """values: pck, joint_error (per cent of the height), found (part of the target's keypoints that were found), and
    pck_PART and joint_error_PART. pck, joint_error: float64 [F] over frames, NaN where nothing can be compared."""

    values: dict[str, float]
    pck: np.ndarray
    joint_error: np.ndarray


def joint_distances(found: Keypoints, target: Keypoints, aspect: float) -> np.ndarray:
    """Return float64 [F, K] in person's heights; NaN where the target has no keypoint, inf where it was not found."""
    if found.points.shape != target.points.shape:
        raise ValueError(
            f"The poses have shape {found.points.shape} and the target {target.points.shape}; both must have the same "
            "frames and keypoints."
        )
    apart = np.linalg.norm((found.points - target.points) * (aspect, 1.0), axis=-1) / person_height(target, aspect)
    return np.where(target.seen, np.where(found.seen, apart, np.inf), np.nan)


def pose_error(
    found: Keypoints, target: Keypoints, aspect: float, threshold: float = THRESHOLD, parts: Parts | None = None
) -> PoseError:
    """Compare poses of one length; aspect: width / height of the frame in pixels; parts: keypoints by part.

    ValueError if shapes differ, NotMeasured if the target shows nobody. A part that the target never shows is
    left out.
    """
    distances = joint_distances(found, target, aspect)
    by_part = {part: distances[:, list(columns)] for part, columns in (parts or parts_of(distances.shape[1])).items()}
    by_part = {part: apart for part, apart in by_part.items() if not np.isnan(apart).all()}
    if not by_part:
        raise NotMeasured("the target poses show none of the keypoints that are compared")
    pck = {part: _pck(apart, threshold) for part, apart in by_part.items()}
    errors = {part: error for part, apart in by_part.items() if (error := _error(apart)) is not None}
    every = np.concatenate(list(by_part.values()), axis=1)
    values = {"pck": _mean(pck), **_named("pck", pck), "found": float(np.isfinite(every).sum() / _count(every))}
    if errors:
        values |= {"joint_error": _mean(errors), **_named("joint_error", errors)}
    return PoseError(values, _per_frame(by_part, lambda a: _pck(a, threshold)), _per_frame(by_part, _error))


def _pck(apart: np.ndarray, threshold: float) -> float | None:
    return float((apart <= threshold).sum() / _count(apart)) if _count(apart) else None


def _error(apart: np.ndarray) -> float | None:
    found = apart[np.isfinite(apart)]
    return float(found.mean() * 100) if len(found) else None


def _count(apart: np.ndarray) -> int:
    return int((~np.isnan(apart)).sum())


def _mean(by_part: dict[str, float]) -> float:
    return float(np.mean(list(by_part.values())))


def _named(name: str, by_part: dict[str, float]) -> dict[str, float]:
    return {f"{name}_{part}": value for part, value in by_part.items()}


def _per_frame(by_part: dict[str, np.ndarray], score) -> np.ndarray:
    frames = len(next(iter(by_part.values())))
    rows = ([score(apart[frame]) for apart in by_part.values()] for frame in range(frames))
    known = [[value for value in row if value is not None] for row in rows]
    return np.array([np.mean(row) if row else np.nan for row in known], float)
