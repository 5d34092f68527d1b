"""Training against the clock: the VAE, its parts, the stages; on a processor, at a size of a few seconds."""

import json
import logging
import time
from dataclasses import replace
from functools import partial

import comfy.model_management
import pytest
import torch
from safetensors.torch import load_file

from steadydancer_pack.tests.training_double import Sums
from steadydancer_pack.training import checkpoints, gpu_run, vae
from steadydancer_pack.training.command import main
from steadydancer_pack.training.gpu_run import GpuRun
from steadydancer_pack.training.loop import Plan, seconds_per_step, train
from steadydancer_pack.training.network import Scale, Size
from steadydancer_pack.training.parts import join, split
from steadydancer_pack.training.pipeline import Work
from steadydancer_pack.training.prompts import WIDTH
from steadydancer_pack.training.stages import Cuts
from steadydancer_pack.training.vae_gate import LEAST_PSNR

PLAN = Plan(steps=12, learning_rate=0.02, batch_size=4, warmup=3, ema_decay=0.9, checkpoint_every=0)
TINY = Scale(32, Size(128, 64, 1, WIDTH), 1)


@pytest.fixture(scope="module", autouse=True)
def on_the_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(comfy.model_management, "in_training", False)
    monkeypatch.setattr("steadydancer_pack.training.network.LARGE", TINY)
    monkeypatch.setattr(gpu_run, "HELD_CLIPS", 3)
    monkeypatch.setattr(vae, "reconstruction", partial(vae.reconstruction, n=1))
    monkeypatch.setattr(vae, "STATISTICS_CLIPS", 1)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


def test_the_vae_and_the_stages_are_trained_and_come_in_parts(tiny, tmp_path, capsys):
    first, stages = str(tmp_path / "first"), str(tmp_path / "second")
    short = ["--cpu", "--steps", "1", "--minutes", "600"]  # since this process began, which runs other tests too
    assert main(["gpu", first, "vae", *short, "--clips", "18"]) == 0
    assert main(["join", f"{first}/parts", f"{stages}/vae"]) == 0
    assert main(["gpu", stages, "stages", *short, "--clips", "4"]) == 1
    assert "The VAE is not good enough" in capsys.readouterr().err
    metrics = tmp_path / "second" / "vae" / "metrics.json"
    assert json.loads(metrics.read_text("utf-8"))["metrics"].keys() > LEAST_PSNR.keys()
    assert main(["gpu", stages, "stages", *short, "--clips", "4", "--accept-vae"]) == 0
    (weights,) = join(tmp_path / "second" / "parts", tmp_path / "third")
    assert weights.read_bytes() == (tmp_path / "second" / "stage3" / "weights.safetensors").read_bytes()
    assert load_file(weights)["blocks.0.ffn.0.weight"].shape == (64, 128)


def test_a_run_ends_where_it_is_told_and_is_complete(tmp_path):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) == 5

    ended = train(Sums(), PLAN, tmp_path, stop=stop)
    kept = checkpoints.load(tmp_path)
    assert kept.step == len(asked) == 5
    assert ended.keys() == kept.ema.keys() and all(torch.equal(ended[name], kept.ema[name]) for name in ended)


def test_as_many_steps_are_done_as_the_rest_of_the_time_has_room_for(tmp_path, monkeypatch):
    run = GpuRun(Work(tmp_path), time.time() + 100)
    assert 65 < run.left() <= 70
    monkeypatch.setattr(gpu_run, "seconds_per_step", lambda _task, _plan, kinds, seconds: sum(kinds.values()) * seconds)
    assert run.fitting_steps(Sums, PLAN, 60, {0.0: 0.5, 0.5: 0.5}) == 9  # 0.95 * 60 s, of which one takes 6 s
    assert replace(run, steps=3).fitting_steps(Sums, PLAN, 60, {0.0: 1.0}) == 3
    assert replace(run, clips=2).fitting_clips(10, 5) == 2
    monkeypatch.setattr(gpu_run, "make_one", lambda *_: time.sleep(0.02))
    monkeypatch.setattr(gpu_run, "_cores", lambda: 1)
    assert 100 < run.fitting_clips(1000, 5) <= 700 and run.fitting_clips(50, 5) == 50
    assert replace(run, until=time.time()).fitting_clips(1000, 5) == 5


def test_a_step_of_each_kind_is_timed(tmp_path):
    class Slow(Sums):
        def batch(self, step, generator):
            time.sleep(0.03 if step >= 6 else 0.01)
            return super().batch(step, generator)

    seconds = seconds_per_step(Slow(), PLAN, {0.0: 0.25, 0.5: 0.75}, 0.2)
    assert 0.25 * 0.01 + 0.75 * 0.03 <= seconds < 1


def test_no_time_is_said(tiny, tmp_path, capsys):
    assert main(["gpu", str(tmp_path), "vae", "--cpu", "--clips", "17", "--minutes", "0.01"]) == 1
    assert "The time is over before the training began. Give it more with --minutes." in capsys.readouterr().err


def test_a_batch_of_the_larger_miniature_has_more_clips():
    assert Cuts(((3, 12), (5, 8)), (0.5, 0.5)).larger(4).lengths == ((3, 48), (5, 32))


@pytest.fixture
def parts(tmp_path):
    for name, content in {"a.bin": bytes(range(250)), "b.json": b"{}"}.items():
        (tmp_path / name).write_bytes(content)
    split([tmp_path / "a.bin", tmp_path / "b.json"], tmp_path / "parts", part_bytes=100)
    return tmp_path / "parts"


def test_files_are_cut_into_parts_and_joined(parts, tmp_path):
    assert [file.stat().st_size for file in sorted(parts.glob("a.bin.*"))] == [100, 100, 50]
    joined = join(parts, tmp_path / "joined")
    assert [file.read_bytes() for file in joined] == [bytes(range(250)), b"{}"]


BAD = {
    "is missing": lambda parts: (parts / "a.bin.001").unlink(),
    "is damaged": lambda parts: (parts / "a.bin.002").write_bytes(b"?"),
    "is no list of parts": lambda parts: (parts / "parts.json").write_text("[1]"),
    "which is no plain name": lambda parts: (parts / "parts.json").write_text('{"../c": {"sha256": "", "parts": []}}'),
    "the list has others": lambda parts: (parts / "parts.json").write_text('{"c": {"sha256": "", "parts": []}}'),
}


@pytest.mark.parametrize("said", BAD)
def test_parts_that_cannot_be_joined_are_named_and_nothing_is_written(parts, tmp_path, said):
    BAD[said](parts)
    with pytest.raises(ValueError, match=said):
        join(parts, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
