"""Alignment, augmentation and drawing against the numbers of the official implementation."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from steadydancer_pack.dwpose.draw import draw_person
from steadydancer_pack.dwpose.edit.align_official import align_official, ratios_at, scale_limbs_officially
from steadydancer_pack.dwpose.edit.augment import augment
from steadydancer_pack.dwpose.poses import BODY, FACE, LEFT_HAND, RIGHT_HAND, PoseClip, Track
from steadydancer_pack.dwpose.skeleton import CHAIN
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

CASES = json.loads((Path(__file__).parents[1] / "golden" / "pose_cases.json").read_text("utf-8"))


def track(poses):
    """Return official poses as a track; whatever upstream marks with -1 has score 0."""
    points, scores = np.full((len(poses), 134, 2), -1.0), np.zeros((len(poses), 134))
    for frame, pose in enumerate(poses):
        points[frame, BODY], scores[frame, BODY] = pose["body"], np.array(pose["subset"][0]) >= 0
        for part, values in ((LEFT_HAND, pose["hands"][0]), (RIGHT_HAND, pose["hands"][1]), (FACE, pose["faces"][0])):
            points[frame, part], scores[frame, part] = values, (np.array(values) != -1).all(axis=1)
    return Track(1, points, scores)


def official(track, frame):
    points = track.points[frame]
    hands = np.stack([points[LEFT_HAND], points[RIGHT_HAND]])
    return {"body": points[BODY], "hands": hands, "faces": points[None, FACE]}


def aligned(case):
    (height, width), (draw_height, draw_width) = case["video_size_hw"], case["draw_size_hw"]
    return align_official(
        track(case["driving_poses"]), track([case["reference_pose"]]), (draw_width / draw_height, width / height)
    )


def worst(track, poses):
    return max(
        np.abs(official(track, frame)[part] - np.array(pose[part])).max()
        for frame, pose in enumerate(poses)
        for part in ("body", "hands", "faces")
    )


def digests(track, size):
    for frame in range(len(track.points)):
        canvas = np.zeros((*size, 3), np.uint8)
        draw_person(canvas, track, frame)
        yield hashlib.sha256(canvas.tobytes()).hexdigest()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_alignment_equals_the_official_one(case):
    assert worst(aligned(case), case["aligned_poses"]) <= 1e-6


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_drawn_frame_equals_the_official_one(case):
    assert list(digests(aligned(case), case["draw_size_hw"])) == case["drawn_sha256"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_augmentation_equals_the_official_one(case):
    clip = PoseClip(1, 1, len(case["driving_poses"]), (aligned(case),))
    (negative,) = augment(clip, 1234).tracks
    assert worst(negative, case["augmented_poses_seed1234"]) <= 1e-6
    assert list(digests(negative, case["draw_size_hw"])) == case["augmented_drawn_sha256"]


def scaled_by_opencv(points, ratios):
    """Return points [F, 134, 2] scaled by the matrices that the official code makes."""
    scaled = points.copy()
    for old, new in zip(points, scaled, strict=True):
        for children, parent, part in CHAIN:
            matrix = cv2.getRotationMatrix2D(tuple(map(float, new[parent])), 0, ratios[part])
            new[children] = (old[children] - old[parent] + new[parent]) @ matrix[:, :2].T + matrix[:, 2]
    return scaled


def test_limbs_scale_about_float32_joints():
    small = clip(ADULT, dance(60), Camera(neck=(0.25, 0.3), size=0.03)).tracks[0]
    photo = clip(ADULT, [Stance()], Camera(neck=(0.3, 0.2), size=0.6)).tracks[0]
    ratios = ratios_at(photo, small, (1, 1), 0)
    assert ratios["torso"] == pytest.approx(20)
    wanted = scaled_by_opencv(small.points, ratios)
    found = scale_limbs_officially(small.points, ratios)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
    size = 1152, 2016
    assert np.array_equal((found[:, BODY] * size).astype(int), (wanted[:, BODY] * size).astype(int))


def test_an_infinite_scale_loses_the_limb_in_every_frame():
    points = clip(ADULT, dance(3), Camera(neck=(0.25, 0.3), size=0.3)).tracks[0].points
    ratios = dict.fromkeys((link.part for link in CHAIN), 1.0) | {"lower_arm": np.inf}
    with np.errstate(invalid="ignore"):
        wanted = scaled_by_opencv(points, ratios)
    found = scale_limbs_officially(points, ratios)
    assert np.isnan(wanted[:, [4, 7]]).all() and np.isnan(found[:, [4, 7]]).all()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)
