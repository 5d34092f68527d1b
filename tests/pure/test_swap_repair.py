"""Left and right: mistaken frames are found and put right exactly, real turns are left alone."""

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.proportions import typical_size
from steadydancer_pack.dwpose.edit.swap_repair import FOLLOWING_PAIRS, VOTING_PAIRS, exchange, find_swaps
from steadydancer_pack.dwpose.poses import KEYPOINTS, LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST, Track

FRAMES, ASPECT = 48, 0.5
# Sideways from the spine, depth is 0; height below the neck. In body sizes, right side positive as a camera sees it.
HALF_WIDTH = {2: 0.35, 3: 0.5, 4: 0.6, 8: 0.2, 9: 0.22, 10: 0.2, 14: 0.06, 16: 0.13}
HEIGHT = {0: -0.3, 1: 0, 2: 0, 3: 0.5, 4: 0.9, 8: 1, 9: 1.8, 10: 2.6, 14: -0.35, 16: -0.32}
TWIN = {2: 5, 3: 6, 4: 7, 8: 11, 9: 12, 10: 13, 14: 15, 16: 17}
EVERYTHING = [*VOTING_PAIRS]
NOWHERE = {group: [] for group in EVERYTHING}


def dancer(turn=None, frames=FRAMES, size=0.2):
    """Return a track that sways, swings its arms and turns by `turn` [F] radians about the spine."""
    turn = np.zeros(frames) if turn is None else turn
    t = np.arange(frames)
    points, scores = np.zeros((frames, KEYPOINTS, 2)), np.zeros((frames, KEYPOINTS))
    for joint, height in HEIGHT.items():
        points[:, joint, 1] = height
        for side, key in ((-1, joint), (1, TWIN.get(joint))):
            if joint in TWIN:
                points[:, key, 0] = side * HALF_WIDTH[joint] * np.cos(turn)
                swing = 0.25 * side * np.sin(0.4 * t) * (joint in (3, 4, 9, 10))
                points[:, key] = np.stack([points[:, key, 0], height + swing], axis=1)
    for i in range(21):
        points[:, RIGHT_HAND.start + i] = points[:, RIGHT_WRIST] + (-0.01 * i, 0.02 * i)
        points[:, LEFT_HAND.start + i] = points[:, LEFT_WRIST] + (0.01 * i, 0.03 * i)
    scores[:, [*range(18), *range(92, 134)]] = np.linspace(0.5, 1, 60)
    points += np.stack([0.3 * np.sin(0.1 * t), np.zeros(frames)], axis=1)[:, None]
    return Track(7, (0.5, 0.2) + points * size / (ASPECT, 1), scores)


def found(track):
    return {group: np.flatnonzero(frames).tolist() for group, frames in find_swaps(track, ASPECT).items()}


def mistaken(track, groups, frames):
    mask = np.isin(np.arange(len(track.points)), list(frames))
    return exchange(track, dict.fromkeys(groups, mask))


def test_typical_size_is_the_torso_however_the_person_turns_and_fixed_for_nobody():
    track = dancer(np.linspace(0, 6, FRAMES))
    track.scores[:, [9, 12]] = 0  # swinging knees look longer than thighs are
    assert typical_size(track, ASPECT) == pytest.approx(0.2)
    assert typical_size(Track(7, np.zeros((5, KEYPOINTS, 2)), np.zeros((5, KEYPOINTS))), ASPECT) == 0.25


def test_exchange_takes_hands_and_scores_along():
    track = dancer()
    swapped = mistaken(track, ["arms"], [3])
    assert np.array_equal(swapped.points[3, LEFT_HAND], track.points[3, RIGHT_HAND])
    assert swapped.scores[3, LEFT_WRIST] == track.scores[3, RIGHT_WRIST]
    assert np.array_equal(swapped.points[4], track.points[4])
    assert np.array_equal(swapped.points[3, 8:14], track.points[3, 8:14])


def test_every_left_keypoint_but_the_face_has_its_twin():
    pairs = [pair for table in (VOTING_PAIRS, FOLLOWING_PAIRS) for group in table.values() for pair in group]
    both = sorted(keypoint for pair in pairs for keypoint in pair)
    assert both == sorted({*range(134)} - {0, 1} - {*range(24, 92)})


@pytest.mark.parametrize("groups", [["arms"], ["legs"], ["eyes and ears"], EVERYTHING])
@pytest.mark.parametrize("frames", [[0], [20], [47], range(5), range(10, 22), [3, 9, 10, 30, 31, 32]])
def test_mistaken_frames_are_repaired_exactly(groups, frames):
    track = dancer()
    wrong = mistaken(track, groups, frames)
    swaps = find_swaps(wrong, ASPECT)
    assert {group for group, where in swaps.items() if where.any()} == set(groups)
    repaired = exchange(wrong, swaps)
    assert repaired.points.tobytes() == track.points.tobytes()
    assert repaired.scores.tobytes() == track.scores.tobytes()


def test_noise_does_not_hide_a_mistake():
    track = dancer()
    noise = np.random.default_rng(1).normal(0, 0.003, track.points.shape)
    noisy = Track(7, track.points + noise, track.scores)
    assert found(noisy) == NOWHERE
    assert found(mistaken(noisy, EVERYTHING, range(10, 15))) == {g: [10, 11, 12, 13, 14] for g in EVERYTHING}


@pytest.mark.parametrize("frames_for_half_a_turn", [6, 9, 24])
@pytest.mark.parametrize("start", [0.0, 0.3])
def test_a_real_turn_is_not_touched(frames_for_half_a_turn, start):
    step = np.pi / frames_for_half_a_turn
    there = np.clip((np.arange(FRAMES) - 10) * step + start * step, 0, np.pi)
    assert found(dancer(there)) == NOWHERE
    assert found(dancer(np.arange(FRAMES) * step + start)) == NOWHERE


def test_a_mistake_in_the_back_view_is_found_and_a_cut_to_it_is_none():
    turned = dancer(np.clip(np.arange(FRAMES) * 0.3, 0, np.pi))
    assert found(mistaken(turned, ["arms"], [30, 31]))["arms"] == [30, 31]
    turned = dancer(np.where(np.arange(FRAMES) < 28, 0, np.pi))
    turned.points[28:, :, 0] += 0.4  # two body sizes
    assert found(turned) == NOWHERE


def test_a_short_gap_does_not_hide_a_mistake_and_a_long_one_forgets():
    track = mistaken(dancer(), ["arms"], range(28, FRAMES))
    for gap, expected in ((2, [*range(28, FRAMES)]), (12, [])):
        scores = track.scores.copy()
        scores[28 - gap : 28] = 0
        swapped = found(Track(7, track.points, scores))["arms"]
        assert swapped == expected


def test_too_few_frames_or_joints_tell_nothing():
    assert found(mistaken(dancer(frames=2), EVERYTHING, [1])) == NOWHERE
    blind = mistaken(dancer(), EVERYTHING, [5])
    blind.scores[:, list(TWIN)] = 0
    assert found(blind) == NOWHERE
