"""The nodes of the last pose stage: sizes that fit Reconcile Conditions, corrections by name, what is shown."""

import numpy as np
import pytest
import torch

from steadydancer_pack.dwpose.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import NECK, NOSE, PoseClip
from steadydancer_pack.nodes.pose_align import AlignPoses, AugmentPoses, DrawPoses, drawing_size
from steadydancer_pack.steadydancer_core.conditions import choose_size
from steadydancer_pack.steadydancer_core.pixels import fit_image, kept_part
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

CAMERA = Camera(432, 768, (0.3, 0.2), 0.6)
PHOTO = torch.full((1, 768, 432, 4), 0.5)
PHOTO_POSES, POSES = to_keypoints(clip(ADULT, [Stance()], CAMERA)), to_keypoints(clip(ADULT, dance(6)))
DRAW = {"width": 0, "height": 0, "palette": "steadydancer", "thickness": 1.0, "hands": True}


def align(photo=PHOTO, photo_poses=PHOTO_POSES, poses=POSES, **changes):
    defaults = {i.id: i.default for i in AlignPoses.GET_SCHEMA().inputs if hasattr(i, "default")}
    values = {"mode": "robust"} | {name: value for name, value in defaults.items() if value is not None} | changes
    return AlignPoses.execute(photo, photo_poses, poses, **values)


def points(keypoints):
    return from_keypoints(keypoints).tracks[0].points


def test_the_result_lies_in_a_model_frame_of_the_photos_shape():
    poses, picture, table = align().result
    assert [(frame["canvas_width"], frame["canvas_height"]) for frame in poses] == [(576, 1024)] * 6
    assert picture.shape == (1, 1024, 576, 3) and picture.min() >= 0 and picture.max() <= 1
    assert table.splitlines()[1].startswith("body")
    assert points(poses)[0, NECK] == pytest.approx(clip(ADULT, [Stance()], CAMERA).tracks[0].points[0, NECK], abs=1e-6)


def test_the_node_shows_the_overlay_and_the_table():
    shown = align().ui
    assert len(shown["images"]) == 1 and shown["text"][0].startswith("part")


def test_corrections_reach_their_part():
    plain, corrected = points(align().result[0]), points(align(head_y=-0.05).result[0])
    assert corrected[0, NOSE, 1] - plain[0, NOSE, 1] == pytest.approx(-0.05, abs=1e-6)
    assert np.array_equal(corrected[:, NECK], plain[:, NECK])


def test_the_inputs_are_not_changed():
    before = to_keypoints(clip(ADULT, dance(6)))
    align(head_scale=1.2)
    assert before == POSES


def test_poses_of_another_photo_are_refused():
    with pytest.raises(ValueError, match="found in a picture of 432x768, but the photo is 768x432"):
        align(photo=torch.zeros(1, 432, 768, 3))


@pytest.mark.parametrize("wish", [(0, 0), (480, 832), (480, 0), (0, 832), (512, 512), (832, 480), (16, 16)])
def test_drawn_frames_are_cropped_to_reconciles_size_and_never_resized(wish):
    poses = PoseClip(576, 1024, 1)
    drawn = drawing_size(poses, *wish)
    frame = choose_size(432, 768, *wish)
    assert abs(drawn[0] / drawn[1] - 576 / 1024) < 0.03 or min(frame) < 32
    kept = kept_part((432, 768), *frame)
    picture = torch.rand(1, drawn[1], drawn[0], 3)
    fitted = fit_image(picture, *frame, kept)
    left, top = ((whole - part) // 2 for whole, part in zip(drawn, frame, strict=True))
    cut = picture[:, top : top + frame[1], left : left + frame[0]]
    assert fitted.shape == cut.shape and (fitted - cut).abs().max() == 0


def test_one_seed_gives_one_pose_negative():
    one, same, other = (AugmentPoses.execute(POSES, seed).result[0] for seed in (5, 5, 6))
    assert one == same != other
    assert points(one)[:, NECK] == pytest.approx(points(POSES)[:, NECK], abs=1e-6)


def test_both_clips_are_drawn_and_shown_beside_each_other():
    aligned = align().result[0]
    augmented = AugmentPoses.execute(aligned, 1).result[0]
    frames, negative = DrawPoses.execute(aligned, negative_poses=augmented, **DRAW).result
    assert frames.shape == negative.shape == (6, 1024, 576, 3) and frames.dtype == torch.float32
    assert frames.max() <= 1 and not torch.equal(frames, negative)


def test_without_negative_poses_there_are_no_negative_frames():
    frames, negative = DrawPoses.execute(POSES, **DRAW | {"height": 320}).result
    assert frames.shape == (6, 320, 176, 3) and negative is None


def test_no_frames_are_told_in_words():
    with pytest.raises(ValueError, match="hold no frame"):
        DrawPoses.execute([], **DRAW)
