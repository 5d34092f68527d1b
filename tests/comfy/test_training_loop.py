"""The training loop: the same weights whatever happens to the process, and the arithmetic of a step."""

import json
import logging
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from steadydancer_pack.tests.training_double import PACK, Regression, Sums
from steadydancer_pack.tests.two_processes import run_two
from steadydancer_pack.training import checkpoints
from steadydancer_pack.training.loop import Plan, step_seed, train
from steadydancer_pack.training.optimizer_state import OptimizerState
from steadydancer_pack.training.run_logger import Clock

DOUBLE = PACK / "tests" / "training_double.py"
PLAN = Plan(
    steps=12,
    learning_rate=0.02,
    batch_size=4,
    warmup=3,
    ema_decay=0.9,
    accumulate=2,
    log_every=5,
    checkpoint_every=4,
    picture_every=6,
)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture
def uninterrupted(tmp_path):
    folder = tmp_path / "uninterrupted"
    train(Sums(), PLAN, folder)
    return state(folder)


def state(folder, step=12):
    """Return all tensors of a checkpoint by file and name."""
    place = folder / "checkpoints" / f"step-{step:07d}"
    return {
        (file, name): tensor
        for file in ("trained", "ema", "adam")
        for name, tensor in load_file(place / f"{file}.safetensors").items()
    }


