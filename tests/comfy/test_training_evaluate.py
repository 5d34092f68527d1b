"""The run over pairs: what it keeps, when it measures again, what it says, and a long video."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from steadydancer_pack.miniature import shipped
from steadydancer_pack.steadydancer_core.long_video.windows import window_borders
from steadydancer_pack.training.command import main
from steadydancer_pack.training.evaluation import baselines, comparison, run
from steadydancer_pack.training.evaluation.baselines import photo_repeated
from steadydancer_pack.training.evaluation.kept import kept_clips, kept_rows, key_of
from steadydancer_pack.training.evaluation.long_video import OVERLAP, WINDOW, measure_long
from steadydancer_pack.training.evaluation.metrics import means, metrics
from steadydancer_pack.training.evaluation.model_files import ModelFiles
from steadydancer_pack.training.evaluation.pairs import make_pairs
from steadydancer_pack.training.evaluation.run import evaluate, load_system
from steadydancer_pack.training.evaluation.sweep import HEAD, sweep
from steadydancer_pack.training.evaluation.system import SETTINGS, System, aligned
from steadydancer_pack.training.evaluation.variants import VARIANTS, command_for
from steadydancer_pack.training.evaluation.worlds import NEW
from steadydancer_pack.training.network import SHIPPED_SIZE, Scale, build, initialize
from steadydancer_pack.training.pipeline import Work

FRAMES, SIZE, STEPS = 5, 32, 4
SETTINGS = replace(SETTINGS, steps=STEPS)
SMALL = NEW._replace(size=SIZE)
NAMES = "VAE_alone", "photo_repeated", "base_without_pose", "shipped"


def write_weights(work: Work, name: str, seed: int, pose: bool = True) -> None:
    network = build(SHIPPED_SIZE, pose=pose)
    initialize(network, seed)
    work.weights(name).parent.mkdir(exist_ok=True)
    save_file({key: tensor.clone() for key, tensor in network.state_dict().items()}, work.weights(name))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder with the shipped VAE and networks that never learned anything."""
    work = Work(tmp_path_factory.mktemp("work"), Scale(SIZE, SHIPPED_SIZE, 1))
    work.vae_file.parent.mkdir()
    work.vae_file.write_bytes(shipped("steadydancer_miniature_vae.safetensors").read_bytes())
    write_weights(work, "base", 0, pose=False)
    write_weights(work, "stage3", 1)
    return work


@pytest.fixture
def small(monkeypatch):
    variants = [replace(variant, settings=SETTINGS) for variant in VARIANTS]
    for name, value in {"FRAMES": FRAMES, "VARIANTS": variants}.items():
        monkeypatch.setattr(run, name, value)
    monkeypatch.setattr(baselines, "STEPS", STEPS)


def kept(folder):
    """Return the text and the time of each file of metrics."""
    paths = {name: folder / f"{name}.json" for name in NAMES}
    return {name: (path.read_text("utf-8"), path.stat().st_mtime_ns) for name, path in paths.items()}


def test_what_is_measured_is_kept_and_another_count_is_measured_again(work, small, tmp_path):
    report = evaluate(work, 2, tmp_path, ("shipped",), SMALL)
    assert all(name.replace("_", " ") in report.read_text("utf-8") for name in NAMES)
    before = kept(tmp_path)
    evaluate(work, 2, tmp_path, ("shipped",), SMALL)
    assert kept(tmp_path) == before
    evaluate(work, 1, tmp_path, ("shipped",), SMALL)
    first, other = ({name: json.loads(text) for name, (text, _) in found.items()} for found in (before, kept(tmp_path)))
    for name in NAMES:
        assert (len(first[name]["rows"]), other[name]["of"]) == (2, [1, *first[name]["of"][1:]])
    assert str(other["photo_repeated"]["rows"]) == str(first["photo_repeated"]["rows"][:1])  # NaN is in it


def test_what_lacks_its_weights_is_named_with_the_command_that_makes_them(work, small, tmp_path, caplog):
    without = Work(tmp_path / "work")
    without.vae_file.parent.mkdir(parents=True)
    without.vae_file.write_bytes(work.vae_file.read_bytes())
    report = evaluate(without, 1, tmp_path, world=SMALL)
    for weights in {variant.weights for variant in VARIANTS} | {"base"}:
        assert command_for(weights, str(without.folder)) in caplog.text
    assert "VAE alone" in report.read_text("utf-8") and "shipped" not in report.read_text("utf-8")


def test_a_name_that_is_no_variant_and_a_work_without_a_vae_are_refused(work, tmp_path):
    with pytest.raises(ValueError, match="no variant 'no shoes'. There are: VAE alone, "):
        evaluate(work, 1, tmp_path, ("no shoes",))
    with pytest.raises(ValueError, match="made by: python -m training vae"):
        evaluate(Work(tmp_path), 1, tmp_path)


@pytest.fixture(scope="module")
def pairs():
    return make_pairs(2, FRAMES, SIZE)


