"""Metrics of clips with a known result: equal, shifted, constant, blinking, recolored, with swapped joints."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure as ssim_of

from steadydancer_pack.dwpose.poses import PoseClip, Track
from steadydancer_pack.evaluation.body_keypoints import WHOLE_BODY, Keypoints, found_person
from steadydancer_pack.evaluation.evaluate import Case, describe, evaluate
from steadydancer_pack.evaluation.fidelity import frame_psnr, frame_ssim
from steadydancer_pack.evaluation.frame_batches import BATCH_FRAMES, unit
from steadydancer_pack.evaluation.identity import identity_by_color
from steadydancer_pack.evaluation.metrics import METRICS, NotMeasured
from steadydancer_pack.evaluation.motion import measure_motion
from steadydancer_pack.evaluation.pose_error import pose_error
from steadydancer_pack.steadydancer_core.long_video.first_frame import psnr

PARTS = {"head": [0], "hands": [1, 2], "feet": [3, 4]}
STANDING = np.array([(0.5, 0.1), (0.3, 0.5), (0.7, 0.5), (0.4, 0.9), (0.6, 0.9)])  # 0.8 tall in a square frame


def noise(frames=5):
    return torch.rand(frames, 32, 32, 3, generator=torch.Generator().manual_seed(0))


def level(*values, size=16):
    """A clip of even frames of these brightnesses."""
    return torch.tensor(values)[:, None, None, None].expand(len(values), size, size, 3)


def standing(frames=4):
    return Keypoints(np.tile(STANDING, (frames, 1, 1)), np.ones((frames, 5), bool))


def moved(keypoints, joint, by, frames=slice(None)):
    points = keypoints.points.copy()
    points[frames, joint] += by
    return keypoints._replace(points=points)


def hidden(keypoints, joint, frames=slice(None)):
    seen = keypoints.seen.copy()
    seen[frames, joint] = False
    return keypoints._replace(seen=seen)


def test_psnr_by_hand():
    clip = level(0.5, 0.5, 0.5)
    off = clip + torch.tensor([0.1, 0.01, 0.0])[:, None, None, None]
    assert frame_psnr(off, clip).tolist() == pytest.approx([20.0, 40.0, 100.0], abs=1e-4)
    assert frame_psnr(off, clip)[0].item() == pytest.approx(psnr(off[0], clip[0]), abs=1e-5)


def test_psnr_and_ssim_of_a_clip_longer_than_a_batch_to_itself_and_shifted():
    clip = noise(2 * BATCH_FRAMES + 1)
    shifted = clip.roll(4, dims=2)
    assert frame_psnr(clip, clip).tolist() == [100.0] * len(clip) and (frame_psnr(shifted, clip) < 9).all()
    assert frame_ssim(clip, clip).tolist() == pytest.approx([1.0] * len(clip), abs=1e-6)
    assert (frame_ssim(shifted, clip) < 0.2).all()


def test_ssim_of_even_pictures_by_hand():
    expected = (2 * 0.4 * 0.6 + 0.01**2) / (0.4**2 + 0.6**2 + 0.01**2)  # no variance: the term of the means is left
    assert frame_ssim(level(0.4), level(0.6)).tolist() == pytest.approx([expected], abs=1e-5)


def test_ssim_of_bright_even_pictures_with_noise_is_that_of_float64():
    a = level(0.9, 1.0, size=64)
    b = (a + 0.002 * torch.randn(a.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    exact = ssim_of(a.double().movedim(-1, 1), b.double().movedim(-1, 1), data_range=1.0, reduction="none")
    assert frame_ssim(a, b).tolist() == pytest.approx(exact.tolist(), abs=1e-5)


def test_uint8_frames_are_the_same_clip():
    bytes_ = (noise() * 255).round().byte()
    assert torch.equal(unit(bytes_), bytes_.float() / 255)
    assert evaluate(Case(bytes_)).values == evaluate(Case(unit(bytes_))).values


HALF_BLINKING = level(*[0.5] * 9).clone()
HALF_BLINKING[::2, :7] = 0.0  # of 16 rows
MOTIONS = {
    "constant": (level(*[0.3] * 6), 0.0, 1.0, 1.0),
    "blinking": (level(*[0.4, 0.6] * 10), 51.0, 0.8, 0.8),
    "drifting": (level(*(0.02 * i for i in range(2 * BATCH_FRAMES + 3))), 5.1, 0.98, 1.0),
    "half of it blinking": (HALF_BLINKING, 255 * 0.5 * 7 / 16, 1.0, 1 - 0.5 * 7 / 16),
}


@pytest.mark.parametrize(("clip", "change", "flicker", "smoothness"), MOTIONS.values(), ids=MOTIONS)
def test_motion_by_hand(clip, change, flicker, smoothness):
    found, frames = measure_motion(clip), len(clip)
    assert found[0].tolist() == pytest.approx([change] * (frames - 1), abs=1e-4)
    assert found[1].tolist() == pytest.approx([flicker] * (frames - 1), abs=1e-6)
    assert found[2].tolist() == pytest.approx([smoothness] * ((frames - 1) // 2), abs=1e-6)


PCK, ERROR = ([kind, *(f"{kind}_{part}" for part in PARTS)] for kind in ("pck", "joint_error"))
BODY = standing()
SWAPPED_HANDS = BODY._replace(points=BODY.points[:, [0, 2, 1, 3, 4]])
SWAPPED = {"pck_head": 1, "pck_hands": 0, "pck_feet": 1, "pck": 2 / 3, "joint_error_hands": 50}
# 0.04 is 5 % of the height of 0.8; in a frame twice as wide as high, the person is 0.8 wide and 0.8 high
POSE_ERRORS = {  # found, target, aspect, threshold, expected
    "equal": (BODY, BODY, 1.0, 0.1, dict.fromkeys([*PCK, "found"], 1) | dict.fromkeys(ERROR, 0)),
    "off": (moved(BODY, 0, (0, 0.04)), BODY, 1.0, 0.1, {"joint_error_head": 5, "joint_error": 5 / 3, "pck": 1}),
    "beyond the threshold": (moved(BODY, 0, (0, 0.04)), BODY, 1.0, 0.049, {"pck_head": 0}),
    "wide frame": (moved(BODY, 0, (0.04, 0)), BODY, 2.0, 0.1, {"joint_error_head": 10}),
    "swapped": (SWAPPED_HANDS, BODY, 1.0, 0.1, SWAPPED),
    "not found": (hidden(BODY, 1, [0, 1]), BODY, 1.0, 0.1, {"pck_hands": 0.75, "joint_error_hands": 0, "found": 0.9}),
    "not in the target": (moved(BODY, 0, (0.5, 0.5)), hidden(BODY, 0), 1.0, 0.1, {"pck": 1, "pck_head": None}),
    "nobody": (hidden(BODY, slice(None)), BODY, 1.0, 0.1, {"pck": 0, "found": 0, "joint_error": None}),
}


@pytest.mark.parametrize(("found", "target", "aspect", "threshold", "expected"), POSE_ERRORS.values(), ids=POSE_ERRORS)
def test_pose_error(found, target, aspect, threshold, expected):
    values = pose_error(found, target, aspect, threshold, PARTS).values
    assert {name: values.get(name) for name in expected} == pytest.approx(expected)


def test_pose_error_over_the_frames_and_of_a_target_that_shows_nobody():
    half = pose_error(hidden(BODY, 1, [0, 1]), BODY, 1.0, 0.1, PARTS)
    assert half.pck.tolist() == pytest.approx([5 / 6, 5 / 6, 1.0, 1.0]) and half.joint_error.tolist() == [0.0] * 4
    nobody = pose_error(hidden(BODY, slice(None), [0]), BODY, 1.0, 0.1, PARTS)
    assert nobody.pck[0] == 0.0 and np.isnan(nobody.joint_error).tolist() == [True, False, False, False]
    with pytest.raises(NotMeasured, match="show nobody"):
        pose_error(BODY, hidden(BODY, slice(None)), 1.0)


def test_the_parts_of_the_whole_body_share_no_keypoint():
    joints = [joint for part in WHOLE_BODY.values() for joint in part]
    assert len(joints) == len(set(joints)) == 134 - 68


def test_a_person_who_changed_numbers_is_still_one():
    first_half = np.tile(np.arange(4)[:, None] < 2, 5)
    people = (Track(number, BODY.points, 0.9 * seen) for number, seen in enumerate((first_half, ~first_half)))
    stranger = Track(2, BODY.points + 0.3, np.full((4, 5), 0.9))
    found = found_person(PoseClip(8, 8, 4, (stranger, *people)), BODY)
    assert found.seen.all() and np.array_equal(found.points, BODY.points)


def test_without_a_target_the_largest_person_is_measured_not_the_one_with_most_keypoints():
    points = np.stack([np.linspace(0.1, 0.9, 134)] * 2, axis=1)[None]
    dancer = Track(0, points, 0.9 * (np.arange(134)[None] < 18))
    bystander = Track(1, 0.1 * points, np.full((1, 134), 0.9))
    assert found_person(PoseClip(8, 8, 1, (bystander, dancer)), None).points is dancer.points


def test_poses_that_end_before_the_target_are_no_misses_after_their_end():
    assert len(found_person(PoseClip(8, 8, 3), standing(5)).points) == 3
    assert found_person(PoseClip(8, 8, 3), None) is None


def spots(colors, size=64, frames=3):
    """A clip on gray with a spot of each color at the joints of `standing`."""
    clip = torch.full((frames, size, size, 3), 0.5)
    for (x, y), color in zip(STANDING * size, colors, strict=True):
        clip[:, int(y) - 4 : int(y) + 5, int(x) - 4 : int(x) + 5] = torch.tensor(color)
    return clip


RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def test_identity_of_a_person_who_moves_changes_a_color_and_is_hidden():
    clip = spots([RED] * 5, frames=4)
    clip[1] = clip[0].roll(6, dims=1)
    clip[2] = spots([RED, BLUE, BLUE, RED, RED])[0]
    keypoints = hidden(moved(standing(), slice(None), (6 / 64, 0.0), [1]), slice(None), [3])
    scores = identity_by_color(clip, clip[:1], keypoints, PARTS)
    assert scores.tolist() == pytest.approx([1.0, 1.0, 2 / 3, math.nan], nan_ok=True)
    assert identity_by_color(level(0.0, 1.0), level(0.0)).tolist() == [1.0, 0.0]  # of the whole picture


def test_everything_of_a_perfect_clip():
    clip = spots([RED] * 5, frames=12)
    case = Case(clip, clip[:1], clip, standing(12), standing(12), borders=[6], parts=PARTS)
    values = evaluate(case).values
    ones = ("first_frame_ssim", "identity", "identity_lowest", "pck", "found", "truth_ssim", "smoothness", "flicker")
    best = dict.fromkeys(("first_frame_psnr", "truth_psnr"), 100) | dict.fromkeys(ones, 1)
    best |= dict.fromkeys(("joint_error", "motion", "seam_jump", "seam_colour", "seams_visible"), 0)
    whole = {k: v for k, v in values.items() if not k.startswith(("pck_", "joint_error_"))}
    assert whole == pytest.approx(best, abs=1e-6)
    assert list(values) == [name for name in METRICS if name in values]


def test_the_photo_is_fitted_and_a_ground_truth_of_another_size_and_length_is_compared_as_far_as_it_goes():
    clip, photo = level(0.5, 0.6, 0.7, size=32), level(0.6, size=70)
    result = evaluate(Case(clip, photo, ground_truth=level(0.5, 0.5, size=48)))
    assert result.values["first_frame_psnr"] == pytest.approx(20.0, abs=1e-3)
    assert result.values["truth_psnr"] == pytest.approx(60.0, abs=1e-3)
    assert math.isnan(result.curves["truth_psnr"][2])
    assert "The ground truth of 48x48 was fitted to the frames of 32x32." in result.notes
    assert "The ground truth has 2 frames, the clip 3: the first 2 are compared." in result.notes


def test_what_is_not_given_is_not_measured_and_says_so():
    result = evaluate(Case(level(0.5, size=8), photo=level(0.5, size=8)))
    assert result.values == {"first_frame_psnr": 100.0, "identity": 1.0, "identity_lowest": 1.0}
    assert [note for note in result.notes if "not measured" in note] == [
        "First frame: not measured: frames of 8x8 are smaller than SSIM's window of 11x11.",
        "First frame LPIPS: not measured: no file with its weights is given.",
        "Pose error: not measured: no target poses are given.",
        "PSNR and SSIM against the ground truth: not measured: no ground truth is given.",
        "LPIPS against the ground truth: not measured: no ground truth is given.",
        "FVD: not measured: no ground truth is given.",
        "Motion: not measured: the clip has one frame.",
        "Seams: not measured: the video is one part, or its window is not given.",
    ]
    assert describe(result).splitlines()[0] == "First frame PSNR: 100.00 dB"


def test_fingers_that_a_detector_does_not_look_for_are_not_compared():
    target = Keypoints(np.random.default_rng(0).uniform(0, 1, (3, 134, 2)), np.ones((3, 134), bool))
    joints = slice(92, 134), slice(None)
    result, nobody = (evaluate(Case(level(*[0.5] * 3), poses=hidden(target, some), target=target)) for some in joints)
    assert result.values["pck_hands"] == 1.0 and result.values["found"] == 1.0
    assert "Pose error: the poses hold no fingers; they are not compared." in result.notes
    assert nobody.values["pck_hands"] == 0.0


def test_poses_of_another_length_are_compared_as_far_as_they_go():
    clip = spots([RED] * 5, frames=4)
    result = evaluate(Case(clip, poses=standing(3), target=standing(6), parts=PARTS))
    assert result.values["pck"] == 1.0 and np.isnan(result.curves["pck"]).tolist() == [False] * 3 + [True]
    assert "Pose error: 3 poses, 6 target poses, 4 frames; the first 3 are compared." in result.notes


def test_a_cut_is_found_where_the_border_is():
    clip = level(*(0.002 * i + 0.2 * (i >= 20) for i in range(40)))
    values = evaluate(Case(clip, borders=[10, 20, 30])).values
    assert values["seam_jump"] == pytest.approx(0.202 / 0.002, rel=1e-3) and values["seams_visible"] == 1
    assert values["seam_colour"] == pytest.approx(0.2 * 255, abs=0.01)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (8, 8, 3), (2, 8, 8, 4)])
def test_what_is_no_clip_is_refused(shape):
    with pytest.raises(ValueError, match="frames are .frames, height, width, 3."):
        evaluate(Case(torch.zeros(shape)))
