"""What an artist corrects by hand after alignment: size and place of the whole body, the head, the arms, the legs."""

import math
from dataclasses import dataclass, field

from ..poses import NECK, Track
from ..skeleton import CHAIN, KEYPOINT_PARTS, metric, scale_limbs
from .proportions import stand_in

SCALE_RANGE = (0.1, 10.0)


@dataclass(frozen=True)
class Correction:
    """Scale of a part about the joint it hangs on; shift to the right and down, as fractions of the frame height."""

    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def __post_init__(self):
        low, high = SCALE_RANGE
        if not low <= self.scale <= high:
            raise ValueError(f"A correction scales by {self.scale}; choose {low} to {high}; 1 changes nothing.")
        if not (math.isfinite(self.x) and math.isfinite(self.y)):
            raise ValueError(
                f"A correction moves a part by ({self.x}, {self.y}), which is no place. Look at what is connected to "
                "the x and y of Align Poses; 0 changes nothing."
            )


UNCHANGED = Correction()


@dataclass(frozen=True)
class Corrections:
    """One correction each. `body` scales about the neck as it stands in the anchor frame."""

    body: Correction = field(default=UNCHANGED)
    head: Correction = field(default=UNCHANGED)
    arms: Correction = field(default=UNCHANGED)
    legs: Correction = field(default=UNCHANGED)


# Which parts of the skeleton's chain each correction scales, and which keypoints it shifts.
PARTS = {
    "head": {"neck", "face_right", "face_left", "face"},
    "arms": {"upper_arm", "lower_arm", "hand"},
    "legs": {"upper_leg", "lower_leg"},
}
KEYPOINTS = {
    "head": KEYPOINT_PARTS["head"] + KEYPOINT_PARTS["face"],
    "arms": KEYPOINT_PARTS["arms"] + KEYPOINT_PARTS["hands"],
    "legs": KEYPOINT_PARTS["legs"] + KEYPOINT_PARTS["feet"],
}


def correct(track: Track, corrections: Corrections, aspect: float, anchor: int) -> Track:
    """Return the aligned track corrected; the same track if nothing is. aspect: width / height of the frame.

    web/pose_editor/corrections.js computes the same, of a track `with_necks`.
    """
    if corrections == Corrections():
        return track
    points = metric(track.points, aspect)
    placed = stand_in(points, track.visible)
    ratios = {part: 1.0 for _, _, part in CHAIN}
    for name, parts in PARTS.items():
        ratios |= dict.fromkeys(parts, getattr(corrections, name).scale)
    if any(ratio != 1 for ratio in ratios.values()):
        points = scale_limbs(placed, ratios)
    for part, keypoints in KEYPOINTS.items():
        correction = getattr(corrections, part)
        points[:, keypoints] += (correction.x, correction.y)
    center, body = placed[anchor, NECK], corrections.body
    points = center + body.scale * (points - center) + (body.x, body.y)
    return Track(track.identity, points / (aspect, 1), track.scores)


def with_necks(track: Track, aspect: float) -> Track:
    """Return the track with each unseen neck where its other frames and joints place it; nothing else changes."""
    points, hidden = track.points.copy(), ~track.visible[:, NECK]
    points[hidden, NECK] = stand_in(metric(points, aspect), track.visible)[hidden, NECK] / (aspect, 1)
    return Track(track.identity, points, track.scores)
