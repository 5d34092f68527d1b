"""What a run starts from: a checkpoint keeps it, and a run over other weights or other clips is refused."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.tests.comfy.test_training_loop import PLAN, assert_same_bits
from steadydancer_pack.tests.training_double import Sums
from steadydancer_pack.training import full, pipeline
from steadydancer_pack.training.full import FullFiles, run_full
from steadydancer_pack.training.latents import ARRAYS, Store
from steadydancer_pack.training.loop import train
from steadydancer_pack.training.pipeline import Work, run_stage
from steadydancer_pack.training.start import HEAD, fingerprint, start_of

SHORT = replace(PLAN, decay="constant", steps=4)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def weights(path, value, count=1):
    save_file({"w": torch.full((count,), float(value))}, path)
    return path


def store(folder, count):
    folder.mkdir()
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", np.zeros((count, 2, 3), np.float16))
    return Store(folder)


def test_a_run_goes_on_from_the_same_start_alone(tmp_path):
    start = {"weights": "1 GB, hash a", "clips": "7 of [2]"}
    train(Sums(), SHORT, tmp_path, start)
    with pytest.raises(ValueError, match="with other files. weights: now 1 GB, hash b, then 1 GB, hash a. Name the fi"):
        train(Sums(), replace(SHORT, steps=6), tmp_path, {**start, "weights": "1 GB, hash b"})
    grown = train(Sums(), replace(SHORT, steps=6), tmp_path, start)
    assert_same_bits(grown, train(Sums(), replace(SHORT, steps=6), tmp_path / "whole", start))


def test_a_checkpoint_of_old_which_tells_no_start_serves(tmp_path):
    train(Sums(), SHORT, tmp_path)
    task = Sums()
    train(task, replace(SHORT, steps=6), tmp_path, {"weights": "1 GB, hash a"})
    assert sorted(set(task.drawn)) == [4, 5]


def test_weights_of_one_size_and_one_header_are_told_apart(tmp_path):
    one, same, other = (weights(tmp_path / f"{name}.safetensors", name == "other") for name in ("one", "same", "other"))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    large = [fingerprint(weights(tmp_path / f"{value}.safetensors", value, HEAD)) for value in (3, 4)]
    assert large[0] != large[1] and all(text.startswith("4.19 MB, hash ") for text in large)


def test_a_start_tells_weights_clips_and_teacher(tmp_path):
    file, clips = weights(tmp_path / "a.safetensors", 1), store(tmp_path / "clips", 5)
    assert start_of(None, clips) == {"weights": "fresh ones", "clips": "5 of [2, 3]"}
    assert start_of(file, clips, file)["teacher"] == start_of(file, clips)["weights"] == fingerprint(file)


@pytest.fixture
def asked(monkeypatch):
    """The starts that stages hand to the loop, in whose place nothing is trained."""
    starts = []

    class Enough(Exception):
        pass

    def note(task, plan, folder, start):
        starts.append(start)
        raise Enough

    for module in (pipeline, full):
        monkeypatch.setattr(module, "train", note)
    return starts, Enough


def test_the_stages_of_the_miniature_tell_their_start(tmp_path, monkeypatch, asked):
    starts, enough = asked
    for place, value in (("base", 1), ("stage1", 2), ("elsewhere", 3)):
        (tmp_path / place).mkdir()
        weights(tmp_path / place / "weights.safetensors", value)
    task = SimpleNamespace(batches=SimpleNamespace(store=store(tmp_path / "store", 5)), result=None)
    monkeypatch.setattr(pipeline, "prepare", lambda *_: task)
    for name, before in (("base", ""), ("stage2", ""), ("stage2", "elsewhere")):
        with pytest.raises(enough):
            run_stage(Work(tmp_path), name, before=before, output="out")
    assert [start["weights"] for start in starts[1:]] == [
        fingerprint(tmp_path / place / "weights.safetensors") for place in ("stage1", "elsewhere")
    ]
    assert starts[0] == {"weights": "fresh ones", "clips": "5 of [2, 3]"}
    assert starts[1]["teacher"] == starts[2]["teacher"] == fingerprint(tmp_path / "base" / "weights.safetensors")


def test_a_result_that_is_there_is_told(tmp_path, caplog):
    (tmp_path / "stage1").mkdir()
    there = weights(tmp_path / "stage1" / "weights.safetensors", 1)
    with caplog.at_level(logging.INFO):
        assert run_stage(Work(tmp_path), "stage1") == there
        assert run_full(Work(tmp_path), "stage1", FullFiles(tmp_path, tmp_path)) == there
    told = f"{there} is there already. Delete it to go on with more steps; delete its folder to train again."
    assert caplog.messages == [told] * 2
