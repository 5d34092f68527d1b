"""From the photo's pose to the dance: exact ends, constant bones, no joint torn off."""

import numpy as np
import pytest

from steadydancer_pack.dwpose import poses
from steadydancer_pack.dwpose.edit.lead_in import AUTO, lead_in, shortest_turn, suggest_frames
from steadydancer_pack.dwpose.poses import FACE, KEYPOINTS, LEFT_ELBOW, LEFT_HAND, LEFT_WRIST, NECK, PoseClip, Track
from steadydancer_pack.dwpose.skeleton import HAND_EDGES, LIMBS

WIDTH, HEIGHT, FRAMES = 576, 1008, 6
ASPECT = WIDTH / HEIGHT
LENGTHS = np.array([0.1, 0.1, 0.15, 0.12, 0.15, 0.12, 0.3, 0.2, 0.2, 0.3, 0.2, 0.2, 0.12, 0.03, 0.04, 0.03, 0.04])
REST = np.radians([180, 0, 120, 100, 60, 80, 100, 90, 90, 80, 90, 90, -90, -130, -170, -50, -10])


def skeleton(angles=REST, neck=(0.3, 0.3), lengths=LENGTHS):
    """Return in fractions of the frame [134, 2] a body whose limbs have the given angles, with hands and face on it."""
    points = np.zeros((KEYPOINTS, 2))
    points[NECK] = neck
    for (parent, joint), angle, length in zip(LIMBS.tolist(), angles, lengths, strict=True):
        points[joint] = points[parent] + length * np.array([np.cos(angle), np.sin(angle)])
    for hand, wrist, angle in ((LEFT_HAND, LEFT_WRIST, angles[5]), (poses.RIGHT_HAND, poses.RIGHT_WRIST, angles[3])):
        spread = angle + np.linspace(-0.4, 0.4, 21)
        points[hand] = points[wrist] + np.arange(21)[:, None] * 0.002 * np.stack([np.cos(spread), np.sin(spread)], 1)
    points[FACE] = points[poses.NOSE] + np.linspace((-0.02, 0), (0.02, 0.04), 68)
    points[18:24] = points[poses.LEFT_ANKLE] + np.linspace(0.01, 0.03, 12).reshape(6, 2)
    return points / (ASPECT, 1)


def clip_of(*people, frames=1, scores=0.8):
    """Return a clip in which each person stands still."""
    score = np.full((frames, KEYPOINTS), scores)
    tracks = [Track(i, np.tile(points, (frames, 1, 1)), score.copy()) for i, points in enumerate(people)]
    return PoseClip(WIDTH, HEIGHT, frames, tuple(tracks))


def hidden(clip, keypoints, person=0):
    clip.tracks[person].scores[:, keypoints] = 0
    return clip


def bones(points, edges):
    """Return the lengths [F, E] of edges between points [..., 2] given in fractions of the frame."""
    metric = points * (ASPECT, 1)
    return np.linalg.norm(metric[..., edges[:, 1], :] - metric[..., edges[:, 0], :], axis=-1)


def random_angles(seed):
    return np.random.default_rng(seed).uniform(-np.pi, np.pi, len(LIMBS))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("frames", [1, 7])
def test_ends_are_exact_and_bones_keep_their_lengths(seed, frames):
    photo = clip_of(skeleton(random_angles(seed)), scores=0.7)
    clip = clip_of(skeleton(random_angles(seed + 100), neck=(0.4, 0.25)), frames=FRAMES)
    before = clip.tracks[0].points.copy()
    result = lead_in(clip, photo, frames)
    track = result.tracks[0]
    assert (result.frames, len(track.points), track.identity) == (FRAMES + frames, FRAMES + frames, 0)
    assert track.points[0].tobytes() == photo.tracks[0].points[0].tobytes()
    assert track.scores[0].tobytes() == photo.tracks[0].scores[0].tobytes()
    assert track.points[frames:].tobytes() == before.tobytes() == clip.tracks[0].points.tobytes()
    assert track.scores[frames:].tobytes() == clip.tracks[0].scores.tobytes()
    assert np.abs(bones(track.points, LIMBS) - LENGTHS).max() < 1e-9
    assert track.visible.all()