@pytest.fixture(scope="module")
def photos(pairs):
    return [photo_repeated(pair) for pair in pairs]


def test_other_weights_or_another_vae_are_measured_again(pairs, photos, tmp_path):
    files, truth = (tmp_path / "weights", tmp_path / "vae"), [pair.truth.frames for pair in pairs]

    def keep(clips):
        return json.dumps(kept_rows(tmp_path, "it", key_of(2, *files), pairs, lambda: clips))

    for path in files:
        path.write_bytes(b"one")
    right = keep(truth)
    assert keep(photos) == right
    for path in files:
        path.write_bytes(b"another")
        assert keep(photos) != right
        assert (kept_clips(tmp_path, "it")[1] == photos[1]).all()
        assert keep(truth) != right
        path.write_bytes(b"one")
        assert keep(truth) == right


@pytest.mark.parametrize("left", ['[{"a": 1.0', "[]", ""])
def test_what_a_killed_run_left_is_measured_again(pairs, photos, tmp_path, left):
    (tmp_path / "it.json").write_text(left)
    rows = kept_rows(tmp_path, "it", [2, "", ""], pairs, lambda: photos)
    assert len(rows) == 2 and json.loads((tmp_path / "it.json").read_text())["of"] == [2, "", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.json", "it.npz"]


def test_clips_of_a_run_that_fails_are_no_one_s(pairs, photos, tmp_path):
    kept_rows(tmp_path, "it", [2, "a", ""], pairs, lambda: photos)
    with pytest.raises(ZeroDivisionError):
        kept_rows(tmp_path, "it", [2, "b", ""], pairs, lambda: 1 // 0)
    assert not (tmp_path / "it.json").exists()


def test_rounded_weights_that_are_half_there_or_of_other_weights_are_made_again(work):
    file = work.folder / "stage3" / "shipped.safetensors"
    load_system(work, "stage3")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    load_system(work, "stage3")
    assert file.read_bytes() == whole
    write_weights(work, "stage3", 2)
    load_system(work, "stage3")
    assert not torch.equal(*(found["patch_embedding.weight"] for found in (load_file(file), load(whole))))


def test_a_long_video_is_measured_at_its_seams(work):
    found, clip = measure_long(load_system(work, "stage3", SETTINGS), SIZE, frames=49)
    assert clip.shape == (49, SIZE, SIZE, 3)
    assert found["seams"] == len(window_borders(49, WINDOW, OVERLAP)[0]) > 0
    assert {"first_frame_psnr", "truth_psnr", "pck_all", "seam_colour"} <= found.keys()
    assert found["seam_jump"] > 0 and found["truth_jump"] > 0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return ModelFiles(
        folder=tmp_path_factory.mktemp("files"),
        model=shipped("steadydancer_miniature.safetensors"),
        vae=shipped("steadydancer_miniature_vae.safetensors"),
    )


def test_models_are_compared_in_each_world_and_kept(work, files, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "FRAMES", FRAMES)
    monkeypatch.setattr(comparison, "SHIPPED", replace(VARIANTS[0], settings=SETTINGS))
    worlds = {"one": SMALL, "two": SMALL._replace(name="two", size=48)}
    text = comparison.compare({"WORK": work, "files": files}, 1, tmp_path, worlds)
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")] == [
        "what", "---", "WORK", "files", "photo repeated",
    ] * 2  # fmt: skip
    assert "48 x 48" in text and kept_clips(tmp_path / "two", "files").shape == (1, FRAMES, 48, 48, 3)
    assert [line for line in text.splitlines() if "photo" in line and line.endswith("| 0.00 | 0.000 |")]
    monkeypatch.setattr(comparison, "variant_clips", pytest.fail)
    assert comparison.compare({"WORK": work, "files": files}, 1, tmp_path, worlds) == text


def test_a_sweep_measures_what_running_anew_with_these_settings_does(files, pairs):
    system = System(files.model, files.vae)
    lines = sweep(system, pairs, (2, 3), (3.0,), ((0.0, 1.0),), (1.0,))
    assert [line[: len(HEAD) - 4] for line in lines] == [["2", "3", "0-1", "1", "3"], ["3", "3", "0-1", "1", "5"]]
    fresh = System(files.model, files.vae, replace(system.settings)).run(pairs, [aligned(pair) for pair in pairs])
    found = means([metrics(pair, clip) for pair, clip in zip(pairs, fresh, strict=True)])
    assert lines[-1][-3:-1] == [f"{found['moving_psnr']:.2f}", f"{found['pck_all']:.3f}"]


@pytest.mark.parametrize("verb", ["evaluate", "sweep", "compare"])
def test_a_model_without_its_vae_is_refused(files, tmp_path, capsys, verb):
    assert main([verb, str(tmp_path), "--model", str(files.model), "--cpu"]) == 1
    assert "Not found: --vae. Name both files" in capsys.readouterr().err
