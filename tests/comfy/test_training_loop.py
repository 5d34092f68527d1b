"""The training loop: the same weights whatever happens to the process, and the arithmetic of a step."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from steadydancer_pack.tests.training_double import PACK, Regression, Sums
from steadydancer_pack.tests.two_processes import run_two
from steadydancer_pack.training import checkpoints, pipeline
from steadydancer_pack.training.full import FullFiles, run_full
from steadydancer_pack.training.latents import ARRAYS, Store
from steadydancer_pack.training.loop import Plan, step_seed, train
from steadydancer_pack.training.optimizer_state import MOMENTS, OptimizerState
from steadydancer_pack.training.pipeline import Work, run_stage
from steadydancer_pack.training.processes import leave
from steadydancer_pack.training.run_logger import Clock
from steadydancer_pack.training.start import HEAD, fingerprint, start_of

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
SHORT = replace(PLAN, decay="constant", steps=4)


@pytest.fixture(scope="module", autouse=True)
def on_the_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    train(Sums(), PLAN, folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(finished):
    return state(finished)


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


class Killed(BaseException):
    """Stands for the death of the process: nothing may catch it."""


DEATHS = [*(("batch", step) for step in (0, 3, 4, 11)), ("file", 2), ("file", 6)]  # a checkpoint follows step 3
SHARD_DEATHS = [("batch", 9), ("shard", 2), ("name", 2)]  # while one is written, half written, and not named yet
SHARDED = replace(PLAN, sharded_checkpoints=True)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folders of runs that were killed, by their deaths."""
    folders = {death: tmp_path_factory.mktemp(death[0]) for death in DEATHS + SHARD_DEATHS}
    plans = {death: SHARDED if death in SHARD_DEATHS else PLAN for death in folders}
    jobs = [(str(folder), asdict(plans[death]), *death) for death, folder in folders.items()]
    done = subprocess.run([sys.executable, str(DOUBLE), json.dumps(jobs)], capture_output=True, text=True, timeout=600)
    assert done.stdout == json.dumps([-signal.SIGKILL] * len(jobs)), done.stderr
    return folders


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system forks no process")
@pytest.mark.parametrize("death", DEATHS, ids=lambda death: " ".join(map(str, death)))
def test_a_killed_process_goes_on_to_the_same_bits(killed, uninterrupted, death):
    train(Sums(), PLAN, killed[death])
    assert_same_bits(state(killed[death]), uninterrupted)


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

    own = (checkpoints, "save_file"), (checkpoints, "_flush"), (checkpoints.shutil, "rmtree")
    for owner, name in (*own, (Path, "mkdir"), (Path, "rename"), (Path, "write_text")):
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


def test_a_finished_folder_is_returned_at_once(finished, uninterrupted):
    again = Sums()
    result = train(again, PLAN, finished)
    assert again.drawn == []
    blocks = [f"blocks.{i}.{kind}" for i in range(2) for kind in ("weight", "bias")]
    assert list(result) == ["offset", *blocks]
    assert_same_bits(result, {name: uninterrupted["ema", name] for name in result})
    assert_same_bits(
        {name: p for name, p in again.module.named_parameters() if p.requires_grad},
        {name: uninterrupted["trained", name] for name in result},
    )


def test_a_run_may_grow(tmp_path):
    plan = replace(PLAN, decay="constant", steps=5)
    train(Sums(), plan, tmp_path / "grown")
    task = Sums()
    grown = train(task, replace(plan, steps=12, log_every=1, checkpoint_every=0, picture_every=0), tmp_path / "grown")
    assert sorted(set(task.drawn)) == list(range(5, 12))
    assert_same_bits(grown, train(Sums(), replace(plan, steps=12), tmp_path / "whole"))


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest(tmp_path):
    plan = replace(SHORT, optimizer="muon", warmup=0, weight_decay=0.0, steps=1)
    before, adamw = Sums().module.state_dict(), train(Sums(), replace(plan, optimizer="adamw"), tmp_path / "adamw")
    train(Sums(), plan, tmp_path / "muon")
    found = state(tmp_path / "muon", 1)
    kinds = {name.rpartition(".")[::2] for file, name in found if file == "adam"}
    adam = {(name, kind) for name in ("offset", "blocks.0.bias", "blocks.1.bias") for kind in MOMENTS[:3]}
    assert kinds == adam | {(f"blocks.{i}.weight", "momentum_buffer") for i in range(2)}
    for name in ("offset", "blocks.0.bias", "blocks.1.bias"):
        assert torch.equal(found["ema", name], adamw[name])
    for i, (rows, columns) in enumerate(((16, 6), (1, 16))):
        change = before[f"blocks.{i}.weight"] - found["trained", f"blocks.{i}.weight"]
        values = torch.linalg.svdvals(change) / (plan.learning_rate * 0.2 * max(rows, columns) ** 0.5)
        assert (values > 0.5).all() and (values < 1.3).all()  # orthogonal, up to Newton-Schulz


