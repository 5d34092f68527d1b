"""POSE_KEYPOINT read and written: exact round trips of our own form, and every way in which others write it."""

import copy
import json
import logging
import pickle
from dataclasses import replace
from functools import reduce
from itertools import product

import numpy as np
import pytest

from steadydancer_pack.dwpose.formats import keypoints
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import (
    BODY,
    FACE,
    FEET,
    KEYPOINTS,
    LEFT_EYE,
    LEFT_HAND,
    NECK,
    RIGHT_EYE,
    RIGHT_HAND,
    VISIBLE_SCORE,
    PoseClip,
    Track,
)

WIDTH, HEIGHT = 720, 1280
BODY_LIST, LEFT_LIST, RIGHT_LIST = "pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d"


def made_up_clip(frames=6, identities=(7, 3), seed=0):
    """Return people with seen, unsure and missing keypoints, also outside the picture; the first is away in frame 0."""
    rng = np.random.default_rng(seed)
    tracks = []
    for identity in identities:
        points, scores = rng.uniform(-0.2, 1.2, (frames, KEYPOINTS, 2)), rng.uniform(0, 1.2, (frames, KEYPOINTS))
        scores[rng.uniform(size=scores.shape) < 0.2] = 0
        scores[:, NECK] = 0.9
        tracks.append(Track(identity, points, scores))
    tracks[0].scores[0, BODY] = 0.1
    return PoseClip(WIDTH, HEIGHT, frames, tuple(tracks))


def body_list(confidence=1.0, joints=18, width=1.0, height=1.0):
    """Return a body whose joint i is at 100 + 10 i, 200 + 20 i."""
    return [v for i in range(joints) for v in ((100 + 10 * i) / width, (200 + 20 * i) / height, confidence)]


def hand_list(wrist, step=1.0):
    """Return a hand whose root is at `wrist`."""
    return [v for i in range(21) for v in (wrist[0] + step * i, wrist[1] + step * i, 1.0)]


def frame(*people, **keys):
    return {"people": list(people), "canvas_width": WIDTH, "canvas_height": HEIGHT, **keys}


def only_person(data):
    """Return the points in pixels and the scores of the one person in the first frame of `data`."""
    clip = from_keypoints(data)
    (track,) = clip.tracks
    return track.points[0] * (clip.width, clip.height), track.scores[0]


LEFT_WRIST_AT, RIGHT_WRIST_AT = (170, 340), (140, 280)  # joints 7 and 4 of body_list


def test_the_strict_form_is_always_whole_and_its_values_by_hand():
    frames = to_keypoints(made_up_clip())
    assert [len(one["people"]) for one in frames] == [1, 2, 2, 2, 2, 2]
    assert {(one["canvas_width"], one["canvas_height"]) for one in frames} == {(WIDTH, HEIGHT)}
    lengths = {BODY_LIST: 54, "foot_keypoints_2d": 18, "face_keypoints_2d": 210, LEFT_LIST: 63, RIGHT_LIST: 63}
    for person in (person for one in frames for person in one["people"]):
        assert {name: len(person[name]) for name in lengths} == lengths
        assert person.keys() - lengths == {"id", "scores", "body_raw_2d"}
        for name in lengths:
            assert {type(value) for value in person[name]} == {float}
            triples = np.reshape(person[name], (-1, 3))
            assert set(triples[:, 2]) <= {0.0, 1.0} and not triples[triples[:, 2] == 0].any()
        eyes = person[BODY_LIST][RIGHT_EYE * 3 : LEFT_EYE * 3 + 3]
        assert person["face_keypoints_2d"][204:] == eyes
    points, scores = np.full((1, KEYPOINTS, 2), 0.5), np.zeros((1, KEYPOINTS))
    scores[0, [0, 3, LEFT_HAND.start]] = VISIBLE_SCORE, 0.34, 2.0
    (one,) = to_keypoints(PoseClip(100, 50, 1, (Track(4, points, scores),)))
    (person,) = one["people"]
    assert person[BODY_LIST] == [50.0, 25.0, 1.0] + [0.0] * 51
    assert person[LEFT_LIST] == [50.0, 25.0, 1.0] + [0.0] * 60
    assert not any(person[RIGHT_LIST]) and person["body_raw_2d"] == [50.0, 25.0] * 18
    assert (person["id"], person["scores"]) == (4, scores[0].tolist())


