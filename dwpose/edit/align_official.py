"""Alignment exactly as published, with everything that follows from its letter.

Source: SteadyDancer preprocess/pose_align.py. Limb lengths of the photo over those of one frame of the video give the
scales; every limb is scaled about the joint it hangs on, and the whole is moved so that the neck of that frame lies on
the photo's neck. Coordinates are metric: y in frame heights, x times width / height.

Kept for parity: joints of low score count like any other; one missing side makes both sides 1; a limb of length 0 in
the video gives an infinite scale, which loses the limb's end in every frame; only the body's size is scaled, not the
path it moves along; joints are rounded to float32 where limbs are scaled about them.
Upstream's detector guesses every joint. Poses of others put those they did not find at 0, 0: such a joint has no
length, which makes its ratio 1, and lies on the joint that it hangs on.
"""

import numpy as np

from ..poses import BODY, FACE, LEFT_HIP, NECK, RIGHT_HIP, Track
from ..skeleton import CHAIN, LIMB_PATHS, Aspects, metric
from .proportions import stand_in

MISSING = -1.0  # upstream's mark for an unseen point of hands and face
PATHS = LIMB_PATHS | {"face_right": [(16, 14, 0)], "face_left": [(17, 15, 0)]}


def ratios_at(photo: Track, driver: Track, aspects: Aspects, anchor: int) -> dict[str, float]:
    """Return the scale of each part from the one frame of `photo` and frame `anchor` of `driver`; NaN becomes 1."""
    one, other = _body(photo, 0, aspects[0]), _body(driver, anchor, aspects[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = {
            part: np.mean([_length(one, path) / _length(other, path) for path in paths])
            for part, paths in PATHS.items()
        }
        torso, other_torso = (np.linalg.norm(p[NECK] - (p[RIGHT_HIP] + p[LEFT_HIP]) / 2) for p in (one, other))
        ratios["torso"] = np.divide(torso, other_torso)
        ratios["hand"] = (ratios["upper_arm"] + ratios["lower_arm"]) / 2
    return {part: 1.0 if np.isnan(ratio) else float(ratio) for part, ratio in ratios.items()} | {"face": 1.0}


def _length(points: np.ndarray, path: tuple[int, ...]) -> np.floating:
    return np.linalg.norm(np.diff(points[list(path)], axis=0), axis=1).sum()


def _body(track: Track, frame: int, aspect: float) -> np.ndarray:
    """Return metric body joints [18, 2]; NaN where there is not even a guess."""
    return np.where(_nowhere(track)[frame, BODY, None], np.nan, metric(track.points[frame, BODY], aspect))


def _nowhere(track: Track) -> np.ndarray:
    """Return bool [F, 134]: body joints of which nobody knows anything."""
    nowhere = (track.points == 0).all(axis=2) & ~track.visible
    nowhere[:, BODY.stop :] = False
    return nowhere


def align_official(driver: Track, photo: Track, aspects: Aspects, anchor: int = 0) -> Track:
    """Return `driver` aligned to the one frame of `photo`, in fractions of the photo's frame.

    Points that upstream marks as missing come back as it leaves them: the mark plus the offset, outside the frame.
    """
    photo_aspect, video_aspect = aspects
    hidden = ~driver.visible
    hidden[:, BODY] = False
    marked = np.where(hidden[..., None], MISSING, driver.points)
    points = stand_in(metric(marked, video_aspect), ~_nowhere(driver))
    aligned = scale_limbs_officially(points, ratios_at(photo, driver, aspects, anchor))
    aligned[:, FACE] = points[:, FACE]
    aligned = np.where(hidden[..., None] | np.isnan(aligned), MISSING, aligned)
    neck = stand_in(metric(photo.points[:1], photo_aspect), ~_nowhere(photo)[:1])[0, NECK]
    return Track(driver.identity, (aligned + neck - points[anchor, NECK]) / (photo_aspect, 1), driver.scores)


def scale_limbs_officially(points: np.ndarray, ratios: dict[str, float]) -> np.ndarray:
    """Return metric points [F, 134, 2] with every limb scaled by its part's ratio; NaN where a ratio is infinite.

    Source: cv2.getRotationMatrix2D at the angle 0, whose center is float32: q = s p + (1 - s) float32(center).
    """
    scaled = points.copy()
    for children, parent, part in CHAIN:
        ratio = ratios[part] if np.isfinite(ratios[part]) else np.nan
        joint = scaled[:, [parent]]
        with np.errstate(over="ignore"):
            center = joint.astype(np.float32).astype(np.float64)
        limb = points[:, children] - points[:, [parent]]
        scaled[:, children] = ratio * (limb + joint) + (1 - ratio) * center
    return scaled
