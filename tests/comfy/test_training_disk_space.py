"""A disk that is too full: it is told before rows are written, and a half-written checkpoint goes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from steadydancer_pack.training import checkpoints, command, command_steps
from steadydancer_pack.training.async_checkpoints import AsyncCheckpoints
from steadydancer_pack.training.checkpoints import Checkpoint
from steadydancer_pack.training.clip_rows import ClipRows
from steadydancer_pack.training.disk_space import new_array, reserve

resource = pytest.importorskip("resource", reason="Windows limits no file's size")


@pytest.fixture
def full():
    """Let no file be longer than 100 kB from here on: what a full disk does, as far as a process is concerned."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system gives no room in advance")
def test_an_array_has_all_of_its_blocks_from_the_start(tmp_path):
    array = new_array(tmp_path / "a.npy", (1000, 100))
    assert array.shape == (1000, 100) and array.dtype == np.float16
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 200_000


def test_what_has_no_room_is_refused_before_the_first_row_is_written(tmp_path, full):
    row, refused = np.zeros((1, 100), np.float16), r"\.part cannot be written .*needs 200 KB, .* are free"
    full()
    with pytest.raises(ValueError, match=refused):
        ClipRows(tmp_path, 1000, {}).add("a", {"x": row})
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_hides_no_full_disk(tmp_path, full, monkeypatch):
    """On Windows the map still holds the file."""

    def in_use(*_, **__):
        raise PermissionError(13, "The process cannot access the file")

    monkeypatch.setattr(Path, "unlink", in_use)
    full()
    with pytest.raises(ValueError, match="needs 200 KB"):
        new_array(tmp_path / "a.npy", (1000, 100))


def test_a_file_system_that_gives_no_room_in_advance_is_taken_as_it_is(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    reserve(tmp_path / new_array(tmp_path / "a.npy", (3,)).filename)
    assert (tmp_path / "a.npy").stat().st_size == 134


def checkpoint(step, count):
    return Checkpoint(step, {}, {"w": torch.full((count,), float(step))}, {}, {})


@pytest.mark.parametrize("name", ["trained.safetensors", "adam.safetensors", "state.json"])
def test_a_checkpoint_with_a_flipped_bit_or_a_cut_file_is_refused_in_words(tmp_path, name):
    state = Checkpoint(7, {"scaler": 65536.0}, {"w": torch.ones(3)}, {}, {"w.step": torch.ones(3)})
    checkpoints.save(tmp_path, state)
    assert checkpoints.load(tmp_path).facts == {"scaler": 65536.0}
    file = tmp_path / "checkpoints" / "step-0000007" / name
    stored = file.read_bytes()
    flipped = bytearray(stored)
    flipped[stored.index(b"6") if name == "state.json" else -2] ^= 1
    for damaged, words in ((flipped, "a checksum differs"), (stored[:-9], "")):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"step-0000007 cannot be read: {words}"):
            checkpoints.load(tmp_path)


def test_a_checkpoint_of_earlier_versions_has_no_checksum_and_a_file_for_a_folder_is_told(tmp_path):
    checkpoints.save(tmp_path, checkpoint(3, 2))
    state = tmp_path / "checkpoints" / "step-0000003" / "state.json"
    state.write_text('{"step": 3}')
    assert checkpoints.load(tmp_path).step == 3
    with pytest.raises(ValueError, match=r"checkpoints.writing cannot be written .*are free"):
        checkpoints.save(state, checkpoint(1, 10))
    with (
        pytest.raises(ValueError, match=r"checkpoints.writing cannot be written .*are free"),
        AsyncCheckpoints(state) as w,
    ):
        w.begin(1, {}, {"trained": {"w": torch.ones(10)}})


@pytest.mark.parametrize("before", [[], [1]])
def test_a_checkpoint_without_room_goes_and_the_last_one_stays(tmp_path, full, before):
    for step in before:
        checkpoints.save(tmp_path, checkpoint(step, 10))
    full()
    with pytest.raises(ValueError, match=r"checkpoints.writing .*needs 200 KB") as told:
        checkpoints.save(tmp_path, checkpoint(2, 50_000))
    assert ("is kept: step-0000001" in str(told.value)) == ("kept" in str(told.value)) == bool(before)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [f"step-{step:07d}" for step in before]
    assert not before or checkpoints.load(tmp_path).step == 1


def test_a_sharded_checkpoint_without_room_goes_and_the_last_one_stays(tmp_path, full):
    with AsyncCheckpoints(tmp_path) as writer:
        writer.begin(1, {}, {"trained": {"w": torch.ones(10)}})
        writer.finish()
        full()
        writer.begin(2, {}, {"trained": {"w": torch.ones(50_000)}})
        with pytest.raises(ValueError, match=r"checkpoints.writing .*needs 200 KB.* is kept: step-0000001"):
            writer.finish()
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000001"]
        writer.begin(3, {}, {"trained": {"w": torch.full((10,), 3.0)}})
    found = checkpoints.load(tmp_path)
    assert found.step == 3 and found.trained["w"].tolist() == [3.0] * 10


def test_the_command_tells_it_in_words(tmp_path, full, monkeypatch, capsys):
    def stage(*_):
        full()
        checkpoints.save(tmp_path, checkpoint(1, 50_000))

    monkeypatch.setattr(command_steps, "run_stage", stage)
    assert command.main(["stage1", str(tmp_path), "--accept-vae"]) == 1
    said = capsys.readouterr().err
    assert "needs 200 KB" in said and "Traceback" not in said
