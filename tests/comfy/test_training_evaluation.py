"""The metrics of the miniature on cases with a known answer, and pairs whose truth is what it says."""

import shlex
from dataclasses import replace

import comfy.sd
import comfy.utils
import numpy as np
import pytest
from safetensors.torch import load_file

from steadydancer_pack.dwpose.edit.augment import augment
from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.evaluation.farm.cell_sets import find_pairs
from steadydancer_pack.media.frames import to_float, to_uint8
from steadydancer_pack.miniature import shipped
from steadydancer_pack.steadydancer_core.sampling import run as sampling
from steadydancer_pack.steadydancer_core.sampling.conditions import reconcile
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.training.command import _parser
from steadydancer_pack.training.evaluation.baselines import BASELINES, photo_repeated, vae_alone
from steadydancer_pack.training.evaluation.gates import GATES, measured_gates
from steadydancer_pack.training.evaluation.metrics import find_parts, hands_by_latent_frame, means, metrics, psnr
from steadydancer_pack.training.evaluation.pairs import FIRST_SEED, KINDS, make_pair, make_pairs
from steadydancer_pack.training.evaluation.system import NEGATIVE_SEED, NOISE_SEED, SETTINGS, System, aligned, shuffled
from steadydancer_pack.training.evaluation.variants import VARIANTS, command_for, in_any_order, unaligned
from steadydancer_pack.training.evaluation.xdance_set import write_set
from steadydancer_pack.training.moving import moving_psnr
from steadydancer_pack.training.prompts import NEGATIVE, POSITIVE, prompt_vectors
from steadydancer_pack.training.stages import STAGES
from steadydancer_pack.training.vae_file import loaded_vae
from steadydancer_pack.training.world.look import MARKERS
from steadydancer_pack.training.world.store import HELD_OUT, skeletons

FRAMES, SIZE = 5, 96
BODIES = {f"Ref-{sex}-{part}-Body" for sex in ("Female", "Male") for part in ("Upper", "Whole")}


def picture(places):
    frame = np.full((SIZE, SIZE, 3), 128, np.uint8)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for part, (x, y) in places.items():
        frame[(columns - x) ** 2 + (rows - y) ** 2 <= 4**2] = MARKERS[part]
    return frame


def test_parts_are_found_at_their_centers():
    places = {part: (15 + 16 * index, 30 + 8 * index) for index, part in enumerate(MARKERS)}
    found = find_parts(picture(places)[None])
    for part, place in places.items():
        assert found[part][0] == pytest.approx(place, abs=0.01)


def test_the_largest_patch_counts_and_a_part_that_is_not_there_is_not_found():
    frame = picture({"head": (70, 70)})
    frame[5:7, 5:7] = MARKERS["head"]
    found = find_parts(frame[None])
    assert found["head"][0] == pytest.approx((70, 70), abs=0.01)
    assert all(np.isnan(found[part]).all() for part in MARKERS if part != "head")


def test_psnr_by_hand():
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)
    assert psnr(grey, black) == pytest.approx(10 * np.log10(25))  # 51 is a fifth of 255
    assert psnr(black, black) == pytest.approx(10 * np.log10(255**2 / 1e-4))


@pytest.fixture(scope="module")
def pair():
    return make_pair(0, "build", FRAMES, SIZE)


def test_the_truth_itself_is_right(pair):
    found = metrics(pair, pair.truth.frames)
    assert all(found[f"pck_{name}"] == 1 for name in ("all", "head", "hands", "feet"))
    assert found["first_frame_psnr"] > 80 and found["truth_psnr"] > 80


@pytest.mark.parametrize(("part", "pck"), [(0.06, 1), (0.2, 0)])
def test_a_truth_moved_by_less_and_by_more_than_the_threshold(pair, part, pck):
    assert metrics(pair, np.roll(pair.truth.frames, round(part * pair.height), axis=2))["pck_head"] == pck


def test_swapped_hands_are_wrong_and_the_rest_stays_right(pair):
    frames = pair.truth.frames.copy()
    places = find_parts(frames)
    red, blue = MARKERS["right_hand"], MARKERS["left_hand"]
    for index in range(len(frames)):
        for color, part in ((blue, "right_hand"), (red, "left_hand")):
            if np.isfinite(places[part][index]).all():
                x, y = places[part][index].round().astype(int)
                frames[index, max(0, y - 8) : y + 9, max(0, x - 8) : x + 9] = color
    found = metrics(pair, frames)
    assert found["pck_hands"] < 0.3 and found["pck_head"] == 1


def test_a_clip_without_anybody_has_nothing_right(pair):
    assert metrics(pair, np.full_like(pair.truth.frames, 128))["pck_all"] == 0


def test_hands_that_fade_are_counted_by_latent_frame():
    pair = make_pair(0, "build", 9, SIZE)
    frames = pair.truth.frames.copy()
    frames[5:] = 128
    found = metrics(pair, frames)
    assert [found[f"hands_{index}"] for index in range(3)] == [1, 1, 0] and "hands_3" not in found
    assert found["pck_hands"] == pytest.approx(0.5) and hands_by_latent_frame([found]) == [1, 1, 0]
    assert found["moving_psnr"] == moving_psnr(frames, pair.truth.frames) < found["truth_psnr"]


