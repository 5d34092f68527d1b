"""What can be done about turned backs, on which the model paints faces: hide the face, turn less, or mirror.

    hide face points   nose, eyes and the face's 68 points are not drawn in frames turned further than the limit
    limit yaw          the body turns as far as the limit and stays there until it comes back
    mirror             a back is drawn as the front view with the same outline: left and right change places

From 2D points alone: `limit yaw` holds shoulders and hips at their width under the limit and carries arms, legs and
head along, which swing over as a flat figure would; depth is not known. Lengths are metric.
"""

from dataclasses import replace

import numpy as np

from ..poses import EYES, FACE, HIPS, KEYPOINTS, LEFT_EAR, NECK, NOSE, RIGHT_EAR, SHOULDERS, PoseClip, Track
from ..skeleton import CHAIN, metric
from .facing import AWAY, FAR, Facing, estimate_facing
from .swap_repair import VOTING_PAIRS, exchange

KEEP, HIDE, LIMIT, MIRROR = "keep", "hide face points", "limit yaw", "mirror"
TREATMENTS = (KEEP, HIDE, LIMIT, MIRROR)
FACE_POINTS = [NOSE, *EYES, *range(FACE.start, FACE.stop)]
HEAD = [NOSE, *EYES, RIGHT_EAR, LEFT_EAR, *range(FACE.start, FACE.stop)]
EYE_SHARE = 0.35  # of the ears' distance from the middle of the head


def treat_turns(clip: PoseClip, treatment: str, max_yaw: float = FAR) -> PoseClip:
    """Return the clip with its turns treated; the clip itself for KEEP and where nobody turns that far.

    max_yaw: degrees; for HIDE 0 to 180, for LIMIT 0 to below 90. Raises ValueError for another treatment or angle.
    """
    if treatment not in TREATMENTS:
        raise ValueError(f"There is no treatment '{treatment}' of turns. Choose one of: {', '.join(TREATMENTS)}.")
    most = 89 if treatment == LIMIT else 180
    if not 0 <= max_yaw <= most:
        raise ValueError(
            f"max_yaw is {max_yaw}; for '{treatment}' it must be between 0 and {most} degrees. 0 faces the camera, 90 "
            "is a profile, 180 a back."
        )
    if treatment == KEEP:
        return clip
    aspect = clip.width / clip.height
    limit = AWAY if treatment == MIRROR else max_yaw
    tracks = []
    for track in clip.tracks:
        facing = estimate_facing(track, aspect)
        beyond = np.nan_to_num(facing.yaw, nan=0.0) > limit
        change = {HIDE: _without_face, LIMIT: _limited, MIRROR: _mirrored}[treatment]
        tracks.append(change(track, beyond, facing, limit, aspect) if beyond.any() else track)
    same = all(new is old for new, old in zip(tracks, clip.tracks, strict=True))
    return clip if same else clip.with_tracks(tracks)


def _without_face(track: Track, beyond: np.ndarray, *_) -> Track:
    is_face = np.isin(np.arange(KEYPOINTS), FACE_POINTS)
    return replace(track, scores=np.where(beyond[:, None] & is_face, 0.0, track.scores))


def _mirrored(track: Track, beyond: np.ndarray, *_) -> Track:
    return _with_face(exchange(track, dict.fromkeys(VOTING_PAIRS, beyond)), beyond)


def _with_face(track: Track, frames: np.ndarray) -> Track:
    """Return the track with nose and eyes between the ears where they are not seen in these frames, bool [F]."""
    points, scores = track.points.copy(), track.scores.copy()
    scores[frames, FACE] = 0
    ears = points[:, [RIGHT_EAR, LEFT_EAR]]
    middle, half = ears.mean(axis=1), (ears[:, 1] - ears[:, 0]) / 2
    for joint, share in ((NOSE, 0.0), (EYES[0], -EYE_SHARE), (EYES[1], EYE_SHARE)):
        missing = frames & ~track.visible[:, joint]
        points[missing, joint] = (middle + share * half)[missing]
        scores[missing, joint] = scores[missing][:, [RIGHT_EAR, LEFT_EAR]].min(axis=1)
    return replace(track, points=points, scores=scores)


def _limited(track: Track, beyond: np.ndarray, facing: Facing, limit: float, aspect: float) -> Track:
    """Return the track with the body held at `limit` in these frames; only x changes."""
    across = metric(track.points, aspect)[..., 0]
    held, yaw = across.copy(), np.nan_to_num(facing.yaw, nan=0.0)
    swing = np.cos(np.pi * (yaw - limit).clip(0) / (180 - limit))[:, None]
    for pair, width in zip((SHOULDERS, HIPS), facing.widths, strict=True):
        middle = across[:, pair].mean(axis=1)
        half = width * facing.size * np.cos(np.radians(limit)) / 2
        held[:, pair] = np.stack([middle - half, middle + half], axis=1)
    for children, parent, _ in CHAIN:
        if parent not in (NECK, NOSE):
            held[:, children] = held[:, [parent]] + swing * (across[:, children] - across[:, [parent]])
    held[:, HEAD] = across[:, [NECK]] + swing * (across[:, HEAD] - across[:, [NECK]])
    points = track.points.copy()
    points[beyond, :, 0] = held[beyond] / aspect
    return _with_face(replace(track, points=points), beyond)
