"""A safetensors file written in pieces: stopped anywhere, it ends as the same bytes or not at all."""

import errno
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from steadydancer_pack.media import atomic_write
from steadydancer_pack.media.byte_size import size_text
from steadydancer_pack.steadydancer_core.weights import convert_file
from steadydancer_pack.steadydancer_core.weights.convert_file import PartFile, Piece, UnfitWeights, write_safetensors

SETTLE = 2000
MATRIX_END = 3236  # where the tensor ends behind which a run of 2000 bytes is recorded
POSITIONS = (1, 500, 1024, 2500, 4000, 9000, 10**9)


class Killed(BaseException):
    """Stands for whatever ends the run in the middle."""


def made(name, dtype, *shape):
    generator = torch.Generator().manual_seed(len(name))
    return torch.randn(shape, generator=generator).to(dtype)


TENSORS = {
    "scalar": made("scalar", torch.float32),
    "bias": made("bias", torch.float32, 100),
    "matrix": made("matrix", torch.float16, 40, 30),
    "last": made("last", torch.float8_e4m3fn, 999),
    "its_scale": made("its_scale", torch.float32),
    "odd": made("odd", torch.bfloat16, 3, 1, 701),
}


def specs(*names):
    return tuple((name, TENSORS[name].dtype, tuple(TENSORS[name].shape)) for name in names)


def piece(*names):
    """Tensors in parts of 300 values."""
    return Piece(specs(*names), lambda: (part for n in names for part in TENSORS[n].reshape(-1).split(300)))


PIECES = [piece("scalar"), piece("bias"), piece("matrix"), piece("last", "its_scale"), piece("odd")]


def write(target, work="this", **options):
    return write_safetensors(target, PIECES, {"b": "2", "a": "1"}, work, settle_bytes=SETTLE, **options)


def stop_at(position):
    """A progress callback that ends the run once that number of bytes is written, or when all are."""

    def progress(done, total):
        if done >= min(position, total):
            raise Killed

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    target = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    write(target)
    return target.read_bytes()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model.safetensors"


def part_of(target):
    return target.with_name(f"{target.name}.part")


def test_the_file_is_what_the_library_reads(target):
    seen = []
    written = write(target, progress=lambda done, total: seen.append((done, total)))
    loaded = load_file(target)
    assert set(loaded) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert loaded[name].dtype == tensor.dtype and loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].float(), tensor.float())
    data = target.read_bytes()
    assert written == (target, len(data), hashlib.sha256(data).hexdigest(), 0)
    assert json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"] == {"a": "1", "b": "2"}
    assert seen == sorted(seen) and seen[-1] == (len(data), len(data))
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_stopped_run_goes_on_to_the_same_bytes(target, whole, position):
    with pytest.raises(Killed):
        write(target, progress=stop_at(position))
    assert not target.exists() and part_of(target).exists()
    written = write(target)
    assert target.read_bytes() == whole
    assert written.sha256 == hashlib.sha256(whole).hexdigest()
    assert 0 < written.kept <= min(position + 600, len(whole)) or position == 1
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("position", POSITIONS)
def test_so_does_a_killed_one_with_bytes_nobody_vouches_for(target, whole, position, monkeypatch):
    monkeypatch.setattr(PartFile, "__exit__", lambda self, *_: self._file.close())  # a power cut leaves no last words
    with pytest.raises(Killed):
        write(target, progress=stop_at(position))
    with part_of(target).open("ab") as file:
        file.write(b"\0" * 5000)
    monkeypatch.undo()
    written = write(target)
    assert target.read_bytes() == whole
    assert written.kept == (MATRIX_END if position > MATRIX_END else 0)


def test_it_may_be_stopped_again_and_again(target, whole):
    for position in range(1000, len(whole), 700):
        with pytest.raises(Killed):
            write(target, progress=stop_at(position))
    assert write(target).kept > MATRIX_END
    assert target.read_bytes() == whole


def stopped(target):
    with pytest.raises(Killed):
        write(target, progress=stop_at(7000))
    return part_of(target)


def flip_a_bit(part):
    data = bytearray(part.read_bytes())
    data[3000] ^= 1
    part.write_bytes(data)


def write_record(text):
    return lambda part: part.with_name(f"{part.name}.json").write_text(text)


RECORDS = "", "[]", "{", '{"work": 1, "bytes": "many"}', '{"bytes": 10}'


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink, *map(write_record, RECORDS)])
def test_what_is_damaged_starts_anew(target, whole, damage):
    damage(stopped(target))
    assert write(target).kept == 0
    assert target.read_bytes() == whole


def test_other_work_and_other_pieces_start_anew(target, whole, monkeypatch):
    stopped(target)
    assert write(target, work="another").kept == 0 and target.read_bytes() == whole
    stopped(target)
    monkeypatch.setitem(globals(), "PIECES", PIECES[::-1])
    assert write(target).kept == 0 and load_file(target).keys() == TENSORS.keys()


def disk_with(monkeypatch, free):
    monkeypatch.setattr(convert_file.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))


def fail(error):
    def failing(*_):
        raise OSError(error, "made up")

    return failing


def test_too_little_space_is_told_before_anything_is_written(target, whole, monkeypatch):
    disk_with(monkeypatch, len(whole) - 1)
    with pytest.raises(ValueError, match=r"too full for model.safetensors: 8.45 KB more are needed in .*, 8.44 KB are"):
        write(target)
    assert list(target.parent.iterdir()) == []
    disk_with(monkeypatch, len(whole))
    write(target)
    assert target.read_bytes() == whole