def test_numbers_are_shared():
    """The poses of a long video take a third less memory."""
    clip = made_up_clip()
    clip.tracks[0].scores[:, FACE] = 0
    person = to_keypoints(clip)[0]["people"][0]
    assert len({id(value) for value in person["face_keypoints_2d"] if value in (0.0, 1.0)}) == 2
    assert len({id(value) for value in person["scores"] if value == 0}) == 1
    seen = [i for i, one in enumerate(person["pose_keypoints_2d"][2::3]) if one]
    body, raw = person["pose_keypoints_2d"], person["body_raw_2d"]
    assert seen and all(body[3 * i] is raw[2 * i] and body[3 * i + 1] is raw[2 * i + 1] for i in seen)


def test_our_own_form_comes_back_exactly_with_the_order_of_people_who_come_later():
    frames = to_keypoints(made_up_clip())
    assert to_keypoints(from_keypoints(frames)) == frames
    assert to_keypoints(from_keypoints(json.loads(json.dumps(frames)))) == frames
    frames = to_keypoints(made_up_clip(identities=(5, 9, 2)))
    assert [[p["id"] for p in one["people"]] for one in frames[:2]] == [[9, 2], [5, 9, 2]]
    assert to_keypoints(from_keypoints(frames)) == frames
    clip = made_up_clip()
    again = {track.identity: track for track in from_keypoints(to_keypoints(clip)).tracks}
    assert again.keys() == {7, 3}
    for track in clip.tracks:
        here, back = track.present, again[track.identity]
        kept = track.visible & here[:, None]
        kept[:, BODY] = here[:, None]
        assert np.array_equal(back.scores[here], track.scores[here]) and not back.scores[~here].any()
        assert np.abs(back.points - track.points)[kept].max() < 1e-9


def odd_clips():
    """Return clips with people far outside, who come late, who are never there, and whose hands alone are seen."""
    crowd = made_up_clip(identities=(7, 3, 12), seed=1)
    far = np.where(np.arange(KEYPOINTS)[:, None] % 7 == 0, 1e9, crowd.tracks[0].points)
    late, away = crowd.tracks[1], replace(crowd.tracks[2], scores=np.zeros_like(crowd.tracks[2].scores))
    late.scores[:3] = 0.1
    hands = replace(late, scores=np.where(np.arange(KEYPOINTS) < 92, 0.2, late.scores))
    yield from (made_up_clip(), crowd, crowd.with_tracks([replace(crowd.tracks[0], points=far), late]))
    yield from (crowd.with_tracks([away]), crowd.with_tracks([hands, crowd.tracks[0]]))


@pytest.mark.parametrize("clip", [*odd_clips()])
def test_what_we_wrote_is_read_without_parsing_to_the_same_bits(clip, monkeypatch):
    written = to_keypoints(clip)
    parsed = from_keypoints(list(written))
    monkeypatch.setattr(keypoints, "_read", None)
    read = from_keypoints(written)
    assert (read.width, read.height, read.frames) == (parsed.width, parsed.height, parsed.frames)
    assert [track.identity for track in read.tracks] == [track.identity for track in parsed.tracks]
    for one, other in zip(read.tracks, parsed.tracks, strict=True):
        assert one.points.tobytes() == other.points.tobytes() and one.scores.tobytes() == other.scores.tobytes()
        assert not one.points.flags.writeable and not one.scores.flags.writeable


CHANGES = {
    "a number": lambda frames: frames[2]["people"][0][BODY_LIST].__setitem__(0, 5.0),
    "a list": lambda frames: frames[2]["people"][0].update({LEFT_LIST: None}),
    "a person": lambda frames: frames[2]["people"].pop(),
    "a frame": lambda frames: frames.append(frame()),
    "their order": lambda frames: frames.reverse(),
    "the canvas": lambda frames: frames[0].update(canvas_width=10),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_changed_in_place_is_read_as_it_is_now(change):
    written = to_keypoints(made_up_clip())
    change(written)
    read, parsed = from_keypoints(written), from_keypoints(list(written))
    assert (read.width, read.frames) == (parsed.width, parsed.frames)
    for one, other in zip(read.tracks, parsed.tracks, strict=True):
        assert np.array_equal(one.points, other.points) and np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda poses: pickle.loads(pickle.dumps(poses))])
