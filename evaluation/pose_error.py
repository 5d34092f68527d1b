"""How well the person in a clip follows the pose: keypoints found in the frames against their targets.

PCK@t (Yang and Ramanan 2013): the share of the target's keypoints that are found within t person's heights of their
target; one that is not found at all is a miss. Joint error: the mean distance of those found, in per cent of the
height. Both are means over all keypoints of a part and all frames; the metric of the whole person is the mean of its
parts, because the 42 keypoints of the hands would outvote the rest.
"""

from typing import NamedTuple

import numpy as np

from .body_keypoints import Keypoints, Parts, parts_of, person_height
from .metrics import NotMeasured

THRESHOLD = 0.1  # of the person's height


class PoseError(NamedTuple):
    """Scores of a clip.

    values: pck, joint_error (per cent of the height), found (share of the target's keypoints that were found), and
    pck_PART and joint_error_PART. pck, joint_error: float64 [F] over frames, NaN where nothing can be compared.
    """

    values: dict[str, float]
    pck: np.ndarray
    joint_error: np.ndarray


def pose_error(
    found: Keypoints, target: Keypoints, aspect: float, threshold: float = THRESHOLD, parts: Parts | None = None
) -> PoseError:
    """Compare poses of one length; aspect: width / height of the frame. NotMeasured if the target shows nobody."""
    # F K, in person's heights: NaN where the target has no keypoint, inf where it was not found.
    distances = np.linalg.norm((found.points - target.points) * (aspect, 1.0), axis=-1) / person_height(target, aspect)
    distances = np.where(target.seen, np.where(found.seen, distances, np.inf), np.nan)
    by_part = {part: distances[:, list(columns)] for part, columns in (parts or parts_of(distances.shape[1])).items()}
    by_part = {part: apart for part, apart in by_part.items() if not np.isnan(apart).all()}
    if not by_part:
        raise NotMeasured("the target poses show none of the keypoints that are compared")
    every = np.concatenate(list(by_part.values()), axis=1)
    values = {"found": float(np.isfinite(every).sum() / (~np.isnan(every)).sum())}
    scores = {part: _scores(apart, threshold) for part, apart in by_part.items()}
    for place, name in enumerate(("pck", "joint_error")):
        known = {part: score[place] for part, score in scores.items() if not np.isnan(score[place])}
        if known:
            values[name] = float(np.mean(list(known.values())))
            values |= {f"{name}_{part}": score for part, score in known.items()}
    frames = zip(*by_part.values(), strict=True)
    by_frame = np.array([[_scores(apart, threshold) for apart in frame] for frame in frames])  # F P 2
    known, total = ~np.isnan(by_frame), np.nansum(by_frame, axis=1)
    means = np.divide(total, known.sum(axis=1), out=np.full_like(total, np.nan), where=known.any(axis=1))  # F 2
    return PoseError(values, means[:, 0], means[:, 1])


def _scores(apart: np.ndarray, threshold: float) -> tuple[float, float]:
    """Return PCK and joint error of distances in person's heights; NaN where nothing is compared or found."""
    compared, found = (~np.isnan(apart)).sum(), apart[np.isfinite(apart)]
    pck = float((apart <= threshold).sum() / compared) if compared else np.nan
    return pck, float(found.mean() * 100) if len(found) else np.nan