def assert_same_bits(mine, theirs):
    assert list(mine) == list(theirs)
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def start_process(folder, plans, *death):
    command = [sys.executable, str(DOUBLE), str(folder), json.dumps([*map(asdict, plans)]), *map(str, death)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def train_in_two_processes(folder, *plans):
    return run_two(str(DOUBLE), str(folder), json.dumps([*map(asdict, plans)]))


class Killed(BaseException):
    """Stands for the death of the process: nothing may catch it."""


@pytest.mark.parametrize(
    "death",
    [*(("batch", step) for step in (0, 3, 4, 11)), ("file", 2), ("file", 6)],  # a checkpoint follows step 3
    ids=lambda death: " ".join(map(str, death)),
)
def test_a_killed_process_goes_on_to_the_same_bits(tmp_path, uninterrupted, death):
    process = start_process(tmp_path / "run", [PLAN], *death)
    told = process.communicate()[0].decode()
    assert process.returncode not in (0, 1), f"{death}: it was not killed\n{told}"
    train(Sums(), PLAN, tmp_path / "run")
    assert_same_bits(state(tmp_path / "run"), uninterrupted)


FILE_OPERATIONS = [
    (checkpoints, "save_file"),
    (checkpoints, "_flush"),
    (checkpoints.shutil, "rmtree"),
    (Path, "mkdir"),
    (Path, "rename"),
    (Path, "write_text"),
]


def stop_at(monkeypatch, number):
    """Have the process stop before the `number`-th operation of its checkpoints on files; return the operations."""
    seen = []

    def stopping(operation, name):
        def wrapped(*args, **kwargs):
            seen.append(name)
            if len(seen) == number:
                raise Killed(name)
            return operation(*args, **kwargs)

        return wrapped

    for owner, name in FILE_OPERATIONS:
        monkeypatch.setattr(owner, name, stopping(getattr(owner, name), name))
    return seen


def test_stopped_before_any_operation_on_files_it_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    plan = replace(PLAN, steps=3, checkpoint_every=1, picture_every=0)
    train(Sums(), plan, tmp_path / "uninterrupted")
    wanted = state(tmp_path / "uninterrupted", 3)
    with monkeypatch.context() as patch:
        operations = stop_at(patch, 0)
        train(Sums(), plan, tmp_path / "counted")
    for number in range(1, len(operations) + 1):
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            stop_at(patch, number)
            train(Sums(), plan, folder)
        train(Sums(), plan, folder)
        assert_same_bits(state(folder, 3), wanted)
    assert len(operations) > 30


def test_a_finished_folder_is_returned_at_once(tmp_path):
    first = train(Sums(), PLAN, tmp_path)
    again = Sums()
    second = train(again, PLAN, tmp_path)
    assert again.drawn == []
    blocks = [f"blocks.{i}.{kind}" for i in range(2) for kind in ("weight", "bias")]
    assert list(first) == list(second) == ["offset", *blocks]
    assert_same_bits(first, second)
    assert_same_bits(
        {name: p for name, p in again.module.named_parameters() if p.requires_grad},
        {name: state(tmp_path)["trained", name] for name in first},
    )


def test_a_run_may_grow(tmp_path):
    plan = replace(PLAN, decay="constant", steps=5)
    train(Sums(), plan, tmp_path / "grown")
    task = Sums()
    grown = train(task, replace(plan, steps=12, log_every=1, checkpoint_every=0, picture_every=0), tmp_path / "grown")
    assert sorted(set(task.drawn)) == list(range(5, 12))
    assert_same_bits(grown, train(Sums(), replace(plan, steps=12), tmp_path / "whole"))


def test_another_plan_or_module_is_refused(tmp_path):
    train(Sums(), replace(PLAN, steps=4), tmp_path)
    with pytest.raises(ValueError, match=r"another plan: learning_rate is 0.1, there 0.02; steps is 2, there 4"):
        train(Sums(), replace(PLAN, learning_rate=0.1, steps=2), tmp_path)
    task = Sums()
    task.module.blocks[1] = torch.nn.Linear(16, 2)
    with pytest.raises(ValueError, match=r"2 parameters differ, such as blocks.1.weight: \[2, 16\] in the module"):
        train(task, replace(PLAN, steps=4), tmp_path)


def test_a_damaged_checkpoint_is_told(tmp_path):
    train(Sums(), replace(PLAN, steps=4), tmp_path)
    file = tmp_path / "checkpoints" / "step-0000004" / "adam.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match="step-0000004 cannot be read"):
        train(Sums(), replace(PLAN, steps=4), tmp_path)


def test_numbers_that_are_not_finite_stop_the_run_and_leave_its_checkpoint(tmp_path):
    with pytest.raises(RuntimeError, match=r"no longer finite at step 7: loss (inf|nan), error 0\.\d+, gradient_norm"):
        train(Sums(broken=6), PLAN, tmp_path)
    assert all(tensor.isfinite().all() for tensor in state(tmp_path, 4).values())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0000004"]


class SharpCorner(torch.autograd.Function):
    """The identity, whose gradient is NaN."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_gradient_that_is_not_finite_is_named(tmp_path, precision):
    task = Sums()
    task.module.blocks[0].register_forward_hook(lambda layer, args, output: SharpCorner.apply(output))
    named = r"step 1: loss \d.* Of 5 gradients 2 are not finite: blocks\.0\.weight, blocks\.0\.bias\. The last"
    with pytest.raises(RuntimeError, match=named):
        train(task, replace(PLAN, precision=precision), tmp_path)


def by_hand(plan, processes=1, dropout=True):
    """Return parameters and averages after `plan`, written out without the loop's own arithmetic."""
    task = Sums()
    task.module.train(dropout)
    trained = {name: p for name, p in task.module.named_parameters() if p.requires_grad}
    averages = {name: p.detach().clone() for name, p in trained.items()}
    moments = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in trained.items()}
    for step in range(plan.steps):
        gradient = {name: torch.zeros_like(p) for name, p in trained.items()}
        for process in range(processes):
            seed = step_seed(plan.seed, step, process)
            generator = torch.Generator().manual_seed(seed)
            torch.manual_seed(seed)
            for _ in range(plan.accumulate):
                loss = task.module(task.batch(step, generator))["loss"]
                for name, g in zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True):
                    gradient[name] += g / plan.accumulate / processes
        norm = sum(g.square().sum() for g in gradient.values()).sqrt()
        decay = min(plan.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in trained.items():
                g = gradient[name] * min(1.0, plan.clip_norm / norm)
                first, second = moments[name]
                first.mul_(0.9).add_(g, alpha=0.1)
                second.mul_(0.999).add_(g * g, alpha=0.001)
                change = first / (1 - 0.9 ** (step + 1)) / ((second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
                p -= plan.rate(step) * (plan.weight_decay * p + change)
                averages[name] += (1 - decay) * (p - averages[name])
    return {**{("trained", n): p for n, p in trained.items()}, **{("ema", n): a for n, a in averages.items()}}


def assert_close(found, wanted):
    for key, tensor in wanted.items():
        torch.testing.assert_close(found[key], tensor.detach(), rtol=2e-4, atol=2e-5)


def test_a_run_is_what_its_arithmetic_says(uninterrupted):
    assert_close(uninterrupted, by_hand(PLAN))


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_average_their_gradients(tmp_path, shard):
    plan = replace(PLAN, shard=shard, steps=6, decay="constant")
    status, said = train_in_two_processes(tmp_path, plan)
    assert status == 0, said
    assert_close(state(tmp_path, 6), by_hand(plan, processes=2))
    assert shown(tmp_path, 6) == error_of(state(tmp_path, 6), "ema", 6)
    status, said = train_in_two_processes(tmp_path / "resumed", replace(plan, steps=3), plan)
    assert status == 0, said
    assert_same_bits(state(tmp_path / "resumed", 6), state(tmp_path, 6))


def test_bfloat16_rounds_the_pass_and_keeps_float32_parameters(tmp_path):
    exact = train(Sums(), PLAN, tmp_path / "no")
    rounded = train(Sums(), replace(PLAN, precision="bf16"), tmp_path / "bf16")
    for name, tensor in rounded.items():
        assert tensor.dtype == torch.float32
        assert 0 < (tensor - exact[name]).norm() < 0.05 * exact[name].norm()


def shown(folder, step):
    """Return the one value of the picture of a step."""
    picture = np.asarray(Image.open(folder / "pictures" / f"error-{step:07d}.png"))
    assert picture.shape == (2, 3, 3)
    return picture[0, 0, 0]


def error_of(tensors, file, step):
    """Return the value that the picture of a step has with the tensors of a checkpoint's file."""
    task = Sums()
    task.module.load_state_dict({name: t for (kind, name), t in tensors.items() if kind == file}, strict=False)
    with torch.no_grad():
        return task.pictures(step)["error"][0, 0, 0]


def test_pictures_show_the_averages_and_leave_the_parameters(tmp_path, uninterrupted):
    train(Sums(), replace(PLAN, picture_every=5), tmp_path)
    assert shown(tmp_path, 12) == error_of(uninterrupted, "ema", 12) != error_of(uninterrupted, "trained", 12)
    assert sorted(path.name[-6:-4] for path in (tmp_path / "pictures").iterdir()) == ["05", "10", "12"]
    assert_same_bits(state(tmp_path), uninterrupted)


def test_a_picture_of_another_kind_is_refused(tmp_path):
    task = Sums()
    task.pictures = lambda step: {"flat": np.zeros((4, 4), np.uint8)}
    with pytest.raises(ValueError, match=r"'flat' is uint8 \[4, 4\]; it must be uint8 \[H, W, 3\]"):
        train(task, replace(PLAN, steps=2), tmp_path)


def test_the_board_and_the_log_tell_every_metric_once(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_at(patch, 25)  # after some steps were told that are done again
        train(Sums(), replace(PLAN, log_every=1), tmp_path)
    train(Sums(), replace(PLAN, log_every=1), tmp_path)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(board.Tags()["scalars"]) == {"loss", "error", "gradient_norm", "learning_rate", "samples_per_second"}
    assert [event.step for event in board.Scalars("loss")] == list(range(1, 13))
    rates = [event.value for event in board.Scalars("learning_rate")]
    assert rates == pytest.approx([PLAN.rate(step) for step in range(12)], rel=1e-6)
    assert [event.step for event in board.Images("error")] == [6, 12]
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert "step 12/12  loss" in lines[-1] and lines[-1].endswith("0:00:00 left")
    assert logging.getLogger("steadydancer_pack.training.run_logger").handlers == []


class Uneven(Sums):
    """Batches of 6 samples in the first 3 steps, then of 2."""

    def batch(self, step, generator):
        self.batch_size = 6 if step < 3 else 2
        return super().batch(step, generator)


def test_the_speed_counts_the_samples_that_were_there(tmp_path, monkeypatch):
    monkeypatch.setattr(Clock, "seconds_per_step", lambda clock: 0.5)
    plan = replace(PLAN, steps=8, log_every=4, accumulate=2)
    train(Uneven(), plan, tmp_path)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in board.Scalars("samples_per_second")] == [20.0, 8.0]  # (3 * 12 + 4) / 4 / 0.5


def test_the_learning_rate_warms_up_and_falls():
    plan = Plan(steps=110, learning_rate=1.0, batch_size=1, warmup=10, floor=0.2)
    assert [plan.rate(step) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert [plan.rate(step) for step in (10, 60, 110)] == pytest.approx([1.0, 0.6, 0.2])
    assert replace(plan, decay="constant").rate(109) == 1.0


def test_seeds_of_steps_and_processes_differ():
    seeds = {step_seed(*key) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}
    assert len(seeds) == 4 and all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decay": "linear"}, "decay is 'linear'; it must be one of constant, cosine"),
        ({"precision": "bfloat16"}, "precision is 'bfloat16'; it must be one of no, bf16, fp16"),
        ({"steps": 0}, "steps is 0; it must be 1 or more"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; it must be below 1"),
        ({"shard": True, "precision": "fp16"}, "shard does not go with precision fp16"),
    ],
)
def test_a_plan_out_of_range_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(PLAN, **change)


def test_a_module_that_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="there is nothing to train"):
        OptimizerState(Regression().requires_grad_(False), PLAN)
    with pytest.raises(ValueError, match=r"5 trained parameters are not float32, such as offset"):
        OptimizerState(Regression().bfloat16(), PLAN)
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        OptimizerState(Regression(), replace(PLAN, precision="fp16"))