def test_a_copy_of_what_we_wrote_is_a_plain_list(copied):
    written = to_keypoints(made_up_clip())
    assert type(copied(written)) is list and copied(written) == written
    assert json.loads(json.dumps(written)) == written


def test_frames_without_people_and_one_frame_alone_in_nested_lists():
    clip = from_keypoints([frame(), frame(), {**frame(), "people": None}])
    assert (clip.frames, clip.tracks) == (3, ())
    assert to_keypoints(clip) == [frame()] * 3
    nested = np.reshape(body_list(), (-1, 3)).tolist()
    points, scores = only_person(frame({BODY_LIST: nested}))
    assert np.allclose(points[BODY], [[100 + 10 * i, 200 + 20 * i] for i in range(18)], atol=1e-9)
    assert scores[BODY].tolist() == [1.0] * 18 and not scores[18:].any()
    nested[3] = None
    assert only_person(frame({BODY_LIST: nested}))[1][3] == 0


def test_absent_parts_are_not_seen_and_hands_without_a_body_are():
    for absent in ({LEFT_LIST: None, "face_keypoints_2d": None}, {LEFT_LIST: []}, {}):
        _, scores = only_person(frame({BODY_LIST: body_list(), **absent}))
        assert scores[BODY].all() and not scores[18:].any()
    _, scores = only_person(frame({BODY_LIST: None, LEFT_LIST: hand_list(LEFT_WRIST_AT)}))
    assert scores[LEFT_HAND].all() and scores.sum() == 21


def test_normalized_list_by_list_also_partly_outside_the_picture():
    body = body_list(width=WIDTH, height=HEIGHT)
    mixed = {BODY_LIST: body, LEFT_LIST: hand_list(LEFT_WRIST_AT)}
    expected, _ = only_person(frame({BODY_LIST: body_list(), LEFT_LIST: hand_list(LEFT_WRIST_AT)}))
    assert np.allclose(only_person(frame(mixed))[0], expected)
    body[39:42] = 0.5, 1.2, 1.0
    assert np.allclose(only_person(frame({BODY_LIST: body}))[0][13], (360, 1536))


def test_a_whole_clip_has_one_unit_and_hands_follow_its_body():
    """Of a person far outside or small in a corner in some frames, and of a hand in a corner or below a close-up."""
    far = [value * (3 if i % 3 < 2 else 1) for i, value in enumerate(body_list(width=WIDTH, height=HEIGHT))]
    near = body_list(width=WIDTH, height=HEIGHT)
    clip = from_keypoints([frame({BODY_LIST: one}) for one in (near, near, far)])
    assert np.allclose(clip.tracks[-1].points[-1, BODY], np.reshape(far, (-1, 3))[:, :2])
    corner = [value / 100 if i % 3 < 2 else value for i, value in enumerate(body_list())]
    clip = from_keypoints([frame({BODY_LIST: one}) for one in (body_list(), body_list(), corner)])
    assert np.abs(clip.tracks[-1].points[-1, BODY]).max() < 0.01
    corner, hand = [[x / 100, x / 100, 1.0] for x in range(1, 22)], hand_list(LEFT_WRIST_AT)
    data = [frame({BODY_LIST: body_list(), LEFT_LIST: one}) for one in (hand, hand, corner)]
    (track,) = from_keypoints(data).tracks
    assert track.points[2, LEFT_HAND].max() < 0.001
    body, low = body_list(width=WIDTH, height=HEIGHT), [0.5, 3.5, 1.0] * 21
    (track,) = from_keypoints(frame({BODY_LIST: body, LEFT_LIST: low})).tracks
    assert np.allclose(track.points[0, LEFT_HAND], (0.5, 3.5))