def test_muon_takes_the_kernels_of_a_vae_as_matrices(tmp_path):
    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.vae = torch.nn.Sequential(torch.nn.Conv3d(3, 16, 3), torch.nn.SiLU(), torch.nn.Conv3d(16, 3, 1))

        def forward(self, batch):
            return {"loss": self.vae(batch["video"]).square().mean()}

    class Clips:
        fill = None

        def __init__(self):
            self.module = Layers()

        def batch(self, _step, generator):
            return {"video": torch.randn(1, 3, 3, 4, 4, generator=generator)}

        def validate(self):
            return {}

        def pictures(self, _step):
            return {}

    plan = replace(SHORT, optimizer="muon", warmup=0, steps=1, clip_norm=0, accumulate=1)
    module = Layers()
    matrix = torch.nn.Parameter(module.vae[0].weight.detach().clone().flatten(1))
    train(Clips(), plan, tmp_path / "one")
    found = state(tmp_path / "one", 1)
    kinds = {name.rpartition(".")[::2] for file, name in found if file == "adam"}
    rest = {(name, kind) for name in ("vae.0.bias", "vae.2.weight", "vae.2.bias") for kind in MOMENTS[:3]}
    assert kinds == rest | {("vae.0.weight", "momentum_buffer")}
    module(Clips().batch(0, torch.Generator().manual_seed(step_seed(plan.seed, 0))))["loss"].backward()
    matrix.grad = module.vae[0].weight.grad.flatten(1)
    torch.optim.Muon([matrix], plan.learning_rate, plan.weight_decay, adjust_lr_fn="match_rms_adamw").step()
    assert torch.equal(found["trained", "vae.0.weight"].flatten(1), matrix)
    for name in ("one", "whole"):
        train(Clips(), replace(plan, steps=3), tmp_path / name)
    assert_same_bits(state(tmp_path / "one", 3), state(tmp_path / "whole", 3))


def test_a_run_with_muon_goes_on_to_the_same_bits(tmp_path):
    plan = replace(SHORT, optimizer="muon", steps=6)
    train(Sums(), replace(plan, steps=3), tmp_path / "resumed")
    for name in ("resumed", "whole"):
        train(Sums(), plan, tmp_path / name)
    assert_same_bits(state(tmp_path / "resumed", 6), state(tmp_path / "whole", 6))


def whole(folder):
    """Return all tensors of the newest checkpoint by file and name."""
    found = checkpoints.load(folder)
    return {
        (kind, name): tensor for kind in checkpoints.TENSORS for name, tensor in sorted(getattr(found, kind).items())
    }


def sorted_state(tensors):
    return {key: tensor.reshape(1) if not tensor.ndim else tensor for key, tensor in sorted(tensors.items())}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system forks no process")
@pytest.mark.parametrize("death", SHARD_DEATHS, ids=lambda death: " ".join(map(str, death)))
def test_a_process_that_is_killed_while_it_writes_in_the_background_goes_on_to_the_same_bits(
    killed, uninterrupted, death
):
    kept = [path.name for path in checkpoints.complete(killed[death])]
    assert kept == ["step-0000004"] or (death[0] == "batch" and kept == ["step-0000008"])
    train(Sums(), SHARDED, killed[death])
    assert_same_bits(sorted_state(whole(killed[death])), sorted_state(uninterrupted))
    assert [path.name for path in (killed[death] / "checkpoints").iterdir()] == ["step-0000012"]


def test_sharded_and_whole_checkpoints_go_on_from_each_other(tmp_path, uninterrupted):
    for name, plans in (("to whole", (SHARDED, PLAN)), ("to shards", (PLAN, SHARDED))):
        with pytest.raises(RuntimeError, match="no longer finite"):
            train(Sums(broken=9), plans[0], tmp_path / name)
        assert checkpoints.load(tmp_path / name).step == 8
        train(Sums(), plans[1], tmp_path / name)
        assert_same_bits(sorted_state(whole(tmp_path / name)), sorted_state(uninterrupted))
        again = train(Sums(), plans[1], tmp_path / name)
        assert_same_bits(again, {name: uninterrupted["ema", name] for name in again})


