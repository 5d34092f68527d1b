"""The start gap closed: frames that lead from the photo's own pose to the first pose of the dance.

Each bone turns about the joint it hangs on, and its length goes from the photo's to the dance's; the neck moves on a
straight line. All of it eases in and out. Points are complex numbers x + iy, metric: y in frame heights, x times width
/ height; so a turn is a product.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...media.frame_size import FRAMES_PER_LATENT, MAX_ASPECT_DIFFERENCE, aspect_difference
from ..poses import (
    BODY,
    FACE,
    KEYPOINTS,
    LEFT_ANKLE,
    LEFT_HAND,
    LEFT_WRIST,
    NECK,
    NOSE,
    RIGHT_ANKLE,
    RIGHT_HAND,
    RIGHT_WRIST,
    PoseClip,
    Track,
)
from ..skeleton import LIMBS, metric
from .pairing import Pair, check_people, nearest_people

AUTO = -1
LONGEST_SUGGESTION = 48
FASTEST_EASED = 1.5  # the speed in the middle of an eased move over its mean speed
USUAL_FAST = 95  # percentile of the speeds of all joints in the dance

HALF_TURN_LIKE = math.radians(150)  # from here on either way round is as short, and the limb above decides


class RigidPart(NamedTuple):
    """Keypoints that turn as one about the parent joint. axis: the line that shows it; None: parent to first child."""

    children: list[int]
    parent: int
    axis: tuple[int, int] | None = None


ROOT = KEYPOINTS  # a joint that everybody shows and nothing moves: what hangs on it goes straight


def _hand(hand: slice, wrist: int) -> RigidPart:
    middle_finger = hand.start + 9
    return RigidPart([*range(hand.start, hand.stop)], wrist, (hand.start, middle_finger))


# From the neck outward, so that a joint stands where it belongs before the next one follows.
TREE = (
    RigidPart([NECK], ROOT),
    *(RigidPart([joint], parent) for parent, joint in LIMBS.tolist()),
    *(RigidPart([toe], LEFT_ANKLE) for toe in range(18, 21)),
    *(RigidPart([toe], RIGHT_ANKLE) for toe in range(21, 24)),
    RigidPart([*range(FACE.start, FACE.stop)], NOSE, (NECK, NOSE)),
    _hand(LEFT_HAND, LEFT_WRIST),
    _hand(RIGHT_HAND, RIGHT_WRIST),
)
PARENT = {child: part.parent for part in TREE for child in part.children}


class Pose(NamedTuple):
    """One person in one frame: complex metric points [134], 0 where unseen; bool seen [134]; scores [134]."""

    points: np.ndarray
    seen: np.ndarray
    scores: np.ndarray


def pose_of(track: Track, frame: int, aspect: float) -> Pose:
    """Return the pose of a track in a frame; `aspect` is width / height."""
    seen = track.visible[frame]
    x, y = metric(np.where(seen[:, None], track.points[frame], 0), aspect).T
    return Pose(x + 1j * y, seen, track.scores[frame])


def lead_in(clip: PoseClip, photo: PoseClip, frames: int = AUTO) -> PoseClip:
    """Return `clip`, aligned to the photo, after `frames` frames that lead to it from the pose in `photo`'s frame 0.

    The first frame is the photo's pose; AUTO takes `suggest_frames`. A keypoint seen only in the photo stays on its
    limb for the first half, one seen only in the dance for the second. Who has no partner in the photo, or is not seen
    in the first frame of `clip`, appears when the dance does. Raises ValueError if nobody is seen in the photo or the
    first frame, if both differ in shape, or frames < -1.
    """
    pairs = _pairs(clip, photo)
    if frames < AUTO:
        raise ValueError(f"frames is {frames}; give -1 to let the distance decide, 0 for no lead-in, or a number.")
    count = suggest_frames(clip, photo) if frames == AUTO else frames
    if count == 0:
        return clip
    partners, aspect = {id(track): person for person, track in pairs}, clip.width / clip.height
    tracks = []
    for track in clip.tracks:
        person = partners.get(id(track))
        if person is None:
            points, scores = np.repeat(track.points[:1], count, axis=0), np.zeros((count, KEYPOINTS))
        else:
            points, scores = _path(pose_of(person, 0, aspect), pose_of(track, 0, aspect), count, aspect)
            points[0], scores[0] = person.points[0], person.scores[0]
        points, scores = np.concatenate([points, track.points]), np.concatenate([scores, track.scores])
        tracks.append(replace(track, points=points, scores=scores))
    return replace(clip, frames=clip.frames + count, tracks=tuple(tracks))


def suggest_frames(clip: PoseClip, photo: PoseClip) -> int:
    """Return how many frames let the longest path be as fast as fast moves: 0, or 4 to 48 in steps of 4."""
    aspect, longest = clip.width / clip.height, 0.0
    for person, track in _pairs(clip, photo):
        end, start = pose_of(track, 0, aspect), pose_of(person, 0, aspect)
        both = (end.seen & start.seen)[BODY]
        longest = max(longest, float(np.abs(end.points - start.points)[BODY][both].max(initial=0)))
    if longest == 0:
        return 0
    speeds = [np.zeros(1)]  # of all joints of the dance, in frame heights a frame
    for track in clip.tracks:
        steps = np.linalg.norm(np.diff(metric(track.points[:, BODY], aspect), axis=0), axis=-1)
        speeds.append(steps[track.visible[1:, BODY] & track.visible[:-1, BODY]])
    speed = float(np.percentile(np.concatenate(speeds), USUAL_FAST))
    wanted = FASTEST_EASED * longest / speed if speed > 0 else LONGEST_SUGGESTION
    # whole latent frames: a length of 4n+1 stays one
    return min(LONGEST_SUGGESTION, FRAMES_PER_LATENT * math.ceil(wanted / FRAMES_PER_LATENT))


def _pairs(clip: PoseClip, photo: PoseClip) -> list[Pair]:
    """Return (person in the photo, dancer) for those who can be led; ValueError if there is none."""
    check_people(photo, clip)
    if aspect_difference((clip.width, clip.height), (photo.width, photo.height)) > MAX_ASPECT_DIFFERENCE:
        raise ValueError(
            f"The poses are {clip.width}x{clip.height}, the photo's pose is {photo.width}x{photo.height}: two shapes. "
            "A lead-in needs poses that are aligned to this photo: connect the poses of Align Poses."
        )
    pairs = [(person, track) for person, track in nearest_people(photo, clip) if track.present[0]]
    if not pairs:
        raise ValueError(
            "In the first frame of the poses nobody is seen who is in the photo, so there is no pose to lead to. "
            "Start the dance later, with Best Start or a cut of the video."
        )
    return pairs


def _path(start: Pose, end: Pose, count: int, aspect: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points [count, 134, 2] in fractions of the frame, and scores, at equal steps from start towards end."""
    t = np.arange(count) / count
    eased = t * t * (3 - 2 * t)
    path = turn_bones(start, end, eased)
    late = np.where(start.seen & end.seen, eased[:, None], eased[:, None] >= 0.5)
    scores = (1 - late) * np.where(start.seen, start.scores, 0) + late * np.where(end.seen, end.scores, 0)
    return np.stack([path.real / aspect, path.imag], axis=-1), scores