@pytest.mark.parametrize(("median", "said"), [(1.9, None), (3.0, "fractions"), (5.0, "pixels"), (8.1, None)])
def test_a_tie_of_units_is_said(median, said, caplog):
    body = [median, 0.5, 1.0] * 18
    with caplog.at_level(logging.WARNING):
        points, _ = only_person(frame({BODY_LIST: body}))
    assert np.allclose(points[0], (median, 0.5) if median > 4 else (median * WIDTH, HEIGHT / 2))
    assert (said is None) == (not caplog.text) and f"read as {said}" in caplog.text + "read as None"


def test_who_joins_people_in_the_strict_form_is_in_pixels():
    data = to_keypoints(made_up_clip(frames=2))
    data[1]["people"].append({BODY_LIST: [1.5, 1.0, 1.0] * 18})
    clip = from_keypoints(data)
    assert any(np.allclose(track.points[1, 0] * (WIDTH, HEIGHT), (1.5, 1.0)) for track in clip.tracks)


def test_zeros_corners_and_tiny_canvases_are_not_taken_for_normalized():
    corner = [0.5, 0.8, 1.0] + [0.0] * 60
    points, scores = only_person(frame({BODY_LIST: body_list(), LEFT_LIST: corner, RIGHT_LIST: [0.0] * 63}))
    assert np.allclose(points[LEFT_HAND.start], (0.5, 0.8)) and scores[LEFT_HAND].sum() == 1
    assert not scores[RIGHT_HAND].any()
    tiny = {"canvas_width": 2, "canvas_height": 2}
    assert np.allclose(only_person(frame({BODY_LIST: [1.0, 2.0, 1.0] * 18}, **tiny))[0][0], (1, 2))


def test_real_confidences_and_negative_coordinates_are_kept():
    body = body_list()
    body[2::3] = [0.29, 0.3, 0.34, 0.9, 0.0, *[1.5] * 13]
    points, scores = only_person(frame({BODY_LIST: body}))
    assert scores[:6].tolist() == [0.29, VISIBLE_SCORE, VISIBLE_SCORE, 0.9, 0.0, 1.5]
    assert np.allclose(points[0], (100, 200))  # unsure, but kept
    body[9:11] = -30.0, 40.0
    points, scores = only_person(frame({BODY_LIST: body}))
    assert np.allclose(points[3], (-30, 40)) and scores[3] == 0.9


@pytest.mark.parametrize("missing", [(-1.0, -1.0), (0.0, 0.0)])
def test_missing_keypoints_whatever_their_confidence(missing):
    body = body_list()
    body[9:11] = missing
    points, scores = only_person(frame({BODY_LIST: body}))
    assert scores[3] == 0 and points[3].tolist() == [0, 0]
    hand = [-1 / WIDTH, -1 / HEIGHT, 1.0] * 20 + [0.5, 0.5, 1.0]  # as controlnet_aux's OpenPose writes it
    _, scores = only_person(frame({BODY_LIST: body_list(width=WIDTH, height=HEIGHT), LEFT_LIST: hand}))
    assert scores[LEFT_HAND].tolist() == [0.0] * 20 + [1.0]


def test_faces_of_every_length(caplog):
    face = [v for i in range(71) for v in (100.0 + i, 50.0, 1.0)]
    for count in (68, 70, 71):
        points, scores = only_person(frame({BODY_LIST: body_list(), "face_keypoints_2d": face[: count * 3]}))
        assert scores[FACE].all() and np.allclose(points[91], (167, 50))
    with caplog.at_level(logging.WARNING):
        assert not only_person(frame({BODY_LIST: body_list(), "face_keypoints_2d": face[:90]}))[1][FACE].any()
    assert "68 keypoints" in caplog.text