def test_a_damaged_shard_is_refused_in_words(tmp_path):
    train(Sums(), replace(SHORT, sharded_checkpoints=True), tmp_path)
    (shard,) = (tmp_path / "checkpoints" / "step-0000004").glob("shard-*")
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="step-0000004 cannot be read: a checksum differs"):
        train(Sums(), replace(SHORT, sharded_checkpoints=True, steps=6), tmp_path)


class Halves(Sums):
    """Its module gives its loss in two parts, one after the other."""

    def __init__(self):
        super().__init__()
        module, self.asked = self.module, []

        def forward(batch, part):
            self.asked.append(part)
            return {"loss": module.errors(batch).square().mean() / 2, part: torch.tensor(1.0)}

        module.drop.p, module.passes, module.forward = 0.0, ("first", "second"), forward


def test_parts_of_a_loss_are_differentiated_one_after_the_other_and_add_up(tmp_path):
    whole = Sums()
    whole.module.drop.p = 0.0
    wanted = train(whole, replace(SHORT, accumulate=1, log_every=1), tmp_path / "whole")
    halves = Halves()
    found = train(halves, replace(SHORT, accumulate=1, log_every=1), tmp_path / "halves")
    assert halves.asked == ["first", "second"] * 4
    torch.testing.assert_close(found, wanted)
    boards = [EventAccumulator(str(tmp_path / name / "tensorboard")).Reload() for name in ("whole", "halves")]
    losses = [[event.value for event in board.Scalars("loss")] for board in boards]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5) and boards[1].Scalars("first")[0].value == 1


