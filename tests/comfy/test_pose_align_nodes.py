"""The nodes of the last pose stage: sizes that fit Reconcile Conditions, corrections by name, what is shown."""

import threading
import time

import folder_paths
import numpy as np
import pytest
import torch
from comfy.model_management import InterruptProcessingException, interrupt_current_processing
from PIL import Image

from steadydancer_pack.dwpose.draw import OFFICIAL
from steadydancer_pack.dwpose.edit.align import COLUMNS
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.pipeline import drawing_size
from steadydancer_pack.dwpose.poses import NECK, NOSE, PoseClip
from steadydancer_pack.media.frame_size import choose_size, crop_fraction
from steadydancer_pack.media.frames import fit_image
from steadydancer_pack.media.image_layout import GAP, ROW, Line, draw_table, shrink
from steadydancer_pack.nodes.common.pose_images import draw_images
from steadydancer_pack.nodes.pose_align import SHOWN, AlignPoses, AugmentPoses, DrawPoses
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance
from steadydancer_pack.tests.pure.test_align import together

CAMERA = Camera(432, 768, (0.3, 0.2), 0.6)
PHOTO = torch.full((1, 768, 432, 4), 0.5)
PHOTO_POSES, POSES = to_keypoints(clip(ADULT, [Stance()], CAMERA)), to_keypoints(clip(ADULT, dance(6)))
DRAW = {"width": 0, "height": 0, "palette": "steadydancer", "thickness": 1.0, "hands": True}


def align(photo=PHOTO, photo_poses=PHOTO_POSES, poses=POSES, **changes):
    defaults = {i.id: i.default for i in AlignPoses.GET_SCHEMA().inputs if hasattr(i, "default")}
    values = {"mode": "robust"} | {name: value for name, value in defaults.items() if value is not None} | changes
    return AlignPoses.execute(poses, photo, photo_poses, **values)


def points(keypoints):
    return from_keypoints(keypoints).tracks[0].points


def test_the_result_lies_in_a_model_frame_of_the_photos_shape():
    poses, picture, table = align().result
    assert [(frame["canvas_width"], frame["canvas_height"]) for frame in poses] == [(576, 1024)] * 6
    assert picture.shape == (1, 1024, 576, 3) and picture.min() >= 0 and picture.max() <= 1
    assert table.splitlines()[1].startswith("body")
    assert points(poses)[0, NECK] == pytest.approx(clip(ADULT, [Stance()], CAMERA).tracks[0].points[0, NECK], abs=1e-6)


def picture(ui):
    """Return the one picture that a node shows, int [H, W, 3]."""
    (file,) = ui["images"]
    assert file["type"] == "temp"
    return np.asarray(Image.open(f"{folder_paths.get_temp_directory()}/{file['filename']}")).astype(int)


def small(images):
    """Return the first of `images` as a node shows it."""
    return shrink(images[0].mul(255).round().byte().numpy(), *SHOWN).astype(int)


def test_the_node_shows_the_overlay_with_the_table_beside_it():
    _, overlay, table = (output := align()).result
    shown, left = picture(output.ui), small(overlay)
    height, width = left.shape[:2]
    assert abs(shown[GAP : GAP + height, GAP : GAP + width] - left).max() <= 1
    lines = [Line(COLUMNS, heading=True)]
    for row in table.splitlines()[1:]:
        lines.append(Line((row[:11].strip(), *row[11:34].split()), faint=row.endswith("body scale used")))
    want = draw_table(lines, "% of the frame height; gray: body scale used").astype(int)
    right = shown[GAP : GAP + len(want), 2 * GAP + width : 2 * GAP + width + want.shape[1]]
    assert abs(right - want).max() <= 1 and output.ui["text"][0] == table


def test_several_people_have_a_table_each():
    cameras, both = (CAMERA, Camera(432, 768, (0.4, 0.2), 0.5)), ([Stance()], dance(3))
    photo, poses = (to_keypoints(together(*(clip(ADULT, stances, c) for c in cameras))) for stances in both)
    assert len(picture(align(photo_poses=photo, poses=poses).ui)) > 2 * 10 * ROW


def test_corrections_reach_their_part_and_change_no_input():
    plain, corrected = points(align().result[0]), points(align(head_y=-0.05).result[0])
    assert corrected[0, NOSE, 1] - plain[0, NOSE, 1] == pytest.approx(-0.05, abs=1e-6)
    assert np.array_equal(corrected[:, NECK], plain[:, NECK])
    align(head_scale=1.2)
    assert to_keypoints(clip(ADULT, dance(6))) == POSES


