"""Identities without pictures, and the appearances that distinguish people with them."""

import numpy as np
import pytest

from steadydancer_pack.dwpose.poses import LEFT_HIP, LEFT_SHOULDER, NECK, RIGHT_HIP, RIGHT_SHOULDER
from steadydancer_pack.dwpose.track import appearance
from steadydancer_pack.dwpose.track.track import Tracker, link_rows
from steadydancer_pack.dwpose.track.tracklets import Detections, joints_seen, person_box, person_size

SHAPE = np.random.default_rng(0).random((134, 2)) * (0.1, 0.4)


def link_people(points, scores):
    """Return the people of F frames with points [N_f, 134, 2] and scores [N_f, 134] in any order, by motion alone."""
    tracker = Tracker()
    for frame, (places, confidence) in enumerate(zip(points, scores, strict=True)):
        seen = joints_seen(confidence).any(-1)
        if seen.any():
            tracker.update(frame, Detections.of(places[seen], confidence[seen]))
    return tracker.tracks(len(points))


def frames_of(*paths, score=0.9):
    """Return what link_people takes. A path has a place x for each frame, None for absent; the order alternates."""
    points, scores = [], []
    for frame, places in enumerate(zip(*paths, strict=True)):
        people = [SHAPE + (x, 0.3) for x in places if x is not None]
        people = people[::-1] if frame % 2 else people
        points.append(np.array(people).reshape(-1, 134, 2))
        scores.append(np.full(points[-1].shape[:2], score))
    return points, scores


def places(track):
    """Return [F]: x of the neck less where the shape has it, NaN for absent."""
    return np.where(track.present, track.points[:, NECK, 0] - SHAPE[NECK, 0], np.nan)


def test_people_in_any_order_are_linked_bit_for_bit():
    paths = [0.1 + 0.01 * np.arange(30), 0.8 - 0.01 * np.arange(30)]
    points, scores = frames_of(*paths)
    tracks = link_people(points, scores)
    assert [t.identity for t in tracks] == [0, 1]
    for track, path, first in zip(tracks, paths, (0, 1), strict=True):
        assert places(track) == pytest.approx(path)
        assert np.array_equal(track.points[1], points[1][1 - first]) and track.points.dtype == np.float64


@pytest.mark.parametrize("speed", [0.01, 0.02, 0.05])
def test_crossing_by_motion_alone(speed):
    span = np.arange(0, 0.8, speed)
    points, scores = frames_of(0.05 + span, 0.85 - span)
    first, second = link_people([p + (0, 0.002) * np.arange(len(p))[:, None, None] for p in points], scores)
    assert places(first) == pytest.approx(0.05 + span) and places(second) == pytest.approx(0.85 - span)


@pytest.mark.parametrize("others", [[], [[0.8] * 120]])
def test_who_returns_elsewhere_is_the_same(others):
    tracks = link_people(*frames_of([0.1] * 10 + [None] * 100 + [0.4] * 10, *others))
    assert [track.present.sum() for track in tracks] == [20] + [120] * len(others)


def test_numbers_go_by_first_appearance_then_from_the_left():
    tracks = link_people(*frames_of([None] * 3 + [0.1] * 9, [0.8] * 12, [0.4] * 12))
    assert [np.nanmean(places(track)) for track in tracks] == pytest.approx([0.4, 0.8, 0.1])


def test_a_short_false_positive_is_dropped_and_a_short_visit_is_not():
    points, scores = frames_of([0.1] * 40, [None] * 20 + [0.7] * 2 + [None] * 18)
    assert len(link_people(points, scores)) == 2
    for frame in (20, 21):
        scores[frame][1 if frame == 20 else 0] = 0.4
    assert len(link_people(points, scores)) == 1


def test_a_clip_of_one_frame_keeps_everybody_and_a_longer_one_who_is_seen_at_least_by_a_hand():
    points, scores = frames_of([0.1], [0.5])
    scores[0][1] = 0.4
    assert len(link_people(points, scores)) == 2
    points, scores = frames_of([0.1] * 5, [0.7] * 5)
    for frame in range(5):
        scores[frame][frame % 2] = 0.1
    (track,) = link_people(points, scores)
    assert np.nanmean(places(track)) == pytest.approx(0.7)
    points, scores = frames_of([0.1] * 5, [0.7] * 5)
    for row in scores:
        row[:, :92] = 0
    tracks = link_people(points, scores)
    assert [track.visible.sum() for track in tracks] == [5 * 42] * 2