def test_what_is_written_already_needs_no_space(target, whole, monkeypatch):
    kept = stopped(target).stat().st_size
    disk_with(monkeypatch, len(whole) - kept - 1)
    with pytest.raises(ValueError, match="run again: it goes on where it stopped"):
        write(target)
    disk_with(monkeypatch, len(whole) - kept)
    assert write(target).kept == kept
    assert target.read_bytes() == whole


def fail_after(monkeypatch, calls, error):
    write_all = convert_file._write_all
    left = [calls]

    def failing(file, data):
        left[0] -= 1
        if left[0] < 0:
            file.write(memoryview(data)[: len(data) // 2])
            raise OSError(error, "made up")
        write_all(file, data)

    monkeypatch.setattr(convert_file, "_write_all", failing)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errno.ENOSPC, "run again: it goes on"),
        (errno.EIO, "could not be written.*Make the folder writable"),
        (errno.EFBIG, "could not be written.*Choose a folder on another disk"),
    ],
)
def test_a_disk_that_fails_in_the_middle_loses_nothing(target, whole, monkeypatch, error, text):
    fail_after(monkeypatch, 8, error)
    with pytest.raises(ValueError, match=text):
        write(target)
    assert not target.exists()
    monkeypatch.undo()
    assert write(target).kept > 3000
    assert target.read_bytes() == whole


def test_a_record_that_cannot_be_written_does_not_hide_the_full_disk(target, whole, monkeypatch):
    fail_after(monkeypatch, 8, errno.ENOSPC)
    monkeypatch.setattr(convert_file.os, "fsync", fail(errno.ENOSPC))
    with pytest.raises(ValueError, match="too full"):
        write(target)
    monkeypatch.undo()
    write(target)
    assert target.read_bytes() == whole


def test_bytes_that_do_not_reach_the_disk_get_no_name(target, monkeypatch):
    monkeypatch.setattr(convert_file.os, "fsync", fail(errno.EIO))
    with pytest.raises(ValueError, match="could not be written: made up"):
        write_safetensors(target, PIECES, {}, "this")
    assert not target.exists()


def test_weights_that_do_not_fit_leave_nothing(target):
    def rows():
        raise UnfitWeights("too large")

    with pytest.raises(UnfitWeights):
        write_safetensors(target, [*PIECES, Piece(specs("bias"), rows)], {}, "this")
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("rows", [[], [torch.zeros(99)], [torch.zeros(101)]])
def test_a_piece_of_the_wrong_length_is_never_settled(target, rows):
    with pytest.raises(RuntimeError, match="a tensor ended at byte"):
        write_safetensors(target, [Piece(specs("bias"), lambda: rows)], {}, "this")
    assert not target.exists()


def test_a_second_writer_is_noticed(target):
    part, _ = open_twice(target)
    with part.path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="has 11 bytes instead of 10: something else wrote to it"):
        part.finish()
    assert not target.exists()


def open_twice(target):
    """Return a part file of 10 bytes that is open and settled, and another one that goes on behind the first."""
    first, second = (PartFile(target, "this", 10, lambda done, total: None) for _ in range(2))
    first.resume()
    with first:
        first.append([b"0123456789"], 10, 1)
    second.resume()
    return first, second


def test_a_writer_that_comes_late_leaves_the_finished_file_alone(target):
    first, second = open_twice(target)
    with pytest.raises(ValueError, match=r"has 0 bytes instead of 10: something else wrote to it"), second:
        first.finish()
        second.append([b"x"], 11, 1)
    assert target.read_bytes() == b"0123456789"


def test_a_part_file_that_is_gone_is_not_filled_with_zeros(target):
    first, second = open_twice(target)
    first.finish()
    with pytest.raises(ValueError, match=r"has 0 bytes instead of 10: something else wrote to it"), second:
        pytest.fail("nothing can be continued")
    assert target.read_bytes() == b"0123456789"


def test_a_file_that_got_the_name_meanwhile_is_not_replaced(target, whole):
    def somebody_else(done, total):
        target.write_bytes(b"other")

    with pytest.raises(ValueError, match="appeared while this file was written, and overwriting is off"):
        write(target, progress=somebody_else, overwrite=False)
    assert target.read_bytes() == b"other"
    assert write(target).kept == len(whole) and target.read_bytes() == whole


def test_a_file_in_use_keeps_the_finished_part(target, whole, monkeypatch):
    target.mkdir()
    with pytest.raises(ValueError, match="could not get its name"):
        write(target)
    target.rmdir()
    assert write(target).kept == len(whole)
    assert target.read_bytes() == whole


def test_a_file_that_another_program_opens_for_a_moment_gets_its_name(target, whole, monkeypatch):
    """Windows refuses to rename it meanwhile."""
    replace, calls = Path.replace, []

    def refuse(source, name):
        calls.append(name)
        if calls.count(name) == 1:  # the record, then the file
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return replace(source, name)

    monkeypatch.setattr(atomic_write, "ON_WINDOWS", True)
    monkeypatch.setattr(Path, "replace", refuse)
    assert write(target).path == target and target.read_bytes() == whole
    assert calls[:2] == [target.with_name(f"{target.name}.part.json")] * 2 and calls[-2:] == [target] * 2


def test_what_killed_writers_left_beside_a_new_file_goes_and_unfinished_conversions_stay(target):
    left, unfinished = target.with_name(f".{'0' * 32}.part"), target.with_name("other.safetensors.part")
    for path in (left, unfinished):
        path.write_text("half")
        os.utime(path, (0, 0))
    write(target)
    assert sorted(path.name for path in target.parent.iterdir()) == sorted([target.name, unfinished.name])


def test_size_text():
    sizes = 0, 8_449, 999_499, 999_999, 16_410_198_058, 2 * 10**12
    assert [size_text(size) for size in sizes] == ["0 KB", "8.45 KB", "999 KB", "1 MB", "16.4 GB", "2 TB"]
