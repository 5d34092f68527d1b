"""Whole-body poses of the people in a clip, the one form that every stage of the pose pipeline takes and returns.

134 keypoints a person, in DW-Pose's OpenPose order (IDEA-Research/DWPose): 18 body joints, 3 points on each foot, 68 on
the face, 21 on each hand. "Left" and "right" are the person's own sides.
"""

from dataclasses import dataclass, replace

import numpy as np

BODY, FEET, FACE = slice(0, 18), slice(18, 24), slice(24, 92)
LEFT_HAND, RIGHT_HAND = slice(92, 113), slice(113, 134)
KEYPOINTS = 134

NOSE, NECK = 0, 1
RIGHT_SHOULDER, RIGHT_ELBOW, RIGHT_WRIST = 2, 3, 4
LEFT_SHOULDER, LEFT_ELBOW, LEFT_WRIST = 5, 6, 7
RIGHT_HIP, RIGHT_KNEE, RIGHT_ANKLE = 8, 9, 10
LEFT_HIP, LEFT_KNEE, LEFT_ANKLE = 11, 12, 13
RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 14, 15, 16, 17
SHOULDERS, HIPS, EYES = [RIGHT_SHOULDER, LEFT_SHOULDER], [RIGHT_HIP, LEFT_HIP], [RIGHT_EYE, LEFT_EYE]

VISIBLE_SCORE = 0.35  # a keypoint from this score on is seen, drawn and trusted; SteadyDancer preprocess/dwpose.py


@dataclass(frozen=True, eq=False)
class Track:
    """One person through a clip of F frames. identity: the person's own, unlike all others' in the clip; counts from 0.

    points: float64 [F, 134, 2], x as a fraction of the frame width and y of its height; 0..1 lies inside the frame.
    scores: float64 [F, 134], 0 for a keypoint that was not looked for or not found. Points of low score keep the
    detector's guess, which official alignment uses; they may be anything, but not NaN.
    """

    identity: int
    points: np.ndarray
    scores: np.ndarray

    @property
    def number(self) -> int:
        """Return the person's number in texts and pictures, where people count from 1."""
        return self.identity + 1

    @property
    def visible(self) -> np.ndarray:
        """Return bool [F, 134]: the keypoints that are seen."""
        return self.scores >= VISIBLE_SCORE

    @property
    def present(self) -> np.ndarray:
        """Return bool [F]: the frames in which any body joint of this person is seen."""
        return np.any(self.visible[:, BODY], axis=1)


@dataclass(frozen=True, eq=False)
class PoseClip:
    """Everybody in a clip: frames of width x height pixels, and one track of that many frames for each person."""

    width: int
    height: int
    frames: int
    tracks: tuple[Track, ...] = ()

    def with_tracks(self, tracks) -> "PoseClip":
        """Return the clip with other people in it."""
        return replace(self, tracks=tuple(tracks))

    def at(self, frames: slice | list[int] | np.ndarray) -> "PoseClip":
        """Return the clip made of these of its frames, given as a slice or as indices in any order."""
        tracks = (replace(track, points=track.points[frames], scores=track.scores[frames]) for track in self.tracks)
        return replace(self, frames=len(np.arange(self.frames)[frames]), tracks=tuple(tracks))

    @property
    def people(self) -> list[Track]:
        """Return the tracks of those who are seen in any frame."""
        return [track for track in self.tracks if track.present.any()]

    @property
    def present(self) -> np.ndarray:
        """Return bool [F]: the frames in which anybody is seen."""
        return np.logical_or.reduce([track.present for track in self.tracks] or [np.zeros(self.frames, bool)])
