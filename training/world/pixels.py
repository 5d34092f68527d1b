"""Clips of the drawn world for the store of latents: frames, skeletons as a detector would see them, prompts.

The skeletons are a little off, as a detector's are: each joint by a constant of its own in a clip, and by noise in each
frame; now and then a limb is not seen. In every fourth clip the photo is another moment of the same motion, as where a
user's photo does not show the dance's first pose: its first frame and first skeleton come from elsewhere in the clip.
"""

from dataclasses import replace

import numpy as np

from ...dwpose.poses import BODY, PoseClip
from ..latents import CHANGED_FRAMES, Pixels
from ..pose_simulation import REACH, with_jump
from ..prompts import prompt_of, prompt_vectors
from .clips import make_clip
from .motion import KINDS, SHARES
from .store import skeletons

OFFSET, NOISE = 0.004, 0.0015  # standard deviations in parts of the picture
LOST = 0.04  # share of clips in which one joint is not seen
JITTER_SEED = 77
GAP_EVERY, LEAST_GAP = 4, 4  # clips; frames between the photo and the frame whose place it takes


def make_one(seed: int, frames: int, size: int) -> Pixels:
    """Return the training clip of a seed, a batch of one."""
    random = np.random.default_rng((JITTER_SEED, seed))
    kind = str(random.choice(list(KINDS), p=SHARES))
    clip = make_clip(seed, frames, size, kind=kind)
    poses = as_detected(clip.poses, random)
    order = np.arange(frames)
    if has_gap(seed, frames):
        order[0] = random.integers(LEAST_GAP, frames)
        poses = poses.at(order)
        jumps = [poses] * len(REACH)  # no second jump on top of this one
    else:
        jumps = [with_jump(poses, reach) for reach in REACH]
    changed = np.stack([skeletons(jump.at(slice(CHANGED_FRAMES))) for jump in jumps])
    made = clip.frames[order], skeletons(poses), changed, prompt_vectors(prompt_of(kind)).numpy()
    return Pixels(*(array[None] for array in made))


def has_gap(seed: int, frames: int) -> bool:
    """Return whether the photo of the training clip of a seed is from elsewhere in the clip."""
    return seed % GAP_EVERY == 0 and frames > LEAST_GAP


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
