"""The drawn world: deterministic, in the picture, with keypoints and marks where the picture has them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from steadydancer_pack.dwpose.poses import BODY, NECK, RIGHT_KNEE, RIGHT_WRIST
from steadydancer_pack.training.evaluation.metrics import PCK_WITHIN, find_parts
from steadydancer_pack.training.evaluation.pairs import FIRST_SEED
from steadydancer_pack.training.old_world import body as old_body
from steadydancer_pack.training.old_world import motion as old_motion
from steadydancer_pack.training.world import body as new_body
from steadydancer_pack.training.world import motion as new_motion
from steadydancer_pack.training.world.body import JOINTS, SOLE, Proportions, draw_proportions, joints
from steadydancer_pack.training.world.clips import MARKED, draw_performance, film, fitted, make_clip
from steadydancer_pack.training.world.look import HAIR, MARKERS, PALETTES, SETTINGS, SKIN, placed
from steadydancer_pack.training.world.motion import CHANNELS, FPS, KINDS, draw_motion
from steadydancer_pack.training.world.pixels import as_detected, make_one
from steadydancer_pack.training.world.render import shrink
from steadydancer_pack.training.world.scenery import draw_background
from steadydancer_pack.training.world.store import HELD_OUT, render, skeletons

SIZE, FRAMES = 128, 5


REST = dict.fromkeys(CHANNELS, np.zeros(1))


def test_standing_character_is_one_high_and_stands_on_the_ground():
    body = Proportions()
    space = joints(body, REST)
    assert set(space) == set(JOINTS)
    assert space["right_ankle"][0, 1] == pytest.approx(-SOLE / body.standing)  # the sole is on the ground
    assert space["head"][0, 1] - body.radius == pytest.approx(-1, abs=0.01)  # its top


def test_a_raised_arm_points_where_its_angle_says():
    def upper_arm(**angles):
        space = joints(Proportions(), REST | {f"right_arm_{name}": np.array([v]) for name, v in angles.items()})
        return (space["right_elbow"] - space["right_shoulder"])[0]

    right, viewer = upper_arm(**{"raise": 90.0}), upper_arm(**{"raise": 90.0, "forward": 90.0})
    assert right[0] < 0 and abs(right[1]) < 1e-9 and abs(right[2]) < 1e-9  # level, to the character's right
    assert viewer[2] > 0 and abs(viewer[0]) < 1e-9  # level, at the viewer


def test_turning_round_swaps_the_sides():
    front, back = (joints(Proportions(), REST | {"yaw": np.array([yaw])}) for yaw in (0.0, 180.0))
    assert front["right_shoulder"][0, 0] < 0 < back["right_shoulder"][0, 0]
    assert front["nose"][0, 2] > front["head"][0, 2] and back["nose"][0, 2] < back["head"][0, 2]


def test_limb_lengths_do_not_change_with_the_motion():
    random = np.random.default_rng(1)
    space = joints(draw_proportions(random), draw_motion(random, 20, "dance"))
    assert np.ptp(np.linalg.norm(space["left_wrist"] - space["left_elbow"], axis=1)) < 1e-9


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_moves_all_frames_within_reach(kind):
    motion = draw_motion(np.random.default_rng(2), 33, kind)
    assert set(motion) == set(CHANNELS) and all(values.shape == (33,) for values in motion.values())
    assert sum(np.ptp(values) > 1 for name, values in motion.items() if name not in ("travel", "jump")) >= 2


@pytest.mark.parametrize("seed", range(HELD_OUT, HELD_OUT + 6))
def test_a_whole_character_stays_in_the_picture_and_its_keypoints_are_seen(seed):
    track = make_clip(seed, FRAMES, SIZE, framing="whole", kind="dance").poses.tracks[0]
    body = track.points[:, BODY]
    assert (body >= 0).all() and (body < 1).all() and track.visible[:, NECK].all()


def test_a_half_body_has_its_knees_outside():
    clip = make_clip(HELD_OUT, FRAMES, SIZE, framing="upper", kind="wave")
    assert not clip.poses.tracks[0].visible[:, RIGHT_KNEE].any()


def test_parts_are_found_where_the_character_has_them():
    clips = [make_clip(seed, 2, SIZE, framing="whole") for seed in range(HELD_OUT, HELD_OUT + 20)]
    found = [find_parts(clip.frames) for clip in clips]
    for part in MARKERS:
        places = np.concatenate([places[part] for places in found])
        errors = np.linalg.norm(places - np.concatenate([clip.marks[part] for clip in clips]), axis=1)
        assert np.isfinite(errors).mean() >= 0.97, part
        assert (errors[np.isfinite(errors)] < 0.06 * SIZE).mean() >= 0.97, part


def test_nothing_but_markers_is_vivid():
    colors = [*SKIN, *HAIR, *(color for palette in PALETTES for color in palette)]
    picture = np.array(colors, np.uint8)[None, None].repeat(4, axis=1).repeat(4, axis=2)
    assert all(np.isnan(place).all() for place in find_parts(picture).values())


@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_is_vivid(setting):
    scene = replace(draw_performance(1, 1).scene, setting=setting)
    pictures = np.stack([shrink(draw_background(replace(scene, seed=seed), 2 * SIZE)) for seed in range(3)])
    assert all(np.isnan(place).all() for place in find_parts(pictures).values())
    assert pictures.std(axis=(1, 2)).max() < 35  # calm


def standing(seed, **angles):
    """Return a performance of one frame in a plain setting, in dark clothes, and its picture without anybody."""
    drawn = draw_performance(seed, 1, framing="whole", cartoon=False)
    look = replace(drawn.look, skin=(110, 76, 60), shirt=(90, 90, 120), trousers=(80, 84, 100), bottom="trousers")
    scene = replace(placed(drawn.scene, 0.5, drawn.scene.ground, drawn.scene.scale), setting="studio")
    motion = REST | {name: np.array([float(value)]) for name, value in angles.items()}
    return replace(drawn, look=replace(look, long_sleeves=True), scene=scene, motion=motion)


@pytest.mark.parametrize("seed", range(4))
def test_limbs_are_at_least_ten_pixels_wide(seed):
    level = {f"{side}_arm_raise": 90 for side in ("right", "left")}
    spread = {f"{side}_leg_raise": 35 for side in ("right", "left")}
    performance = standing(seed, **level, **spread)
    clip = film(performance, SIZE)
    empty = shrink(draw_background(performance.scene, 2 * SIZE)).astype(int)
    there = np.abs(clip.frames[0].astype(int) - empty).max(axis=-1) > 30
    points = clip.poses.tracks[0].points[0] * SIZE
    for first, last, angle, way in ((2, 3, 0, 0), (3, 4, 0, 0), (8, 9, 35, 1), (9, 10, 35, 1)):
        x, y = ((0.4 * points[first] + 0.6 * points[last]) if angle else (points[first] + points[last]) / 2).round()
        line = there[int(y)] if way else there[:, int(x)]
        at = int(x) if way else int(y)
        run = 1 + sum(int(np.argmin(np.append(part, False))) for part in (line[at + 1 :], line[:at][::-1]))
        assert run * np.cos(np.radians(angle)) >= 10, (first, last)


def test_a_whole_character_fills_the_picture():
    for kind in KINDS:
        scales = [draw_performance(seed, 33, kind, "whole").scene.scale for seed in range(20)]
        assert min(scales) >= 0.7 and max(scales) <= 0.9, kind


def test_a_hand_before_the_chest_is_seen_and_one_behind_it_is_not():
    angles = {"right_arm_raise": 60, "right_arm_forward": 125, "right_arm_bend": 20}
    front, back = (find_parts(film(standing(5, yaw=yaw, **angles), SIZE).frames) for yaw in (0, 180))
    assert np.isfinite(front["right_hand"]).all() and np.isnan(back["right_hand"]).all()
    assert np.isfinite(back["head"]).all()


def test_the_enlarged_film_shrinks_to_the_small_one():
    performance = draw_performance(3, 1, framing="whole")
    large, small = (film(performance, size).frames[0] for size in (3 * SIZE, SIZE))
    assert np.abs(cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA) - small.astype(float)).mean() < 2


def test_a_repeated_photo_is_far_from_the_truth():
    right = []
    for seed in range(FIRST_SEED + 1, FIRST_SEED + 129, 2):  # the drivers of 64 pairs
        performance = draw_performance(seed, 17, "dance", "whole")
        space = joints(performance.body, performance.motion)
        ways = [space[joint][1:, :2] - space[joint][0, :2] for joint in MARKED.values()]
        right.append(np.linalg.norm(ways, axis=-1) < PCK_WITHIN)
    assert np.mean(right) <= 0.65


@pytest.mark.parametrize("joint", ["hand", "toe"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_hands_and_feet_move_at_least_as_fast_as_in_the_old_world(kind, joint):
    def speed(body, motion):
        """Return body heights per second."""
        motions = [motion.draw_motion(np.random.default_rng(seed), 33, kind) for seed in range(40)]
        spaces = [body.joints(body.Proportions(), angles) for angles in motions]
        ways = [np.diff(space[f"{side}_{joint}"][:, :2], axis=0) for space in spaces for side in ("right", "left")]
        return FPS * np.linalg.norm(ways, axis=-1).mean()

    assert speed(new_body, new_motion) >= speed(old_body, old_motion)


def test_a_pose_and_its_picture_agree():
    clip = make_clip(HELD_OUT + 1, 1, SIZE, framing="whole", kind="wave")
    wrist = clip.poses.tracks[0].points[0, RIGHT_WRIST] * SIZE
    assert np.linalg.norm(wrist - clip.marks["right_hand"][0]) < 0.06 * SIZE


def test_fitted_makes_the_character_smaller_until_it_fits():
    performance = draw_performance(3, 9, framing="whole")
    inside = fitted(replace(performance, scene=placed(performance.scene, 0.95, 0.94, 2.0)))
    points = film(inside, SIZE).poses.tracks[0].points[:, BODY]
    assert inside.scene.scale < 1 and (points > 0).all() and (points < 1).all()


def test_detected_poses_are_a_little_off():
    poses = make_clip(1, FRAMES, SIZE).poses
    off, again = (as_detected(poses, np.random.default_rng(0)).tracks[0].points for _ in range(2))
    assert 0 < np.linalg.norm(off - poses.tracks[0].points, axis=-1).mean() < 0.02 and (off == again).all()


def test_training_clips_follow_from_their_seed():
    first, again = make_one(7, FRAMES, 48), make_one(7, FRAMES, 48)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert first.skeletons.shape == first.changed[:, 0].shape == (1, FRAMES, 48, 48, 3)
    same = (first.changed[:, 0] == first.skeletons).all(axis=(0, 2, 3, 4))
    assert same.tolist() == [True, False, True, True, True]


def test_rendered_files_hold_the_clips_of_their_seeds(tmp_path):
    clips, poses = (np.load(path) for path in render(tmp_path, 2, FRAMES, 48, first_seed=9, workers=1))
    clip = make_clip(10, FRAMES, 48)
    assert clips.shape == (2, FRAMES, 48, 48, 3) and clips.dtype == np.uint8 and (clips[0] != clips[1]).any()
    assert (clips[1] == clip.frames).all() and (poses[1] == skeletons(clip.poses)).all()
