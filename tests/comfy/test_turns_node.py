"""The node Turns: the poses themselves where nothing is treated, the sentence, and the strip in the node."""

import numpy as np
import pytest

from steadydancer_pack.benchmarks.turns import turned_clip
from steadydancer_pack.dwpose.edit.facing import AWAY, describe_facing
from steadydancer_pack.dwpose.edit.turns import HIDE, KEEP, LIMIT
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import NOSE
from steadydancer_pack.nodes import pose_turns
from steadydancer_pack.steadydancer_core.sampling.frame_prompts import parse_frames


@pytest.fixture(scope="module")
def turning():
    clips = (turned_clip(seed) for seed in range(100))
    return next(clip for clip in clips if clip.yaw[0] < 40 and (clip.yaw > 130).sum() > 5)


@pytest.fixture
def shown(monkeypatch):
    """The pictures that the node shows."""
    pictures = []

    def note(node, picture, text, shown):
        pictures.append(picture)
        return {"text": (text,)}

    monkeypatch.setattr(pose_turns, "show_picture_and_text", note)
    return pictures


def test_keep_hands_on_the_very_poses_and_tells(turning, shown):
    poses = to_keypoints(turning.poses)
    output = pose_turns.Turns.execute(poses, KEEP, 67.0)
    result, report, frames = output.args
    assert result is poses and report == describe_facing(turning.poses)
    assert report == f"Person 1: frames {frames.replace('-', ' to ')} turn away: expect a wrong face."
    ranges = parse_frames(frames)
    told = np.isin(np.arange(len(turning.yaw)), [i for first, stop in ranges for i in range(first, stop)])
    assert told[turning.yaw > AWAY + 30].all() and not told[turning.yaw < AWAY - 30].any()
    assert "turn away: expect a wrong face" in report and output.ui == {"text": (report,)}
    assert shown[0].shape[1] == 640


def test_a_treatment_changes_what_is_handed_on_and_not_the_report(turning, shown):
    poses = to_keypoints(turning.poses)
    result, report, _ = pose_turns.Turns.execute(poses, HIDE, 67.0).args
    away = turning.yaw > AWAY + 30
    assert from_keypoints(result).tracks[0].scores[away, NOSE].max() == 0
    assert report == describe_facing(turning.poses)


def test_an_angle_out_of_range_is_refused(turning):
    with pytest.raises(ValueError, match="for 'limit yaw' it must be between 0 and 89 degrees"):
        pose_turns.Turns.execute(to_keypoints(turning.poses), LIMIT, 120.0)
