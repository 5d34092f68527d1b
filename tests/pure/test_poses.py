"""The data that every stage shares."""

import numpy as np

from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track


def test_a_clip_of_some_of_its_frames():
    points = np.arange(4.0)[:, None, None] + np.zeros((4, KEYPOINTS, 2))
    clip = PoseClip(20, 10, 4, (Track(2, points, points[..., 0]),))
    for frames, left in ((slice(1, None), [1, 2, 3]), (np.array([0, 0, 3]), [0, 0, 3]), (slice(4, None), [])):
        part = clip.at(frames)
        assert (part.width, part.height, part.frames) == (20, 10, len(left))
        assert part.tracks[0].identity == 2
        assert part.tracks[0].points[:, 5, 1].tolist() == part.tracks[0].scores[:, 7].tolist() == left


def test_people_are_those_who_are_seen_and_count_from_1():
    assert PoseClip(20, 10, 4).at(slice(0, 2)).frames == 2
    assert PoseClip(20, 10, 4).present.tolist() == [False] * 4
    points, scores = np.zeros((2, KEYPOINTS, 2)), np.zeros((2, KEYPOINTS))
    seen = scores.copy()
    seen[1, 4] = 1
    clip = PoseClip(20, 10, 2, (Track(0, points, scores), Track(1, points, seen)))
    assert clip.people == [clip.tracks[1]]
    assert clip.present.tolist() == [False, True]
    assert Track(0, np.zeros((1, KEYPOINTS, 2)), np.zeros((1, KEYPOINTS))).number == 1