def test_gates_by_hand():
    right = {"moving_psnr": 18.0, "pck_all": 0.93, "pck_hands": 0.879, "first_frame_psnr": 31.0}
    rows = [right, right, right | {"pck_all": 0.7}, right]
    assert [line[2:] for line in measured_gates(rows)] == [
        ["18.000", "reached"], ["0.873", "missed"], ["0.879", "missed"], ["0.700", "missed"], ["31.000", "missed"],
    ]  # fmt: skip
    assert [line[3] for line in measured_gates([])] == ["not measured"] * len(GATES)


def test_means_leave_out_what_a_pair_does_not_have():
    assert means([{"a": 1.0, "b": float("nan")}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_begins_with_the_photo(kind):
    pair = make_pair(KINDS.index(kind), kind, FRAMES, SIZE)
    assert (pair.truth.frames[0] == pair.photo).all()
    assert pair.misalignment == kind and pair.driver.frames.shape == pair.truth.frames.shape


def test_kinds_come_in_turn_and_all_categories_occur_and_none_is_trained_on():
    assert FIRST_SEED > HELD_OUT
    pairs = make_pairs(8, 2, 48)
    assert [pair.misalignment for pair in pairs] == list(KINDS) * 2
    assert {pair.category for pair in pairs} == {"cartoon", "whole body", "upper body"}


def test_a_start_gap_is_a_gap():
    pair = make_pair(2, "start", FRAMES, SIZE)
    first, (second, later) = pair.photo_poses.tracks[0].points[0, :18], pair.truth.poses.tracks[0].points[1:3, :18]
    assert np.abs(first - second).mean() > 2 * np.abs(second - later).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_aligned_poses_are_near_the_truth_s_own(kind):
    pair = make_pair(4 + KINDS.index(kind), kind, FRAMES, SIZE)
    found, truth = aligned(pair).tracks[0], pair.truth.poses.tracks[0]
    both = (found.visible & truth.visible)[:, :18]
    error = np.linalg.norm(found.points - truth.points, axis=-1)[:, :18] * SIZE / pair.height
    assert np.median(error[both]) < 0.06


def test_shuffled_poses_are_the_same_in_another_order(pair):
    poses = aligned(pair)
    mixed = shuffled(poses, 3)
    order = [int(np.flatnonzero((poses.tracks[0].points == one).all(axis=(1, 2)))[0]) for one in mixed.tracks[0].points]
    assert sorted(order) == list(range(FRAMES)) and order != sorted(order)
    assert in_any_order(pair).frames == FRAMES and unaligned(pair) is pair.driver.poses


def test_the_photo_repeated_does_nothing_and_the_vae_alone_gives_nearly_the_truth():
    pair = make_pair(0, "build", 9, SIZE)
    still = photo_repeated(pair)
    clip = vae_alone(loaded_vae(load_file(shipped("steadydancer_miniature_vae.safetensors"))), pair)
    assert still.shape == clip.shape == pair.truth.frames.shape and clip.dtype == np.uint8
    assert (still == pair.photo).all() and metrics(pair, still)["first_frame_psnr"] > 80
    assert metrics(pair, clip)["truth_psnr"] > metrics(pair, still)["truth_psnr"] + 3


def test_every_column_has_a_name_of_its_own():
    names = [one.name for one in (*BASELINES, *VARIANTS)]
    assert len(set(names)) == len(names) and VARIANTS[0].name == "shipped"


@pytest.mark.parametrize("weights", sorted({one.weights for one in (*BASELINES, *VARIANTS) if one.weights}))
def test_the_command_for_weights_makes_them(weights):
    options = _parser().parse_args(shlex.split(command_for(weights))[3:])
    assert options.name in STAGES and (options.output or options.name) == weights
    assert not options.before or options.before in STAGES


def test_a_set_on_disk_is_found_by_the_runner(tmp_path):
    table = write_set(tmp_path, make_pairs(4, 3, 64))
    pairs = find_pairs(tmp_path, tmp_path, table)
    assert [pair.misalignment for pair in pairs] == list(KINDS)
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("Ref-")} <= {"Ref-Cartoon-Movie", *BODIES}
    for pair in pairs:
        files = pair.photo, pair.video, pair.truth, pair.photo_poses, pair.driving_poses
        assert all(path.is_file() for path in files)
    poses, fps = pose_json.load(pairs[0].driving_poses)
    assert poses.frames == 3 and fps == 16


def test_the_evaluation_s_clips_are_those_of_the_stock_vae_and_of_stock_attention():
    files = [shipped(f"steadydancer_miniature{part}.safetensors") for part in ("", "_vae")]
    system = System(*files, replace(SETTINGS, steps=4, pose=replace(SETTINGS.pose, start=0.0)))
    pairs = make_pairs(2, FRAMES, 64)
    poses = [aligned(pair) for pair in pairs]
    fast = system.run(pairs, poses)
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(files[1])))
    model = load_model(files[0], {})
    for start, pair in enumerate(pairs):
        photo, pose, negative_pose = (
            to_float(frames)
            for frames in (
                pair.photo[None], skeletons(poses[start]), skeletons(augment(poses[start], NEGATIVE_SEED)),
            )
        )  # fmt: skip
        text = [[[prompt_vectors(name)[None], {}]] for name in (POSITIVE, NEGATIVE)]
        made = reconcile(*text, vae, photo, pose, negative_pose, width=64, height=64, length=FRAMES)
        latent = made.latent | {"batch_index": [start]}
        conds = made.positive, made.negative, made.pose_negative
        latent, _ = sampling.run(model, *conds, latent, NOISE_SEED, system.settings)
        clip = to_uint8(vae.decode(latent["samples"]).reshape(-1, 64, 64, 3))
        assert psnr(fast[start], clip) > 45