def test_the_validation_loss_is_that_of_the_averages_and_leaves_the_run_as_it_is(tmp_path, uninterrupted):
    class Validated(Sums):
        def validate(self):
            torch.rand(1)
            return {"validation_loss": float(self.module.offset)}

    train(Validated(), replace(PLAN, picture_every=5), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("validation_loss")
    assert [event.step for event in events] == [5, 10, 12]
    assert events[-1].value == pytest.approx(uninterrupted["ema", "offset"].item())
    assert_same_bits(state(tmp_path), uninterrupted)
    assert "validation_loss" in (tmp_path / "train.log").read_text()


def test_another_plan_or_module_is_refused(tmp_path):
    train(Sums(), replace(PLAN, steps=4), tmp_path)
    with pytest.raises(ValueError, match=r"another plan: learning_rate is 0.1, there 0.02; steps is 2, there 4"):
        train(Sums(), replace(PLAN, learning_rate=0.1, steps=2), tmp_path)
    task = Sums()
    task.module.blocks[1] = torch.nn.Linear(16, 2)
    with pytest.raises(ValueError, match=r"2 parameters differ, such as blocks.1.weight: \[2, 16\] in the module"):
        train(task, replace(PLAN, steps=4), tmp_path)


def test_numbers_that_are_not_finite_stop_the_run_and_leave_its_checkpoint(tmp_path):
    with pytest.raises(RuntimeError, match=r"no longer finite at step 7: loss (inf|nan), error 0\.\d+, gradient_norm"):
        train(Sums(broken=6), PLAN, tmp_path)
    assert all(tensor.isfinite().all() for tensor in state(tmp_path, 4).values())
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-0000004"]


def test_a_process_that_does_not_answer_is_told_in_words(tmp_path):
    def silent(*_):
        raise RuntimeError("[unbound_buffer.cc:78] Timed out waiting 3000ms for recv operation to complete")

    task = Sums()
    task.batch = silent
    with pytest.raises(RuntimeError, match=r"did not answer in time \(.*3000ms.*\). It failed, .* raise --timeout"):
        train(task, PLAN, tmp_path)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_gradient_that_is_not_finite_is_named(tmp_path, precision):
    def break_gradient(layer, args, output):
        output.register_hook(lambda gradient: gradient * torch.nan)

    task = Sums()
    task.module.blocks[0].register_forward_hook(break_gradient)
    named = r"step 1: loss \d.* Of 5 gradients 2 are not finite: blocks\.0\.weight, blocks\.0\.bias\. The last"
    with pytest.raises(RuntimeError, match=named):
        train(task, replace(PLAN, precision=precision), tmp_path)


def by_hand(plan, processes=1):
    """Return parameters and averages after `plan`, written out without the loop's own arithmetic."""
    task = Sums()
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
    return {**{("trained", n): p.detach() for n, p in trained.items()}, **{("ema", n): a for n, a in averages.items()}}


def assert_close(found, wanted):
    torch.testing.assert_close({key: found[key] for key in wanted}, wanted, rtol=2e-4, atol=2e-5)


def test_a_run_is_what_its_arithmetic_says(uninterrupted):
    assert_close(uninterrupted, by_hand(PLAN))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Runs of two processes by whether their parameters are sharded: plan, folder, folder that was gone on with; and
    folders of sharded runs in bf16 by whether their blocks are collected so."""
    runs, jobs = {}, []
    for shard in (False, True):
        plan = replace(PLAN, shard=shard, steps=6, decay="constant")
        runs[shard] = plan, *(tmp_path_factory.mktemp("run") for _ in range(2))
        whole, resumed = map(str, runs[shard][1:])
        jobs += [(whole, asdict(plan)), (resumed, asdict(replace(plan, steps=3))), (resumed, asdict(plan))]
        written = replace(plan, sharded_checkpoints=True)
        runs["sharded", shard] = tmp_path_factory.mktemp("run")
        resumed = str(runs["sharded", shard])
        jobs += [(resumed, asdict(replace(written, steps=3))), *[(resumed, asdict(written))] * 2]  # then a finished one
    for bf16 in (False, True):
        runs["bf16", bf16] = tmp_path_factory.mktemp("run")
        jobs.append((str(runs["bf16", bf16]), asdict(replace(plan, precision="bf16", bf16_shards=bf16))))
    status, said = run_two(str(DOUBLE), json.dumps(jobs))
    assert status == 0, said
    return runs


@pytest.mark.parametrize("shard", [False, True])
def test_two_processes_average_their_gradients(shared, shard):
    plan, folder, resumed = shared[shard]
    found = state(folder, 6)
    assert_close(found, by_hand(plan, processes=2))
    assert shown(folder, 6) == error_of(found, "ema", 6)
    assert_same_bits(state(resumed, 6), found)


@pytest.mark.parametrize("shard", [False, True])
def test_what_two_processes_wrote_in_shards_one_process_reads_and_goes_on_from(shared, shard, tmp_path):
    """They went on from shards of their own too."""
    plan, folder, _ = shared[shard]
    assert_same_bits(sorted_state(whole(shared["sharded", shard])), sorted_state(state(folder, 6)))
    files = [path.name for path in (shared["sharded", shard] / "checkpoints" / "step-0000006").glob("shard-*")]
    assert len(files) == 2
    longer, results = replace(plan, steps=8), []
    for name, begun in (("whole", folder), ("sharded", shared["sharded", shard])):
        shutil.copytree(begun / "checkpoints", tmp_path / name / "checkpoints")
        results.append(train(Sums(), longer, tmp_path / name))
    assert_same_bits(*results)


def test_blocks_that_are_collected_in_bfloat16_train_to_the_same_bits(shared):
    """As autocast rounds them before a linear layer anyway."""
    folders = [shared["bf16", bf16] for bf16 in (False, True)]
    assert [json.loads((folder / "dtypes.json").read_text()) for folder in folders] == [
        ["torch.float32"],
        ["torch.bfloat16"],
    ]
    assert_same_bits(state(folders[1], 6), state(folders[0], 6))


def test_bfloat16_rounds_the_pass_and_keeps_float32_parameters(tmp_path, uninterrupted):
    for name, tensor in train(Sums(), replace(PLAN, precision="bf16"), tmp_path).items():
        exact = uninterrupted["ema", name]
        assert tensor.dtype == torch.float32
        assert 0 < (tensor - exact).norm() < 0.05 * exact.norm()


def shown(folder, step):
    """Return the one value of the picture of a step."""
    picture = np.asarray(Image.open(folder / "pictures" / f"error-{step:07d}.png"))
    assert picture.shape == (2, 3, 3)
    return picture[0, 0, 0]


@torch.no_grad()
def error_of(tensors, file, step):
    """Return the value that the picture of a step has with the tensors of a checkpoint's file."""
    task = Sums()
    task.module.load_state_dict({name: t for (kind, name), t in tensors.items() if kind == file}, strict=False)
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
    train(Uneven(), replace(PLAN, steps=8, log_every=4), tmp_path)
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
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; it must be one of adamw, muon"),
        ({"timeout": -1.0}, "timeout is -1.0; it must be 0 or more"),
        ({"timeout": float("nan")}, "timeout is nan; it must be 0 or more"),
        ({"timeout": float("inf")}, "timeout is inf; it must be 10080 minutes, a week, or less"),
        ({"shard": True, "bf16_shards": True}, "bf16_shards needs shard and precision bf16"),
        ({"shard": True, "optimizer": "muon"}, "shard does not go with optimizer muon, which needs whole matrices"),
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


def weights(path, value, count=1):
    save_file({"w": torch.full((count,), float(value))}, path)
    return path


def store(folder, count):
    folder.mkdir()
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", np.zeros((count, 2, 3), np.float16))
    return Store(folder)


START = {"weights": "1 GB, hash a", "clips": "7 of [2]"}


@pytest.mark.parametrize("began", [{}, START], ids=["an old checkpoint", "the same start"])
def test_a_run_goes_on_from_the_same_start_or_one_that_was_not_kept_and_from_no_other(tmp_path, began):
    train(Sums(), SHORT, tmp_path, began)
    task = Sums()
    train(task, replace(SHORT, steps=6), tmp_path, START)
    assert sorted(set(task.drawn)) == [4, 5]
    with pytest.raises(ValueError, match="with other files. weights: now 1 GB, hash b, then 1 GB, hash a. Name the fi"):
        train(Sums(), replace(SHORT, steps=7), tmp_path, START | {"weights": "1 GB, hash b"})


def test_weights_of_one_size_and_one_header_are_told_apart(tmp_path):
    one, same, other = (weights(tmp_path / f"{name}.safetensors", name == "other") for name in ("one", "same", "other"))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    large = [fingerprint(weights(tmp_path / f"{value}.safetensors", value, HEAD)) for value in (3, 4)]
    assert large[0] != large[1] and all(text.startswith("4.19 MB, hash ") for text in large)


def test_a_start_tells_weights_clips_and_teacher(tmp_path):
    file, clips = weights(tmp_path / "a.safetensors", 1), store(tmp_path / "clips", 5)
    assert start_of(None, [clips]) == {"weights": "fresh ones", "clips": "5 of [2, 3]"}
    assert start_of(file, [clips], file)["teacher"] == start_of(file, [clips])["weights"] == fingerprint(file)


def test_the_stages_of_the_miniature_tell_their_start(tmp_path, monkeypatch):
    starts = []

    def train_nothing(task, plan, folder, start, _stop):
        starts.append(start)
        raise Killed

    monkeypatch.setattr(pipeline, "train", train_nothing)
    for place, value in (("base", 1), ("stage1", 2), ("elsewhere", 3)):
        (tmp_path / place).mkdir()
        weights(tmp_path / place / "weights.safetensors", value)
    task = SimpleNamespace(batches=SimpleNamespace(store=store(tmp_path / "store", 5)), result=None)
    monkeypatch.setattr(pipeline, "prepare", lambda *_: task)
    for name, before in (("base", ""), ("stage2", ""), ("stage2", "elsewhere")):
        with pytest.raises(Killed):
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
    advice = "Delete it to go on with more steps; delete its folder to train again."
    assert caplog.messages == [f"SteadyDancer: {there} is there already. {advice}"] * 2


# the thread of the collective waits for the interpreter lock, which the main thread keeps until it leaves
UNFINISHED = """
import sys, time
import torch
import torch.distributed as dist
from comfy_client.in_process import use_pack
use_pack()
from steadydancer_pack.training.processes import leave
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
tensor = torch.ones(1)
sys.stdout.write("trained")
sys.setswitchinterval(100)
dist.all_reduce(tensor, async_op=True)
end = time.monotonic() + 0.3
while time.monotonic() < end:
    pass
leave(3)
"""


def test_a_process_leaves_while_a_thread_of_gloo_holds_a_tensor():
    done = subprocess.run([sys.executable, "-c", UNFINISHED], cwd=PACK, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (3, "trained"), done.stderr


def test_a_process_alone_exits_as_usual():
    with pytest.raises(SystemExit, match="^3$"):
        leave(3)
