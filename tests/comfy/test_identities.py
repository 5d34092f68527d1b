"""Poses of other packs: bounds on what they hold, linked once, and linking that Cancel ends."""

import time
import tracemalloc

import numpy as np
import pytest
from comfy.model_management import InterruptProcessingException, interrupt_current_processing

from steadydancer_pack.dwpose.formats.dialects import DIALECTS, NOTE, write
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints
from steadydancer_pack.dwpose.poses import PoseClip, Track
from steadydancer_pack.dwpose.track import identities, track
from steadydancer_pack.dwpose.track.identities import MAX_PEOPLE
from steadydancer_pack.nodes.common.pose_input import read_poses

SIDE = 512
DWPOSE = [*DIALECTS][1]


def person(x, y, size=8.0, **keys):
    """Return somebody whose joints stand in a grid below x, y."""
    body = [number for i in range(18) for number in (x + size * (i % 4), y + size * (i // 4), 1.0)]
    return {"pose_keypoints_2d": body, **keys}


def frame(*people):
    return {"people": list(people), "canvas_width": SIDE, "canvas_height": SIDE}


def jumping(frames, people=1, seed=0):
    """Return people who are elsewhere in every frame."""
    places = np.random.default_rng(seed).uniform(0, SIDE - 40, (frames, people, 2)).tolist()
    return [frame(*(person(*place, 2.0) for place in here)) for here in places]


def dance_without_ids(frames):
    """Return two people in another pack's form."""
    rng = np.random.default_rng(0)
    shape = rng.random((134, 2)) * (0.1, 0.4)
    sway = 0.05 * np.sin(np.arange(frames)[:, None, None] / 9 + np.arange(134)[:, None])
    points = [shape + sway + (x, 0.3) + rng.normal(0, 0.003, (frames, 134, 2)) for x in (0.2, 0.5)]
    data = write(PoseClip(720, 1280, frames, tuple(Track(i, p, np.ones((frames, 134))) for i, p in enumerate(points))))
    for one in (one for each in data for one in each["people"]):
        del one["id"], one["scores"], one["body_raw_2d"]
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([frame(person(100, 100, id=i)) for i in range(3000)], "3000 people over 3000 frames, each seen in 1 of them"),
        ([frame(*(person(9, 9) for _ in range(2000)))] * 2, "Frame 0 holds 2000 people; .*up to 256.*max_people"),
        ([frame(*(person(9, 9) for _ in range(20_000)))], "Frame 0 holds 20000 people"),
        ([frame(), frame(*(person(9, 9, id=i) for i in range(MAX_PEOPLE + 1)))], "Frame 1 holds 257 people"),
    ],
)
def test_more_people_than_a_dance_has_are_refused_in_words(data, message):
    with pytest.raises(ValueError, match=message):
        from_keypoints(data)


def test_people_who_are_new_in_every_frame_are_refused_in_words(monkeypatch):
    monkeypatch.setattr(track, "MAX_TRACKLETS", 40)
    with pytest.raises(ValueError, match=r"up to frame \d+, people .* from nowhere 4\d times.*Extract Poses"):
        from_keypoints(jumping(20, people=8))


def test_a_full_clip_may_be_longer_than_the_bound(monkeypatch):
    monkeypatch.setattr(identities, "MAX_PLACES", 10)
    data = [frame(person(9, 9, id=0), person(99, 9, id=1)) for _ in range(20)]
    assert len(from_keypoints(data).tracks) == 2
    with pytest.raises(ValueError, match="2 people over 160 frames"):
        from_keypoints(data + [frame()] * 140)


def test_one_who_jumps_and_two_without_ids_are_linked_fast():
    """300 jumps: 2.4 s of processor time before the links were computed together, 0.15 s since."""
    started = time.process_time()
    clip = from_keypoints(jumping(300))
    assert sum(track.present.sum() for track in clip.tracks) == 300
    assert time.process_time() - started < 1
    clip = from_keypoints(dance_without_ids(3000))
    assert time.process_time() - started < 2
    assert [(one.identity, one.present.all()) for one in clip.tracks] == [(0, True), (1, True)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_our_nodes_write_is_not_linked_again(monkeypatch, dialect):
    calls = []
    link_rows = track.link_rows
    monkeypatch.setattr(track, "link_rows", lambda *given: calls.append(given) or link_rows(*given))
    written = write(read_poses(dance_without_ids(4)), dialect)
    assert len(calls) == 1
    again = read_poses(written)
    assert len(calls) == 1 and [one.identity for one in again.tracks] == [0, 1]


def test_cancel_ends_the_linking_and_its_second_pass():
    interrupt_current_processing(True)
    with pytest.raises(InterruptProcessingException):
        read_poses(jumping(5))
    interrupt_current_processing(False)
    frames, calls = 12, []

    def stop_after_the_first_pass():
        calls.append(1)
        if len(calls) > frames:
            raise InterruptProcessingException

    with pytest.raises(InterruptProcessingException):
        from_keypoints(jumping(frames), stop_after_the_first_pass)


@pytest.mark.parametrize("identity", ["anna", "x" * 1_000_000, 1.5, True, None, [1], {}, 10**400, -(2**53) - 1])
def test_ids_that_are_no_numbers_count_for_nothing(identity):
    clip = from_keypoints([frame(person(50 + i, 50, id=identity), person(300 + i, 50, id=identity)) for i in range(6)])
    assert [(track.identity, track.present.all()) for track in clip.tracks] == [(0, True), (1, True)]


@pytest.mark.parametrize("ids", [None, "01", [0], [0, 0], [0, "1"], [0, 1, 2], {}])
def test_noted_ids_that_do_not_fit_count_for_nothing(ids):
    data = [frame(person(50 + i, 50), person(300 + i, 50)) for i in range(6)]
    data[3][NOTE] = {"dialect": DWPOSE, "ids": ids}
    assert [track.identity for track in from_keypoints(data).tracks] == [0, 1]


def test_people_without_keypoints_take_no_memory_and_leave_the_noted_ids_in_place():
    poses = [frame(*[{}, {"pose_keypoints_2d": []}, {"face_keypoints_2d": None}] * 80, person(100, 100))] * 40
    tracemalloc.start()
    clip = from_keypoints(poses)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(clip.tracks) == 1
    assert peak < 2e7
    poses = [{**frame({}, person(100, 100)), NOTE: {"dialect": DWPOSE, "ids": [3, 8]}}]
    assert [one.identity for one in from_keypoints(poses).tracks] == [8]
