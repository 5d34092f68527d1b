"""The pose-negative: the same motion by a skeleton whose proportions jitter from frame to frame.

Source: SteadyDancer preprocess/pose_align_withdiffaug.py and utils_aug.py. Each frame is scaled about the neck by its
own random size and aspect; where the neck is unseen, about what stands in for it. Upstream also draws two offsets and
never uses them; they are drawn here too, so that a seed gives upstream's numbers.
"""

import random

import numpy as np

from ..poses import FACE, NECK, PoseClip, Track
from .proportions import stand_in

OFFSET, SCALE, ASPECT = (-0.2, 0.2), (0.7, 1.3), (0.6, 1.4)


def augment(clip: PoseClip, seed: int) -> PoseClip:
    """Return the clip with each frame's skeletons scaled; everybody in a frame by the same draw.

    `seed` is what Python's random.seed() takes; the same seed gives the same poses on every machine.
    """
    stretch = _draws(clip.frames, random.Random(seed))
    return clip.with_tracks(_augment(track, stretch) for track in clip.tracks)


def _draws(frames: int, generator: random.Random) -> np.ndarray:
    """Return the factors on x and y [F, 2], in upstream's order of draws."""
    rows = [[generator.uniform(*bounds) for bounds in (OFFSET, OFFSET, SCALE, ASPECT)] for _ in range(frames)]
    scale, aspect = np.array(rows).reshape(frames, 4)[:, 2:].T
    return np.stack([aspect * scale, scale], axis=1)


def _augment(track: Track, stretch: np.ndarray) -> Track:
    neck, factors = stand_in(track.points, track.visible)[:, [NECK]], stretch[:, None]
    points = neck + factors * (track.points - neck)
    points[:, FACE] = track.points[:, FACE] + neck - factors * neck  # upstream moves the face and does not scale it
    return Track(track.identity, points, track.scores)
