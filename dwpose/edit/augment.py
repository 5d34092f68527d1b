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
    """Return the clip with each frame's skeletons scaled, everybody's alike. seed: as random.seed() takes it."""
    generator, tracks = random.Random(seed), []
    draws = [[generator.uniform(*bounds) for bounds in (OFFSET, OFFSET, SCALE, ASPECT)] for _ in range(clip.frames)]
    scale, aspect = np.array(draws).reshape(clip.frames, 4)[:, 2:].T
    factors = np.stack([aspect * scale, scale], axis=1)[:, None]  # on x and y [F, 1, 2]
    for track in clip.tracks:
        neck = stand_in(track.points, track.visible)[:, [NECK]]
        points = neck + factors * (track.points - neck)
        points[:, FACE] = track.points[:, FACE] + neck - factors * neck  # upstream moves the face and does not scale it
        tracks.append(Track(track.identity, points, track.scores))
    return clip.with_tracks(tracks)