def test_lengths_go_from_the_one_to_the_other():
    photo = clip_of(skeleton(random_angles(1), lengths=LENGTHS * 0.5))
    clip = clip_of(skeleton(random_angles(2), lengths=LENGTHS * np.linspace(0.3, 2, 17)))
    lengths = bones(lead_in(clip, photo, 10).tracks[0].points, LIMBS)
    steps = np.diff(lengths, axis=0) * np.sign(lengths[-1] - lengths[0])
    assert (steps >= -1e-12).all()


def test_halfway_by_hand_and_easing():
    """A forearm turns by 90 degrees while the neck moves by 0.1; smoothstep passes the middle at half the time."""
    angles = REST.copy()
    angles[5] += np.pi / 2
    photo = clip_of(skeleton(neck=(0.3, 0.3)))
    middle = lead_in(clip_of(skeleton(angles, neck=(0.4, 0.3))), photo, 2).tracks[0].points[1] * (ASPECT, 1)
    assert middle[NECK] == pytest.approx([0.35, 0.3])
    forearm = middle[LEFT_WRIST] - middle[LEFT_ELBOW]
    assert np.degrees(np.arctan2(forearm[1], forearm[0])) == pytest.approx(80 + 45)
    still = photo.tracks[0].points[0] * (ASPECT, 1) + (0.05, 0)
    assert middle[[LEFT_ELBOW, *range(8, 18)]] == pytest.approx(still[[LEFT_ELBOW, *range(8, 18)]])
    photo, clip = clip_of(skeleton(neck=(0.2, 0.3))), clip_of(skeleton(neck=(0.5, 0.3)), frames=2)
    steps = np.diff(lead_in(clip, photo, 8).tracks[0].points[:, NECK, 0])
    assert steps[0] < 0.4 * steps[3] and steps[7] < 0.4 * steps[3]
    assert steps[:8] == pytest.approx(steps[7::-1])


def test_hand_and_face_keep_their_shape_and_place():
    points = lead_in(clip_of(turned(5, by=np.radians(140))), clip_of(skeleton()), 6).tracks[0].points
    edges = LEFT_HAND.start + HAND_EDGES
    assert bones(points, edges) == pytest.approx(np.tile(bones(points[0], edges), (7, 1)), abs=1e-12)
    assert np.abs(points[:, LEFT_HAND.start] - points[:, LEFT_WRIST]).max() < 1e-12
    points = lead_in(clip_of(turned(12, by=0.5)), clip_of(skeleton()), 6).tracks[0].points * (ASPECT, 1)
    spread = np.linalg.norm(points[:, FACE] - points[:, [poses.NOSE]], axis=2)
    assert spread.max() < 0.05


def turned(*limbs, by):
    """Return REST with some limbs turned by an angle in radians."""
    angles = REST.copy()
    angles[list(limbs)] += by
    return skeleton(angles)


def test_arms_are_raised_outward():
    """From hanging to raised both ways are nearly as short. The left arm, on the right of the picture, goes right."""
    for old, new in ((85, -95), (95, -85), (90, -90)):
        down, up = REST.copy(), REST.copy()
        down[4:6], up[4:6] = np.radians(old), np.radians(new)
        points = lead_in(clip_of(skeleton(up)), clip_of(skeleton(down)), 4).tracks[0].points[2]
        assert points[LEFT_WRIST, 0] > points[LEFT_ELBOW, 0] > points[poses.LEFT_SHOULDER, 0]


@pytest.mark.parametrize(("old", "new", "along", "turn"), [(10, 100, 0, 90), (170, -170, 0, 20), (0, 170, -90, -190)])
def test_shortest_turn(old, new, along, turn):
    directions = [np.exp(1j * np.radians(angle)) for angle in (old, new, along)]
    assert np.degrees(shortest_turn(*directions)) == pytest.approx(turn)


def test_legs_outside_the_photo_appear_in_the_second_half_where_they_belong():
    legs = [poses.LEFT_HIP, poses.LEFT_KNEE, poses.LEFT_ANKLE]
    photo = hidden(clip_of(skeleton()), legs)
    track = lead_in(clip_of(skeleton(neck=(0.4, 0.3))), photo, 10).tracks[0]
    assert track.visible[:, legs].all(axis=1).tolist() == [False] * 5 + [True] * 6
    below_neck = track.points[5:, legs] - track.points[5:, [NECK]]
    assert below_neck == pytest.approx(np.tile(below_neck[-1], (6, 1, 1)))


