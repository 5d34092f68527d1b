"""What is written for other packs: each dialect by hand-made values, read back, and drawn by ComfyUI's own SDPose."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from comfy_extras.nodes_sdpose import SDPoseDrawKeypoints

from steadydancer_pack.dwpose.formats.dialects import DIALECTS, NOTE, STRICT, write
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import FACE, FEET, KEYPOINTS, LEFT_HAND, LEFT_WRIST, RIGHT_HAND, PoseClip, Track
from steadydancer_pack.nodes.common.pose_input import read_poses
from steadydancer_pack.nodes.pose_align import CORRECTED, AlignPoses

WIDTH, HEIGHT = 200, 100
DWPOSE, OPENPOSE, SDPOSE, BODY_25 = [*DIALECTS][1:]
BODY_LIST, FACE_LIST = "pose_keypoints_2d", "face_keypoints_2d"
LEFT_LIST, RIGHT_LIST = "hand_left_keypoints_2d", "hand_right_keypoints_2d"
STANDING_X = 50, 50, 42, 38, 36, 58, 62, 64, 45, 44, 44, 55, 56, 56, 48, 52, 46, 54  # percent of the frame
STANDING_Y = 15, 25, 25, 38, 50, 25, 38, 50, 50, 70, 90, 50, 70, 90, 13, 13, 14, 14
STANDING = np.stack([STANDING_X, STANDING_Y], axis=1) / 100


@pytest.fixture
def clip():
    """Return one person: keypoint k at pixel k, 50, the left hand from its wrist on; no right hand, an unsure knee."""
    points = np.stack([np.arange(KEYPOINTS) / WIDTH, np.full(KEYPOINTS, 0.5)], axis=1)[None]
    points[0, LEFT_HAND, 0] -= (LEFT_HAND.start - LEFT_WRIST) / WIDTH
    scores = np.full((1, KEYPOINTS), 0.75)
    scores[0, RIGHT_HAND], scores[0, 9] = 0, 0.25
    return PoseClip(WIDTH, HEIGHT, 1, (Track(0, points, scores),))


def only_person(clip, dialect):
    (frame,) = write(clip, dialect)
    assert json.loads(json.dumps(frame)) == frame
    assert (frame["canvas_width"], frame["canvas_height"]) == (WIDTH, HEIGHT)
    (person,) = frame["people"]
    return person


def test_strict_is_the_default_and_an_unknown_dialect_is_refused(clip):
    assert write(clip) == write(clip, STRICT) == to_keypoints(clip)
    with pytest.raises(ValueError, match="no dialect 'kaiju'.*strict"):
        write(clip, "kaiju")


def test_dwpose_has_null_for_what_is_absent_no_feet_and_no_face_for_the_sake_of_the_eyes(clip):
    person = only_person(clip, DWPOSE)
    assert list(person) == [BODY_LIST, FACE_LIST, LEFT_LIST, RIGHT_LIST]
    assert person[BODY_LIST][24:30] == [8.0, 50.0, 1.0, 0.0, 0.0, 0.0]
    assert person[FACE_LIST][204:] == [14.0, 50.0, 1.0, 15.0, 50.0, 1.0]
    assert person[LEFT_LIST][:3] == [7.0, 50.0, 1.0] and person[RIGHT_LIST] is None
    clip.tracks[0].scores[:, FACE] = 0
    assert only_person(clip, DWPOSE)[FACE_LIST] is None


def test_openpose_is_in_fractions_of_the_canvas(clip):
    person = only_person(clip, OPENPOSE)
    assert person[BODY_LIST][24:27] == [0.04, 0.5, 1.0] and person[RIGHT_LIST] is None


def test_sdpose_has_confidences_and_the_hands_crossed(clip):
    person = only_person(clip, SDPOSE)
    assert person[BODY_LIST][24:30] == [8.0, 50.0, 0.75, 9.0, 50.0, 0.25]
    assert person[RIGHT_LIST][:3] == [7.0, 50.0, 0.75] and person[LEFT_LIST] == [-1.0, -1.0, 0.0] * 21
    assert len(person["foot_keypoints_2d"]) == 18 and len(person[FACE_LIST]) == 210


def test_body_25_has_the_mid_hip_and_the_feet(clip):
    person = only_person(clip, BODY_25)
    assert write(clip, BODY_25)[0]["version"] == 1.3
    assert np.reshape(person[BODY_LIST], (25, 3))[:, 0].tolist() == [*range(8), 9.5, *range(8, 24)]
    assert "foot_keypoints_2d" not in person and person[RIGHT_LIST] == [0.0] * 63


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_read_back(clip, dialect):
    (track,) = from_keypoints(write(clip, dialect)).tracks
    expected = clip.tracks[0]
    seen = expected.visible
    seen[:, FEET] &= dialect not in (DWPOSE, OPENPOSE)
    assert np.array_equal(track.visible, seen)
    assert np.allclose(track.points[seen], expected.points[seen])


@pytest.mark.parametrize("dialect", [STRICT, SDPOSE])
def test_comfyui_draws_it(clip, dialect):
    spread = np.random.default_rng(0).uniform(0.1, 0.9, clip.tracks[0].points.shape)
    people = Track(0, spread, clip.tracks[0].scores), Track(1, spread * 0.5, clip.tracks[0].scores)
    frames = [*write(clip.with_tracks(people), dialect), *write(clip.with_tracks(()), dialect)]
    options = {"draw_body": True, "draw_hands": True, "draw_face": True, "draw_feet": True, "draw_head": True}
    node = SDPoseDrawKeypoints.execute(frames, **options, stick_width=4, face_point_size=3, score_threshold=0.3)
    images = node.result[0]
    assert tuple(images.shape) == (2, HEIGHT, WIDTH, 3)
    assert images[0].any() and not images[1].any()


def odd_clips():
    """Return clips that are hard to read back without knowing how they were written."""
    rng = np.random.default_rng(0)
    shape, whole, sizes = rng.random((3, KEYPOINTS, 2)), np.full((3, KEYPOINTS), 0.9), ((512, 768), (1, 1), (15, 9))
    joint, no_wrists, corners, unsure = whole * 0, whole.copy(), shape.copy(), whole.copy()
    joint[:, 9] = 0.9
    no_wrists[:, [4, LEFT_WRIST]] = 0
    corners[:, 3], corners[:, 5] = 0, (-1 / 512, -1 / 768)
    unsure[:, 2:7], unsure[:, 20] = 0.32, 0.34
    absent = whole.copy()
    absent[1] = 0
    people = {
        "close-up": [(shape * 4 - (1, 0), whole)],
        "far outside": [(shape + 60, whole)],
        "tiny": [(shape * 1e-5 + 0.2, whole)],
        "one joint": [(shape, joint)],
        "unseen wrists": [(shape, no_wrists)],
        "corners": [(corners, whole)],
        "unsure": [(shape, unsure)],
        "three scales": [(shape, whole), (shape * 0.001, whole), (shape * 5 - 9, absent)],
        "an empty frame": [(shape, absent)],
        "nobody": [],
    }
    clips = {name: [Track(2 * i + 5, *one) for i, one in enumerate(rows)] for name, rows in people.items()}
    return [
        pytest.param(PoseClip(*size, 3, tuple(tracks)), id=f"{name} {size}")
        for name, tracks in clips.items()
        for size in sizes
    ]


@pytest.mark.parametrize("odd", odd_clips())
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_we_wrote_is_read_back_whatever_it_is(odd, dialect):
    back = {track.identity: track for track in from_keypoints(json.loads(json.dumps(write(odd, dialect)))).tracks}
    assert [*back] == [track.identity for track in odd.tracks]
    for track in odd.tracks:
        seen = track.visible & track.present[:, None]
        seen[:, FEET] &= dialect not in (DWPOSE, OPENPOSE)
        assert np.array_equal(back[track.identity].visible, seen)
        assert np.abs(back[track.identity].points - track.points)[seen].max() < 1e-6


def test_the_note_names_the_dialect_and_who_is_who(clip):
    clip = clip.with_tracks([replace(clip.tracks[0], identity=identity) for identity in (8, 3)])
    assert all(frame[NOTE] == {"dialect": SDPOSE, "ids": [8, 3]} for frame in write(clip, SDPOSE))
    assert NOTE not in write(clip)[0]


def test_points_beyond_what_is_a_keypoint_are_cut_there_in_every_dialect():
    points, scores = np.zeros((1, KEYPOINTS, 2)), np.ones((1, KEYPOINTS))
    points[0, :3] = [(1e308, 0.5), (0.5, -1e308), (0.5, 0.5)]
    for dialect in DIALECTS:
        with np.errstate(all="raise"):
            (track,) = from_keypoints(write(PoseClip(WIDTH, HEIGHT, 1, (Track(0, points, scores),)), dialect)).tracks
        assert np.allclose(track.points[0, :3], [(1e6 / WIDTH, 0.5), (0.5, -1e6 / HEIGHT), (0.5, 0.5)])


def test_one_joint_far_outside_changes_no_unit():
    """An ankle at 2.3 frame heights in fractions of another pack: that frame once counted as pixels."""
    frames = write(from_keypoints(standing() * 3), OPENPOSE)
    for frame in frames:
        del frame[NOTE]
    frames[1]["people"][0][BODY_LIST][30:32] = 0.44, 2.3
    (track,) = from_keypoints(frames).tracks
    assert np.allclose(track.points[:, 10], [(0.44, 0.9), (0.44, 2.3), (0.44, 0.9)])
    others = [*range(10), *range(11, 18)]
    assert np.allclose(track.points[:, others], STANDING[others])


def test_a_close_up_goes_through_the_nodes():
    """Photo of a bust, dance of a whole body: the legs end three frames below. They once lay in the corner."""
    photo, dance = standing(scale=3.5, shift=(-1.25, -0.1)), standing()
    image = torch.zeros(1, 512, 512, 3)
    keep = dict.fromkeys((f"{part}_{axis}" for part in CORRECTED for axis in "xy"), 0.0)
    keep |= {f"{part}_scale": 1.0 for part in CORRECTED}
    aligned = AlignPoses.execute(dance, image, photo, "robust", 0, **keep).result[0]
    written = write(read_poses(aligned), OPENPOSE)
    (expected,), (found,) = from_keypoints(aligned).tracks, from_keypoints(written).tracks
    assert expected.points[0, :18, 1].max() > 2.5
    assert np.abs(expected.points - found.points)[expected.visible].max() < 1e-6


def standing(scale=1.0, shift=(0.0, 0.0)):
    """Return one frame of somebody who stands upright, on 512x512."""
    points, scores = np.zeros((1, KEYPOINTS, 2)), np.zeros((1, KEYPOINTS))
    points[0, :18] = STANDING * scale + shift
    scores[0, :18] = 0.9
    return write(PoseClip(512, 512, 1, (Track(0, points, scores),)))
