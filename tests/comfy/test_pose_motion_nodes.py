"""The nodes around a dance's time: what they hand on, and that the sound stays with the dance."""

import numpy as np
import pytest
import torch

from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import BODY, KEYPOINTS, LEFT_WRIST, NECK, PoseClip, Track
from steadydancer_pack.nodes.pose_motion import BestStart, LeadIn, RefinePoses, TrimLeadIn, start_text

RATE, FPS = 800, 16.0
X = 0, 0, -3, -4, -4, 3, 4, 4, -2, -2, -2, 2, 2, 2, -1, 1, -2, 2  # somebody who stands upright
Y = -4, 0, 0, 4, 8, 0, 4, 8, 9, 16, 22, 9, 16, 22, -5, -5, -4, -4


def dance(lifts, x=250.0, scores=0.9):
    """Return POSE_KEYPOINT of a person whose left wrist is some pixels to the side in each frame, 500x500."""
    points, score = np.zeros((len(lifts), KEYPOINTS, 2)), np.zeros((len(lifts), KEYPOINTS))
    points[:, BODY] = (np.array((x, 150)) + np.stack([X, Y], axis=1) * 10) / 500
    points[:, LEFT_WRIST, 0] += np.array(lifts) / 500
    score[:, BODY] = scores
    return to_keypoints(PoseClip(500, 500, len(lifts), (Track(0, points, score),)))


def sound(seconds):
    samples = round(seconds * RATE)
    return {"waveform": torch.arange(1, samples + 1).float().expand(1, 2, -1), "sample_rate": RATE}


def frames(count):
    return torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 4, 4, 3)


def test_refine_switched_off_hands_on_the_very_poses():
    poses = dance([0, 5, 0, 5])
    result, report = RefinePoses.execute(poses, repair_swaps=False, gap_frames=0, smoothing=0.0).args
    assert result is poses
    assert report.startswith("Person 1")


def test_refine_fills_and_tells():
    poses = dance([0] * 9)
    poses[4]["people"] = []
    output = RefinePoses.execute(poses, repair_swaps=True, gap_frames=1, smoothing=0.5)
    result, report = output.args
    assert from_keypoints(result).present.all()
    assert result[4]["people"][0]["pose_keypoints_2d"] == pytest.approx(poses[0]["people"][0]["pose_keypoints_2d"])
    assert "body: 18 gaps filled (18 points)" in report
    assert output.ui.as_dict()["text"] == (report,)


def test_lead_in_goes_from_the_photo_to_the_dance():
    poses, photo = dance([0, 10, 20]), dance([40], x=200)
    result, count = LeadIn.execute(poses, photo, frames=4).args
    assert count == 4 and len(result) == 7
    assert result[0]["people"][0]["pose_keypoints_2d"] == photo[0]["people"][0]["pose_keypoints_2d"]
    assert result[4:] == poses
    necks = from_keypoints(result).tracks[0].points[:5, NECK, 0] * 500
    assert necks == pytest.approx([200, 207.8125, 225, 242.1875, 250])


def test_lead_in_by_itself_takes_whole_steps_of_4_and_none_hands_on_the_very_poses():
    result, count = LeadIn.execute(dance([0, 10, 20]), dance([40]), frames=-1).args
    assert count > 0 and count % 4 == 0 and len(result) == count + 3
    poses = dance([0, 10])
    assert LeadIn.execute(poses, dance([0]), frames=0).args == (poses, 0)


def test_trim_drops_the_lead_in_if_shorter_than_the_video_and_leaves_the_sound():
    audio = sound(1)
    images, out, _ = TrimLeadIn.execute(frames(9), 4, "trim", FPS, audio).args
    assert images[:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8]
    assert out is audio
    with pytest.raises(ValueError, match="4 of them are to be cut off"):
        TrimLeadIn.execute(frames(4), 4, "trim", FPS)


def test_keep_puts_silence_before_the_sound():
    images, out, _ = TrimLeadIn.execute(frames(9), 4, "keep", FPS, sound(1)).args
    assert len(images) == 9
    assert out["sample_rate"] == RATE and out["waveform"].shape == (1, 2, RATE + 200)
    assert out["waveform"][0, 0, 199:202].tolist() == [0, 1, 2]
    assert not out["waveform"][..., :200].any()


@pytest.mark.parametrize("mode", ["trim", "keep"])
def test_trim_without_lead_in_or_sound(mode):
    images, out, _ = TrimLeadIn.execute(frames(3), 0, mode, FPS).args
    assert torch.equal(images, frames(3)) and out is None


def test_best_start_cuts_poses_and_sound_together():
    poses = dance([90, 60, 30, 0, 30])
    result, start, audio, report = BestStart.execute(poses, dance([0], x=200), 0, FPS, sound(1)).args
    assert start == 3
    assert result == poses[3:]
    assert audio["waveform"][0, 0, :2].tolist() == [151, 152]
    assert report.splitlines()[:2] == ["Start at frame 3, 0.19 s. 2 of 5 frames are left.", "frame 3: distance 0.000"]


def test_best_start_names_no_frame_in_which_nobody_is_and_leaves_no_sound_that_ended():
    text = start_text(1, np.array([np.inf, 0.25, 0.5]), 3, 16.0)
    assert text.splitlines()[1:] == ["frame 1: distance 0.250", "frame 2: distance 0.500"]
    assert BestStart.execute(dance([90, 60, 30, 0]), dance([0]), 0, FPS, sound(0.1)).args[2] is None


def test_best_start_searches_the_beginning_and_hands_on_the_very_poses_at_the_first_frame():
    poses = dance([90, 60, 30, 0, 30])
    result, start, audio, _ = BestStart.execute(poses, dance([0]), 2, FPS).args
    assert (start, len(result), audio) == (1, 4, None)
    poses = dance([0, 30])
    result, start, audio, _ = BestStart.execute(poses, dance([0]), 0, FPS, sound(1)).args
    assert result is poses and start == 0
    assert torch.equal(audio["waveform"], sound(1)["waveform"])


def test_a_photo_of_nobody():
    nobody = [{"people": [], "canvas_width": 500, "canvas_height": 500}]
    for node, settings in ((LeadIn, (4,)), (BestStart, (0, FPS))):
        with pytest.raises(ValueError, match="Nobody is seen in the photo's pose"):
            node.execute(dance([0, 1]), nobody, *settings)
