"""Clips of the drawn world for the store of latents: frames, skeletons as a detector would see them, prompts.

The skeletons are a little off, as a detector's are: each joint by a constant of its own in a clip, and by noise in each
frame; now and then a limb is not seen.
"""

from dataclasses import replace

import numpy as np

from ...dwpose.poses import BODY, PoseClip
from ..latents import Pixels
from ..pose_simulation import with_jump
from ..prompts import prompt_of, prompt_vectors
from .clips import make_clip
from .motion import KINDS, SHARES
from .store import skeletons

OFFSET, NOISE = 0.004, 0.0015  # standard deviations in parts of the picture
LOST = 0.04  # share of clips in which one joint is not seen
JITTER_SEED = 77


def make_one(seed: int, frames: int, size: int) -> Pixels:
    """Return the training clip of a seed, a batch of one."""
    random = np.random.default_rng((JITTER_SEED, seed))
    kind = str(random.choice(list(KINDS), p=SHARES))
    clip = make_clip(seed, frames, size, kind=kind)
    poses = as_detected(clip.poses, random)
    changed = skeletons(with_jump(poses, random))
    made = clip.frames, skeletons(poses), changed, prompt_vectors(prompt_of(kind)).numpy()
    return Pixels(*(array[None] for array in made))


def as_detected(poses: PoseClip, random: np.random.Generator) -> PoseClip:
    """Return the poses with a detector's errors."""
    tracks = []
    for track in poses.tracks:
        points, scores = track.points.copy(), track.scores.copy()
        offset = random.normal(0, OFFSET, (1, *points.shape[1:]))
        points += offset + random.normal(0, NOISE, points.shape)
        if random.random() < LOST:
            scores[:, random.integers(BODY.stop)] = 0
        tracks.append(replace(track, points=points, scores=scores))
    return poses.with_tracks(tracks)