def test_bodies_of_25_and_24_have_feet_and_no_mid_hip_and_one_of_coco_gets_its_neck():
    points, scores = only_person(frame({BODY_LIST: body_list(joints=25), "face_keypoints_2d": [], "person_id": [-1]}))
    from_25 = [*range(8), *range(9, 25)]
    assert np.allclose(points[:24, 0], [100 + 10 * i for i in from_25]) and scores[:24].all()
    assert np.allclose(only_person(frame({BODY_LIST: body_list(joints=24)}))[0][FEET, 0], np.arange(280, 340, 10))
    body = body_list(joints=17)
    points, scores = only_person(frame({BODY_LIST: body}))
    assert np.allclose(points[NECK], (155, 310)) and scores[BODY].all()
    assert np.allclose(points[[0, 2, 4, 7, 10, 14], 0], [100, 160, 200, 190, 260, 120])
    body[5 * 3 + 2] = 0.2
    assert only_person(frame({BODY_LIST: body}))[1][NECK] == 0


def test_hands_under_each_others_name_are_put_right_unless_they_only_touch_the_other_wrist():
    left, right = hand_list(LEFT_WRIST_AT), hand_list(RIGHT_WRIST_AT, step=2.0)
    crossed, named = ({BODY_LIST: body_list(), LEFT_LIST: a, RIGHT_LIST: b} for a, b in ((right, left), (left, right)))
    assert np.allclose(only_person(frame(crossed))[0], only_person(frame(named))[0])
    apart = {BODY_LIST: body_list(), LEFT_LIST: hand_list(LEFT_WRIST_AT), RIGHT_LIST: hand_list(RIGHT_WRIST_AT)}
    touching = {**apart, LEFT_LIST: hand_list(RIGHT_WRIST_AT)}
    clip = from_keypoints([frame(apart), frame(apart), frame(touching)])
    root = clip.tracks[0].points[:, LEFT_HAND.start] * (WIDTH, HEIGHT)
    assert np.allclose(root, [LEFT_WRIST_AT, LEFT_WRIST_AT, RIGHT_WRIST_AT])


def test_another_canvas_is_brought_to_the_first_and_none_takes_that_of_another():
    small = {"canvas_width": WIDTH // 2, "canvas_height": HEIGHT // 2}
    clip = from_keypoints([frame({BODY_LIST: body_list()}), frame({BODY_LIST: body_list(width=2, height=2)}, **small)])
    assert (clip.width, clip.height) == (WIDTH, HEIGHT) and len(clip.tracks) == 1
    assert np.allclose(clip.tracks[0].points[0], clip.tracks[0].points[1])
    clip = from_keypoints([{"people": [{BODY_LIST: body_list()}]}, frame()])
    assert np.allclose(clip.tracks[0].points[0, 0] * (WIDTH, HEIGHT), (100, 200))


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), 1e30, None])
def test_what_is_no_number_is_not_seen(broken, caplog):
    body = body_list()
    body[6] = broken
    with caplog.at_level(logging.WARNING):
        points, scores = only_person(frame({BODY_LIST: body}))
    assert scores[2] == 0 and np.isfinite(points).all() and "1 keypoints" in caplog.text


def test_an_editors_changes_win_over_the_extra_keys():
    track = made_up_clip(frames=1).tracks[1]
    track.scores[0, :6] = 0.8, 0.8, 0.8, 0.8, 0.1, 0.1
    (person,) = to_keypoints(PoseClip(WIDTH, HEIGHT, 1, (track,)))[0]["people"]
    body = person[BODY_LIST]
    body[6:8] = 300.0, 400.0  # moved
    body[9:12] = 0.0, 0.0, 0.0  # deleted
    body[12:15] = 500.0, 600.0, 1.0  # added
    points, scores = only_person(frame(person))
    assert scores[:6].tolist() == [0.8, 0.8, 1.0, 0.0, 1.0, 0.1]
    assert np.allclose(points[[2, 4]], [(300, 400), (500, 600)])
    assert np.allclose(points[5], track.points[0, 5] * (WIDTH, HEIGHT))