def test_the_page_gets_the_poses_before_the_corrections_and_the_corrections_by_input():
    plain, corrected = (align(**changes).ui["pose_editor"][0] for changes in ({}, {"arms_x": 0.1}))
    assert plain["poses"] == corrected["poses"] and plain["facing"] != corrected["facing"]
    assert corrected["corrections"] == {**plain["corrections"], "arms_x": 0.1}
    inputs = [taken.id for taken in AlignPoses.GET_SCHEMA().inputs]
    assert list(plain["corrections"]) == [name for name in inputs if name.endswith(("_scale", "_x", "_y"))]
    assert plain["anchors"] == {2: 0} and plain["lead_in"] == 0 and plain["background"]["kind"] == "photo"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["body_x", "head_y", "arms_x", "legs_y"])
def test_a_correction_that_is_no_number_is_told_in_words(name, value):
    """It comes through a link: ComfyUI's own check of a widget's range lets NaN pass."""
    with pytest.raises(ValueError, match=rf"A correction moves a part by .*{value}.*, which is no place. Look at what"):
        align(**{name: value})


def test_the_anchor_and_where_to_meet_reach_the_alignment():
    plain, chosen = align(), align(anchor="whole body", meet_at="head")
    assert "meets the photo, a whole body near the median of the clip." in chosen.result[2]
    moved = points(chosen.result[0]) - points(plain.result[0])
    assert np.abs(moved[:, [NOSE, NECK]]).max() > 1e-3


def test_a_prompt_from_before_runs_as_before():
    parts, still = ("body", "head", "arms", "legs"), {"scale": 1.0, "x": 0.0, "y": 0.0}
    values = {f"{part}_{key}": value for part in parts for key, value in still.items()}
    old = AlignPoses.execute(POSES, PHOTO, PHOTO_POSES, mode="robust", anchor_frame=0, **values).result
    assert np.array_equal(points(old[0]), points(align().result[0])) and old[2] == align().result[2]


def test_poses_of_another_photo_are_refused():
    with pytest.raises(ValueError, match="found in a picture of 432x768, but the photo is 768x432"):
        align(photo=torch.zeros(1, 432, 768, 3))


@pytest.mark.parametrize("wish", [(0, 0), (480, 832), (480, 0), (0, 832), (512, 512), (832, 480), (16, 16)])
def test_drawn_frames_are_cropped_to_reconciles_size_and_never_resized(wish):
    poses = PoseClip(576, 1024, 1)
    drawn = drawing_size([poses], *wish)
    frame = choose_size(432, 768, *wish)
    assert abs(drawn[0] / drawn[1] - 576 / 1024) < 0.03 or min(frame) < 32
    kept = crop_fraction((432, 768), *frame)
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
    frames, negative = (output := DrawPoses.execute(aligned, negative_poses=augmented, **DRAW)).result
    assert frames.shape == negative.shape == (6, 1024, 576, 3) and frames.dtype == torch.float32
    assert frames.max() <= 1 and not torch.equal(frames, negative)
    shown, left, right = picture(output.ui), small(frames), small(negative)
    height, width = left.shape[:2]
    top = len(shown) - height - GAP
    assert shown.shape[1] == 2 * width + 3 * GAP
    assert abs(shown[top:-GAP, GAP : GAP + width] - left).max() <= 1
    assert abs(shown[top:-GAP, -GAP - width : -GAP] - right).max() <= 1


def test_without_negative_poses_there_are_no_negative_frames_and_none_at_all_are_told():
    frames, negative = DrawPoses.execute(POSES, **DRAW | {"height": 320}).result
    assert frames.shape == (6, 320, 176, 3) and negative is None
    with pytest.raises(ValueError, match="hold no frame"):
        DrawPoses.execute([], **DRAW)


def test_cancel_ends_the_threads_that_draw_within_a_second():
    minutes = clip(ADULT, dance(6)).at(np.arange(10000) % 6)
    threads, timer = threading.active_count(), threading.Timer(0.1, interrupt_current_processing)
    started = time.process_time()  # of all threads, whatever else the machine does
    timer.start()
    with pytest.raises(InterruptProcessingException):
        draw_images([minutes], 144, 256, OFFICIAL)
    assert time.process_time() - started < 1.1
    assert threading.active_count() == threads


def test_frames_that_no_memory_holds_are_told_in_words():
    """417 TB: more than any processor of today can address."""
    with pytest.raises(ValueError) as error:
        draw_images([PoseClip(3840, 2160, 1 << 22)], 0, 0, OFFICIAL)
    assert str(error.value) == (
        "4194304 pose frames of 3840x2160 need 417 TB of memory, more than there is. Set width and height to those of "
        "Reconcile Conditions, or take fewer frames with max_frames."
    )


def test_a_bypassed_align_poses_passes_the_dance_on():
    """ComfyUI's page takes the input in the output's place if it is of that type, else the first one that is."""
    sockets = [i.id for i in AlignPoses.GET_SCHEMA().inputs if i.io_type == "POSE_KEYPOINT"]
    assert sockets[0] == AlignPoses.GET_SCHEMA().inputs[0].id == "poses"
