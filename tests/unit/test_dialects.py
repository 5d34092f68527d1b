"""What is written for other packs: each dialect by hand-made values, read back, and drawn by ComfyUI's own SDPose."""

import json

import numpy as np
import pytest
from comfy_extras.nodes_sdpose import SDPoseDrawKeypoints

from steadydancer_pack.dwpose.dialects import DIALECTS, STRICT, write
from steadydancer_pack.dwpose.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import FACE, FEET, KEYPOINTS, LEFT_HAND, LEFT_WRIST, RIGHT_HAND, PoseClip, Track

WIDTH, HEIGHT = 200, 100
DWPOSE, OPENPOSE, SDPOSE, BODY_25 = [*DIALECTS][1:]
BODY_LIST, FACE_LIST = "pose_keypoints_2d", "face_keypoints_2d"
LEFT_LIST, RIGHT_LIST = "hand_left_keypoints_2d", "hand_right_keypoints_2d"


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


def test_strict_is_the_default(clip):
    assert write(clip) == write(clip, STRICT) == to_keypoints(clip)


def test_dwpose_has_null_for_what_is_absent_and_no_feet(clip):
    person = only_person(clip, DWPOSE)
    assert list(person) == [BODY_LIST, FACE_LIST, LEFT_LIST, RIGHT_LIST]
    assert person[BODY_LIST][24:30] == [8.0, 50.0, 1.0, 0.0, 0.0, 0.0]
    assert person[FACE_LIST][204:] == [14.0, 50.0, 1.0, 15.0, 50.0, 1.0]
    assert person[LEFT_LIST][:3] == [7.0, 50.0, 1.0] and person[RIGHT_LIST] is None


def test_dwpose_has_no_face_for_the_sake_of_the_eyes(clip):
    clip.tracks[0].scores[:, FACE] = 0
    assert only_person(clip, DWPOSE)[FACE_LIST] is None


def test_openpose_is_in_parts_of_the_canvas(clip):
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


def test_an_unknown_dialect_is_refused(clip):
    with pytest.raises(ValueError, match="no dialect 'kaiju'.*strict"):
        write(clip, "kaiju")


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