@pytest.mark.parametrize("frames", [0, 3])
def test_nobody_gives_no_track(frames):
    assert link_people([np.zeros((0, 134, 2))] * frames, [np.zeros((0, 134))] * frames) == []


def test_appearances_decide_where_motion_cannot():
    """Two people change places unseen; without appearances they would have stayed."""
    appearances = np.eye(2)[:, None] * np.ones((1, 2, 1))  # two parts of two colors
    for dressed, expected in ((False, [0.1, 0.1]), (True, [0.1, 0.7])):
        tracker = Tracker()
        for frame, (a, b) in {0: (0.1, 0.7), 1: (0.1, 0.7), 60: (0.7, 0.1), 61: (0.7, 0.1)}.items():
            points = np.stack([SHAPE + (a, 0.3), SHAPE + (b, 0.3)])
            tracker.update(frame, Detections.of(points, np.ones((2, 134)), appearances if dressed else None))
        first = tracker.tracks(62)[0]
        assert places(first)[[0, 61]] == pytest.approx(expected)


def track_dressed(frames):
    """Return the tracks of frames that list people (place, color)."""
    tracker = Tracker()
    for frame, people in enumerate(frames):
        if people:
            points = np.stack([SHAPE + (place, 0.3) for place, _ in people])
            appearances = np.stack([np.eye(3)[[color, color]] for _, color in people])
            tracker.update(frame, Detections.of(points, np.ones(points.shape[:2]), appearances))
    return tracker.tracks(len(frames))


def test_a_tracklet_is_split_where_it_followed_the_wrong_person():
    """The second person hides the first; then the region that was the second one's follows the first."""
    together = [[(0.1, 0), (0.15, 1)]] * 20 + [[(0.15, 1)]] * 30
    drifted = [[(0.15 + 0.01 * f, 0)] for f in range(20)]
    apart = [[(0.35 + 0.01 * f, 0), (0.14 - 0.001 * f, 1)] for f in range(20)]
    first, second = track_dressed([*together, *drifted, *apart])
    assert np.flatnonzero(~first.present).tolist() == [*range(20, 50)]
    assert np.flatnonzero(~second.present).tolist() == [*range(50, 70)]
    assert places(first)[-1] == pytest.approx(0.54) and places(second)[-1] == pytest.approx(0.121)


def test_one_whose_clothes_seem_to_change_stays_one_and_a_brief_stranger_is_left_out():
    (track,) = track_dressed([[(0.1, 0)]] * 30 + [[(0.1, 1)]] * 30 + [[(0.1, 2)]] * 30)
    assert track.present.all()
    frames = [[(0.1, 0)]] * 20 + [[(0.1, 2)]] * 3 + [[(0.1, 0)]] * 20
    assert [t.present.all() for t in track_dressed(frames)] == [True]
    frames = [[(0.1, 0), *([(0.7, 2)] if f in (20, 21) else [])] for f in range(43)]
    assert len(track_dressed(frames)) == 1


def test_boxes_and_sizes():
    points, scores = np.zeros((3, 134, 2)), np.zeros((3, 134))
    points[:, :2] = [[(0, 0), (3, 4)], [(0, 0), (3, 2)], [(9, 9), (9, 9)]]
    points[:, 100] = 1000
    scores[:2, :2], scores[:, 100] = 1, [1, 1, 0]
    boxes = person_box(points, scores)
    assert boxes[:2].tolist() == [[0, 0, 3, 4], [0, 0, 3, 2]] and np.isnan(boxes[2]).all()
    assert person_size(points, scores).tolist() == pytest.approx([5, 13**0.5, 0])


def dressed(color, joints=(RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP)):
    frame = np.full((200, 100, 3), color, np.uint8)
    points, scores = np.zeros((134, 2)), np.zeros(134)
    points[[RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP]] = [(20, 20), (80, 20), (30, 120), (70, 120)]
    scores[list(joints)] = 1
    return appearance.describe(frame, points, scores)