def turn_bones(start: Pose, end: Pose, eased: np.ndarray) -> np.ndarray:
    """Return complex points [N, 134] on the path from start (eased 0) to end (1), for eased [N].

    A part hangs on the nearest joint above it that is seen at both ends, and turns with that joint's bone if seen once.
    """
    ends = [np.append(pose.points, 0) for pose in (start, end)]
    both = np.append(start.seen & end.seen, True)
    path, turns, middles = np.zeros((len(eased), ROOT + 1), complex), np.zeros(ROOT + 1), np.zeros(ROOT + 1, complex)
    for children, joint, axis in TREE:
        while not both[joint]:
            joint = PARENT[joint]
        base, tip = axis or (joint, children[0])
        turn = turns[joint]
        if joint != ROOT and both[base] and both[tip]:
            turn = shortest_turn(*(points[tip] - points[base] for points in ends), middles[joint])
        old, new = (points[children] - points[joint] for points in ends)
        old = np.where(start.seen[children], old, new * np.exp(-1j * turn))
        new = np.where(end.seen[children], new, old * np.exp(1j * turn))
        blend = (1 - eased[:, None]) * old + eased[:, None] * new * np.exp(-1j * turn)  # of both shapes, turned back
        path[:, children] = path[:, [joint]] + np.exp(1j * turn * eased[:, None]) * blend
        turns[children] = turn
        middles[children] = old * np.exp(0.5j * turn) if joint != ROOT else 0
    return path[:, :ROOT]


def shortest_turn(old: complex, new: complex, along: complex = 0) -> float:
    """Return the angle from `old` to `new`, -pi to pi; near half a turn, the one that passes by the side of `along`.

    along: where the limb above points halfway through its own turn, so that arms are raised outward.
    """
    turn = float(np.angle(new * np.conj(old)))
    middle = old * np.exp(0.5j * turn)
    if abs(turn) > HALF_TURN_LIKE and (middle * np.conj(along)).real < 0:
        return turn - math.copysign(2 * math.pi, turn)
    return turn