def test_extra_keys_that_are_stale_huge_or_of_other_meaning_are_ignored():
    (person,) = to_keypoints(made_up_clip(frames=1))[0]["people"]
    seen = np.reshape(person[BODY_LIST], (-1, 3))[:, 2] > 0
    scaled = [v if i % 3 == 2 else v / 2 for i, v in enumerate(person[BODY_LIST])]
    _, scores = only_person(frame({**person, BODY_LIST: scaled}))
    assert scores[BODY].tolist() == seen.astype(float).tolist()
    strange = {BODY_LIST: body_list(), "id": "anna", "scores": [0.5], "body_raw_2d": "none"}
    assert only_person(frame(strange))[1][BODY].tolist() == [1.0] * 18
    (person,) = to_keypoints(PoseClip(WIDTH, HEIGHT, 1, made_up_clip(frames=1).tracks[1:]))[0]["people"]
    for huge, key in product((1e300, float("inf"), float("nan"), 10**400), ("scores", "body_raw_2d")):
        points, scores = only_person(frame({**person, key: [huge, *person[key][1:]]}))
        assert np.abs(points).max() < 1e4 and set(scores.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("identity", [{}, {"id": 0}])
def test_people_without_ids_of_their_own_are_followed(identity):
    far = [v + (300 if i % 3 == 0 else 0) for i, v in enumerate(body_list())]
    frames = [frame(*[{BODY_LIST: body, **identity} for body in (body_list(), far)][:: (-1) ** i]) for i in range(8)]
    clip = from_keypoints(frames)
    assert len(clip.tracks) == 2 and all(track.present.all() for track in clip.tracks)
    assert {round(float(track.points[f, 0, 0]) * WIDTH) for track in clip.tracks for f in range(8)} == {100, 400}
    assert all(np.ptp(track.points[:, 0, 0]) < 1e-9 for track in clip.tracks)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((2, 4, 4, 3)), r"found a tensor of shape \(2, 4, 4, 3\)"),
        ("pose", "found a value of type str"),
        (None, "found a value of type NoneType"),
        ([1, "a"], "found a list of int and str"),
        ([], "no frame"),
        ({"pose_metas": [], "retarget_image": 1}, "the keys pose_metas, retarget_image"),
        ([{}], "no keys"),
        ([{"people": ["anna"], "canvas_width": 1}], "frame 0 with people that are a list of str"),
        ([{"canvas_width": 1, "canvas_height": 1}], "the keys canvas_width, canvas_height"),
        ([{"version": "ap10k", "animals": []}], "animals"),
        ([{"people": []}], "do not state the size"),
        ([frame(canvas_width=0)], "do not state the size"),
        ([frame(canvas_width="wide")], "do not state the size"),
        ([frame(canvas_width=10**400)], "do not state the size"),
        ([frame(canvas_width=1 << 17)], "do not state the size.*not in 1 to 65536"),
        ([frame(canvas_width=float("inf"))], "do not state the size"),
        ([frame({BODY_LIST: "1.0" * 400_000})], "something other than x, y, c"),
        ([frame({BODY_LIST: [0.5] * 999_999})], "pose_keypoints_2d holds 333333 keypoints"),
        ([frame({LEFT_LIST: [[0.5, 0.5, 1.0]] * 100_000})], "hand_left_keypoints_2d holds 100000 keypoints"),
        ([frame({BODY_LIST: {"x": 1}})], "something other than x, y, c"),
        ([frame({BODY_LIST: [[[[1.0, 2.0, 3.0]]]]})], "x, y, c of each keypoint are needed"),
        ([frame({BODY_LIST: [body_list(), [1.0]]})], "something other than x, y, c"),
        ([frame({BODY_LIST: body_list(joints=16)})], "pose_keypoints_2d holds 16 keypoints; 18 or 24"),
        ([frame({LEFT_LIST: hand_list((0, 0))[:30]})], "hand_left_keypoints_2d holds 10 keypoints"),
        ([frame({BODY_LIST: [1.0, 2.0]})], "x, y, c of each keypoint are needed"),
        ([frame({BODY_LIST: [[1.0, 2.0]] * 18})], "x, y, c of each keypoint are needed"),
        ([frame({BODY_LIST: ["a"] * 54})], "something other than x, y, c"),
        ([frame({BODY_LIST: [10**400] * 54})], "something other than x, y, c"),
        (frame({BODY_LIST: reduce(lambda inner, _: [inner], range(2000), 1.0)}), "x, y, c"),
    ],
)
def test_what_is_no_pose_is_refused_in_words(data, message):
    with pytest.raises(ValueError, match=message):
        from_keypoints(data)