def test_a_hand_that_the_dance_hides_goes_in_the_first_half():
    hand = [*range(LEFT_HAND.start, LEFT_HAND.stop)]
    track = lead_in(hidden(clip_of(turned(4, 5, by=1)), hand), clip_of(skeleton()), 10).tracks[0]
    assert track.visible[:, hand].all(axis=1).tolist() == [True] * 5 + [False] * 6
    edges = LEFT_HAND.start + HAND_EDGES
    assert bones(track.points[:5], edges) == pytest.approx(np.tile(bones(track.points[0], edges), (5, 1)))
    assert np.linalg.norm(track.points[:5, hand[0]] - track.points[:5, LEFT_WRIST], axis=1).max() < 1e-12


def test_without_a_neck_everything_goes_straight_and_unseen_points_may_be_anything():
    photo, clip = clip_of(skeleton()), hidden(clip_of(skeleton(random_angles(3))), [NECK])
    ends = photo.tracks[0].points[0], clip.tracks[0].points[0]
    middle = lead_in(clip, photo, 2).tracks[0].points[1]
    for joint in (poses.NOSE, poses.LEFT_SHOULDER, poses.LEFT_HIP):
        assert middle[joint] == pytest.approx((ends[0][joint] + ends[1][joint]) / 2)
    photo, clip = hidden(clip_of(skeleton()), [4, 10]), hidden(clip_of(skeleton()), [4, 13])
    for one in (photo, clip):
        one.tracks[0].points[one.tracks[0].scores == 0] = np.inf
    track = lead_in(clip, photo, 5).tracks[0]
    assert np.isfinite(track.points[1:5]).all()
    assert not track.visible[:5, 4].any()


def test_no_frames_is_the_clip_and_the_suggestion_by_hand():
    """The neck and all else 0.1 away, 0.03 a frame in the dance: 1.5 * 0.1 / 0.03 = 5 frames, 8 in whole steps of 4."""
    clip = clip_of(skeleton())
    assert lead_in(clip, clip_of(skeleton()), 0) is clip
    assert lead_in(clip, clip, AUTO) is clip
    clip, lower = clip_of(skeleton(), frames=30), clip_of(skeleton(neck=(0.3, 0.4)))
    assert (suggest_frames(clip, lower), suggest_frames(clip, clip_of(skeleton()))) == (48, 0)
    clip.tracks[0].points[:, :, 1] += 0.03 * np.arange(30)[:, None]
    assert (suggest_frames(clip, lower), lead_in(clip, lower).frames) == (8, 38)


def test_a_person_without_a_partner_and_somebody_who_comes_later_just_appear():
    clip = clip_of(skeleton(neck=(0.15, 0.3)), skeleton(neck=(0.45, 0.3)), frames=3)
    alone, led = lead_in(clip, clip_of(skeleton(neck=(0.4, 0.4))), 4).tracks
    assert alone.present.tolist() == [False] * 4 + [True] * 3 and led.present.all()
    assert alone.points[4:].tobytes() == clip.tracks[0].points.tobytes()
    clip.tracks[0].scores[0] = 0
    later, led = lead_in(clip, clip_of(skeleton(neck=(0.1, 0.3)), skeleton(neck=(0.4, 0.3))), 2).tracks
    assert later.present.tolist() == [False] * 3 + [True] * 2 and led.present.all()


SOMEBODY = clip_of(skeleton())
EMPTY_AT_FIRST = clip_of(skeleton(), frames=3)
EMPTY_AT_FIRST.tracks[0].scores[0, poses.BODY] = 0
CANNOT_BE_LED = [
    *((SOMEBODY, PoseClip(WIDTH, HEIGHT, frames), 4, "Nobody is seen in the photo") for frames in (0, 1)),
    *((PoseClip(WIDTH, HEIGHT, frames), SOMEBODY, 4, "Nobody is seen in any frame") for frames in (0, 4)),
    (SOMEBODY, SOMEBODY, -2, "give -1"),
    (SOMEBODY, PoseClip(800, 600, 1, SOMEBODY.tracks), 4, "two shapes"),
    (EMPTY_AT_FIRST, SOMEBODY, 4, "no pose to lead to"),
]


@pytest.mark.parametrize(("clip", "photo", "frames", "message"), CANNOT_BE_LED)
def test_what_cannot_be_led(clip, photo, frames, message):
    with pytest.raises(ValueError, match=message):
        lead_in(clip, photo, frames)
