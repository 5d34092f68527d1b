"""The frame of a dance whose pose is nearest to the photo's: the one to start from.

Compared is how limbs point, which needs no alignment, and how broad shoulders, hips and eyes look, with their sides:
which way somebody faces.
"""

import numpy as np

from ..poses import EYES, HIPS, SHOULDERS, PoseClip, Track
from ..skeleton import LIMBS, metric
from .pairing import check_people, pair_people
from .proportions import body_size, part_lengths

POINTERS = LIMBS[2:13]  # whose direction is compared: arms, trunk and legs, neck to nose
# Joints whose distance shows the facing, and that distance in torso lengths in somebody who faces the camera.
BREADTHS = np.array([SHOULDERS, HIPS, EYES])
FRONTAL = np.array([0.8, 0.4, 0.13])

UNKNOWN = 0.5  # distance of a limb that the photo shows and the frame does not, as of one at a right angle or so
ENOUGH = 3  # limbs and breadths that must be seen in both


def best_start(clip: PoseClip, photo: PoseClip, search_frames: int = 0) -> tuple[int, np.ndarray]:
    """Return the index of the frame of `clip` nearest to the pose in `photo`'s frame 0, and the distances [F].

    Only the first `search_frames` frames are searched, 0 for all; F is their number. Distances are 0 (alike) to 1,
    infinite where too little is seen, and the mean over several people, paired as in `pair_people`. Raises ValueError
    if nobody is seen in photo or clip, or no frame shows enough of what the photo shows.
    """
    check_people(photo, clip)
    if search_frames < 0:
        raise ValueError(f"search_frames is {search_frames}; give 0 to search all frames, or how many to search.")
    frames = slice(0, min(search_frames, clip.frames) or clip.frames)
    pairs, _ = pair_people(photo, clip)
    people = []
    for person, track in pairs:
        features = _features(track, clip.width / clip.height)[frames]
        photo_features = _features(person, photo.width / photo.height)[0]
        apart, expected = np.abs(features - photo_features) / 2, np.isfinite(photo_features)
        seen = np.isfinite(apart)
        total = np.where(seen, apart, UNKNOWN)[:, expected].sum(axis=1) / max(expected.sum(), 1)
        people.append(np.where(seen.sum(axis=1) >= ENOUGH, total, np.inf))
    known = np.isfinite(people)
    distances = np.where(known.any(axis=0), np.where(known, people, 1).mean(axis=0), np.inf)
    if np.isinf(distances).all():
        raise ValueError(
            f"None of the {len(distances)} frames searched shows enough of what the photo shows: {ENOUGH} limbs or "
            "more. Raise search_frames, or take a photo or a video that shows more of the body."
        )
    return int(distances.argmin()), distances


def _features(track: Track, aspect: float) -> np.ndarray:
    """Return complex [F, 14]: directions of 11 limbs, and how far 3 breadths face the camera, -1..1; NaN: unseen."""
    points = metric(track.points, aspect)
    limbs = _between(points, track.visible, POINTERS)
    lengths = np.abs(limbs)
    directions = np.divide(limbs, lengths, out=np.full_like(limbs, np.nan), where=lengths > 0)
    torso = body_size(part_lengths(points, track.visible))[:, None]
    facings = _between(points, track.visible, BREADTHS).real / (torso * FRONTAL)
    return np.concatenate([directions, np.clip(facings, -1, 1)], axis=1)


def _between(points: np.ndarray, visible: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the vectors of pairs [P, 2] of joints as complex [F, P], NaN where either end is not seen."""
    start, end = pairs.T
    seen = (visible[:, start] & visible[:, end])[..., None]
    x, y = np.moveaxis(np.where(seen, points[:, end], np.nan) - points[:, start], -1, 0)
    return x + 1j * y
