"""Stage 3's poses: the second pose of a clip moved ahead, so that the start is a jump (paper 3.5, B.2).

From the paper: draw T* from {2, 3, 4}, interpolate between p0 and p_T*, put the first interpolated pose in p1's place.
Our choice, as the paper leaves it open: the interpolation has one point, half-way, so that p1 runs ahead by up to one
frame. A store has the poses of every T*; T* and the replacement, with probability 0.5, are drawn when a batch is made.
"""

from dataclasses import replace

import numpy as np

from ..dwpose.poses import PoseClip

REACH = (2, 3, 4)
PROBABILITY = 0.5


def with_jump(poses: PoseClip, reach: int) -> PoseClip:
    """Return the clip with another second pose, half-way to that of frame `reach`; a shorter clip as it is."""
    if poses.frames <= reach:
        return poses
    tracks = []
    for track in poses.tracks:
        points, scores = track.points.copy(), track.scores.copy()
        points[1] = (points[0] + points[reach]) / 2
        scores[1] = np.minimum(scores[0], scores[reach])
        tracks.append(replace(track, points=points, scores=scores))
    return poses.with_tracks(tracks)
