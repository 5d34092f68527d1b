"""The newest weights in one small file, and a run that goes on from them where the work folder is lost."""

import json
import shutil
from dataclasses import replace

import comfy.model_management
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from steadydancer_pack.miniature import shipped
from steadydancer_pack.steadydancer_core.weights.clip_vision import serves_clip_vision
from steadydancer_pack.training import checkpoints, snapshot, vae
from steadydancer_pack.training.latents import ARRAYS, CHANGED, TEXT
from steadydancer_pack.training.loop import train
from steadydancer_pack.training.network import Scale, Size
from steadydancer_pack.training.pipeline import Work, run_stage
from steadydancer_pack.training.prompts import ROWS, WIDTH
from steadydancer_pack.training.snapshot import restore, write_snapshot

H = 4  # latent cells on each side
TINY = Scale(8 * H, Size(128, 64, 1, WIDTH), 1)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setattr(comfy.model_management, "in_training", False)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder with a VAE, a store, a base, and a first stage that was killed after two steps."""
    work = Work(tmp_path_factory.mktemp("work"), TINY)
    random = np.random.default_rng(0)
    shapes = {TEXT: (12, ROWS, WIDTH), CHANGED: (12, 3, 16, 3, H, H)}
    for place in ("store", "held"):
        (work.folder / place).mkdir()
        for name in ARRAYS:
            array = random.standard_normal(shapes.get(name, (12, 16, 9, H, H))).astype(np.float16)
            np.save(work.folder / place / f"{name}.npy", array)
    work.vae_file.parent.mkdir()
    shutil.copy(shipped("steadydancer_miniature_vae.safetensors"), work.vae_file)
    work.vae_file.with_name("metrics.json").write_text('{"metrics": {"photo_psnr": 34.0}}', "utf-8")
    run_stage(work, "base", steps=1)
    run_stage(work, "stage1", steps=2).unlink()
    return work


def test_a_lost_folder_goes_on_from_the_newest_weights(work, tmp_path):
    file = tmp_path / "kept.safetensors"
    assert "stage1 after 2 steps and the VAE, " in write_snapshot(work, file)
    kept = load_file(file)
    assert {tensor.dtype for tensor in kept.values()} == {torch.float16}
    assert not [name for name in kept if serves_clip_vision(name)]

    again = Work(tmp_path / "again", TINY)
    assert "2 steps of stage1 are there" in restore(again, file)
    assert again.vae_file.read_bytes() == work.vae_file.read_bytes()
    metrics = [json.loads(each.vae_file.with_name("metrics.json").read_text("utf-8")) for each in (work, again)]
    assert metrics[0] == metrics[1]
    old, new = (checkpoints.load(each.folder / "stage1") for each in (work, again))
    assert new.step == 2 and new.trained.keys() == new.ema.keys() == old.ema.keys()
    assert all(torch.equal(new.trained[name], tensor.half().float()) for name, tensor in old.ema.items())

    for place in ("store", "held"):
        shutil.copytree(work.folder / place, again.folder / place)
    result = load_file(run_stage(again, "stage1", steps=3))
    assert "from step 2 to 3" in (again.folder / "stage1" / "train.log").read_text("utf-8")
    assert all(tensor.isfinite().all() for tensor in result.values())
    assert any(not torch.equal(result[name.removeprefix("velocity.network.")], t) for name, t in new.ema.items())
    with pytest.raises(ValueError, match=r"There is no \S*base\S*weights.safetensors. Train 'base' first"):
        run_stage(again, "stage2", steps=1)
    with pytest.raises(ValueError, match="holds stage1, vae already. Restore into an empty folder"):
        restore(again, file)


def test_a_finished_stage_and_a_vae_of_its_own(work, tmp_path):
    done = Work(tmp_path / "done", TINY)
    done.weights("stage1").parent.mkdir(parents=True)
    state = load_file(work.weights("base"))
    save_file(state, done.weights("stage1"))
    assert write_snapshot(done, tmp_path / "kept.safetensors", with_vae=False).split(": ")[1].startswith("stage1, ")
    again = Work(tmp_path / "again", TINY)
    with pytest.raises(ValueError, match=r"has no VAE. Name the file .* --vae"):
        restore(again, tmp_path / "kept.safetensors")
    with pytest.raises(ValueError, match=r"Not found: \S*metrics.json. A VAE is kept with"):
        restore(again, tmp_path / "kept.safetensors", tmp_path / "kept.safetensors")
    restore(again, tmp_path / "kept.safetensors", work.vae_file)
    found = load_file(again.weights("stage1"))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor.half().float()) for name, tensor in state.items())


def test_a_vae_that_is_not_finished_goes_on_from_its_averages(tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (vae.HELD + 1, 33, 16, 16, 3), np.uint8)
    files = tmp_path / "clips.npy", tmp_path / "poses.npy"
    for file in files:
        np.save(file, clips)
    plan = replace(vae.default_plan(1), warmup=0, precision="no")
    work, again = (Work(tmp_path / name, TINY) for name in ("work", "again"))
    train(vae.VaeTask(*files, plan, width=4), plan, work.vae_file.parent)
    assert "the VAE after 1 steps, " in write_snapshot(work, tmp_path / "kept.safetensors")
    assert restore(again, tmp_path / "kept.safetensors").startswith("1 steps of the VAE are there.")
    old, new = (checkpoints.load(each.vae_file.parent) for each in (work, again))
    assert new.step == 1 and new.ema.keys() == old.ema.keys()
    assert all(torch.equal(new.trained[name], tensor.half().float()) for name, tensor in old.ema.items())
    train(vae.VaeTask(*files, plan, width=4), replace(plan, steps=2), again.vae_file.parent)
    assert "from step 1 to 2" in (again.vae_file.parent / "train.log").read_text("utf-8")


def test_what_is_too_large_or_missing_or_foreign_is_said(work, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="nothing to keep .*neither a VAE nor a stage"):
        write_snapshot(Work(tmp_path), tmp_path / "kept.safetensors")
    monkeypatch.setattr(snapshot, "LARGEST", 1_000_000)
    with pytest.raises(ValueError, match=r"stage1 after 2 steps and the VAE take .*1 MB at most.*--without-vae"):
        write_snapshot(work, tmp_path / "kept.safetensors")
    assert list(tmp_path.iterdir()) == []
    for foreign in (work.vae_file, work.folder / "nothing"):
        with pytest.raises(ValueError, match="is no snapshot of a training"):
            restore(Work(tmp_path / "again", TINY), foreign)


def test_a_stage_without_the_weights_before_it_says_so(tmp_path):
    with pytest.raises(ValueError, match="Train 'base' first, or name another stage with --before"):
        run_stage(Work(tmp_path), "stage1")