def test_an_appearance_counts_the_colors_of_whole_parts_inside_the_frame():
    red, gray = dressed((255, 0, 0)), dressed((130, 128, 126))
    assert red.shape == (2, appearance.BINS) and red.sum(1).tolist() == [1, 0]  # no leg is seen
    # hue 0 at the highest of 3 brightnesses: half in its own bin, a quarter in each neighbor
    assert {int(i): red[0, i] for i in np.flatnonzero(red[0])} == {2: 0.5, 5: 0.25, 35: 0.25}
    assert np.flatnonzero(gray[0]).tolist() == [36 + 130 * 6 // 256]
    assert not dressed((255, 0, 0), [RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP]).any()
    points, scores = np.full((134, 2), -500.0), np.ones(134)
    assert not appearance.describe(np.full((50, 50, 3), 200, np.uint8), points, scores).any()


def test_differences_changes_and_blends_of_appearances():
    red, blue = dressed((255, 0, 0)), dressed((0, 0, 255))
    mixed = (red + blue) / 2
    difference = appearance.difference(red, np.stack([red, blue, mixed, np.zeros_like(red)]))
    assert difference[:3] == pytest.approx([0, 1, (1 - 0.5**0.5) ** 0.5]) and np.isnan(difference[3])
    changes = appearance.changes([red] * 6 + [blue] * 6, window=4, least=2)
    assert changes[[0, 1, 2, 6, 10, 11]].tolist() == [0, 0, 0, 1, 0, 0]
    # at 5: 4 red before; a red and 3 blue after
    assert changes[5] == pytest.approx((1 - 0.25**0.5) ** 0.5)
    assert not appearance.changes([red] * 3, window=4, least=2).any()
    nothing = np.zeros_like(red)
    assert np.array_equal(appearance.blend(red, nothing, 0.5), red)
    assert np.array_equal(appearance.blend(nothing, red, 0.1), red)
    assert appearance.blend(red, blue, 0.25)[0, 2] == 0.75 * 0.5


@pytest.mark.parametrize(
    "paths",
    [
        [0.1 + 0.004 * np.arange(90), 0.8 - 0.004 * np.arange(90)],  # they pass each other
        [[0.1] * 40 + [None] * 3 + [0.1] * 47, [0.6] * 90],
        [[0.1] * 30 + [0.7] * 60, [0.6] * 90],  # one jumps
        [[None] * 25 + [0.4] * 65, [0.1] * 90, [0.8] * 90],
        [[0.1] * 90],
    ],
)
@pytest.mark.parametrize("noise", [0, 0.01])
def test_whole_runs_are_linked_as_frame_after_frame(paths, noise, monkeypatch):
    points, scores = frames_of(*paths)
    rng = np.random.default_rng(0)
    points = [places + rng.normal(0, noise, places.shape) for places in points]
    scores = [rng.uniform(0.2, 1, confidence.shape) for confidence in scores]
    taken, update_batch = [], Tracker.update_batch
    monkeypatch.setattr(Tracker, "update_batch", lambda *given: taken.append(update_batch(*given)) or taken[-1])
    where = np.repeat(np.arange(len(points)), [len(places) for places in points])
    owners = link_rows(len(points), where, np.concatenate(points), np.concatenate(scores))
    tracks = link_people(points, scores)
    assert sum(taken) > 45 and owners.max() + 1 == len(tracks)
    for track in tracks:
        rows = owners == track.identity
        assert np.array_equal(track.points[where[rows]], np.concatenate(points)[rows])
        assert track.present.sum() == rows.sum()


def test_one_whose_other_joints_are_seen_all_of_a_sudden_makes_no_invalid_number():
    """Other packs may turn such numbers into errors."""
    points, scores = frames_of([0.1] * 40)
    for i, confidence in enumerate(scores):
        confidence[:, slice(9) if i >= 30 else slice(9, None)] = 0
    with np.errstate(all="raise"):
        owners = link_rows(40, np.arange(40), np.concatenate(points), np.concatenate(scores))
    assert (owners == 0).all()
