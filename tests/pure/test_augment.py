"""The pose-negative jitters about the neck, also where nobody saw one."""

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.align import Request, align
from steadydancer_pack.dwpose.edit.augment import augment
from steadydancer_pack.dwpose.edit.lead_in import lead_in
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints
from steadydancer_pack.dwpose.poses import LEFT_SHOULDER, NECK, NOSE, RIGHT_SHOULDER, PoseClip
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

FACE_ALONE = range(1, 14)  # what a close-up of a face hides of the body


def foreign(clip):
    """Return the clip as other packs write it: what they did not find lies at 0, 0."""
    frames = []
    for number in range(clip.frames):
        people = []
        for track in clip.tracks:
            points = track.points[number, :18] * (clip.width, clip.height) * track.visible[number, :18, None]
            rows = np.column_stack([points, track.visible[number, :18]])
            people.append({"pose_keypoints_2d": rows.ravel().tolist()})
        frames.append({"people": people, "canvas_width": clip.width, "canvas_height": clip.height})
    return from_keypoints(frames)


def stray(one: PoseClip, other: PoseClip, joints) -> float:
    """Return how far the mean of the joints goes from one clip to the other, as fractions of the frame."""
    means = [c.tracks[0].points[:, list(joints)].mean(axis=1) for c in (one, other)]
    return float(np.linalg.norm(means[1] - means[0], axis=1).max())


@pytest.mark.parametrize(
    ("hidden", "joints"),
    [((NECK,), (LEFT_SHOULDER, RIGHT_SHOULDER)), (FACE_ALONE, (NOSE,)), ((0, 1, 2, 5, *range(14, 18)), (8, 11))],
)
def test_without_a_neck_the_jitter_is_about_what_stands_in_for_it(hidden, joints):
    dancing = foreign(clip(ADULT, dance(8), hidden=hidden))
    negative = augment(dancing, 0)
    assert stray(dancing, negative, joints) < 1e-9
    assert not np.allclose(dancing.tracks[0].points, negative.tracks[0].points)


def test_a_neck_that_hides_for_a_while_stays_the_center():
    whole, partly = clip(ADULT, dance(8)), clip(ADULT, dance(8))
    partly.tracks[0].scores[3:5, NECK] = 0
    hiding = foreign(partly)
    seen = [RIGHT_SHOULDER, 3, 8, 11]
    apart = augment(hiding, 0).tracks[0].points[:, seen] - augment(whole, 0).tracks[0].points[:, seen]
    assert np.abs(apart).max() < 0.01


def test_frames_of_a_lead_in_without_a_neck_stay_where_they_are():
    photo = clip(ADULT, [Stance()], Camera(576, 1024, (0.28, 0.55), 2.4), FACE_ALONE)
    aligned = align(photo, clip(ADULT, dance(8), hidden=FACE_ALONE), Request((576, 1024))).clip
    led = lead_in(aligned, photo, 8)
    assert stray(led, augment(led, 0), [NOSE]) < 1e-9
