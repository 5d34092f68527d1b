"""Files that are whole or not there, also when two runs choose the same name or one is killed."""

import errno
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from steadydancer_pack.media import atomic_write as module
from steadydancer_pack.media.atomic_write import UNFINISHED, Numbered, atomic_write, atomic_write_new
from steadydancer_pack.tests.together import meeting, together

PACK = Path(__file__).resolve().parents[2]
COUNT = 8


@pytest.fixture(params=["hard links", "no hard links"])
def links(request, monkeypatch):
    """Run the test where files can have two names, and where they cannot."""

    def refuse(source, target):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "File exists", target)
        raise PermissionError(errno.EPERM, "Operation not permitted", source)

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse)


def write_file(part, text):
    part.write_text(text)


def write_folder(part, text):
    part.mkdir()
    (part / "text").write_text(text)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_two_that_begin_together_keep_all_their_files(tmp_path, links, write):
    write = meeting(write)

    def run(name):
        paths = {}
        for i in range(COUNT):
            with atomic_write_new(Numbered(tmp_path, "clip", ".bin")) as new:
                write(new.part, f"{name} {i}")
            paths[new.path] = f"{name} {i}"
        return paths

    first, second = together(lambda: run("a"), lambda: run("b"))
    assert first.keys().isdisjoint(second)
    assert sorted(tmp_path.iterdir()) == sorted({**first, **second})
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"clip_{i:05}_.bin" for i in range(1, 2 * COUNT + 1)]
    for path, text in {**first, **second}.items():
        assert (path / "text" if path.is_dir() else path).read_text() == text


def test_two_processes_that_begin_together_keep_all_their_files(tmp_path):
    code = (
        "import sys; from pathlib import Path; from media.atomic_write import Numbered, atomic_write_new\n"
        "sys.stdin.readline()\n"
        "for i in range(100):\n"
        "    with atomic_write_new(Numbered(Path(sys.argv[1]), 'clip', '.bin')) as new:\n"
        "        new.part.write_text(f'{sys.argv[2]} {i}')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen([*command, name], cwd=PACK, stdin=subprocess.PIPE, text=True) for name in "ab"]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        process.stdin.close()
    texts = [path.read_text() for path in tmp_path.iterdir()]
    assert len(texts) == 200 and set(texts) == {f"{name} {i}" for name in "ab" for i in range(100)}


@pytest.mark.parametrize("moment", ["written", "linked"])
def test_a_kill_leaves_nothing_or_a_whole_file_under_the_name(tmp_path, moment):
    code = (
        "import os, signal, sys; from pathlib import Path; from media.atomic_write import Numbered, atomic_write_new\n"
        "kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "link = os.link\n"
        "os.link = kill if sys.argv[2] == 'written' else lambda *names: kill(link(*names))\n"
        "with atomic_write_new(Numbered(Path(sys.argv[1]), 'clip', '.bin')) as new: new.part.write_text('whole')\n"
    )
    if os.name == "nt":
        pytest.skip("Windows renames in one step.")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path), moment], cwd=PACK).returncode == -9
    named = [path.read_text() for path in tmp_path.iterdir() if path.suffix != UNFINISHED]
    assert named == ([] if moment == "written" else ["whole"])
    assert [path.name[0] for path in tmp_path.glob(f"*{UNFINISHED}")] == ["."]


def test_a_new_file_never_replaces_one_and_atomic_write_does(tmp_path, links):
    taken, free = tmp_path / "a", tmp_path / "b"
    taken.write_text("old")
    with atomic_write_new([taken, free]) as new:
        new.part.write_text("new")
    assert (new.path, taken.read_text(), free.read_text()) == (free, "old", "new")
    with pytest.raises(FileExistsError), atomic_write(taken, overwrite=False) as part:
        part.write_text("newer")
    assert (taken.read_text(), sorted(tmp_path.iterdir())) == ("old", [taken, free])
    with atomic_write(taken) as part:
        part.write_text("newer")
        assert taken.read_text() == "old"
    assert (taken.read_text(), sorted(tmp_path.iterdir())) == ("newer", [taken, free])


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_an_error_leaves_nothing(tmp_path, write):
    with pytest.raises(KeyboardInterrupt), atomic_write_new([tmp_path / "a"]) as new:
        write(new.part, "half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def fail(monkeypatch, number, *calls):
    """Let each of the calls (owner, name) fail with the error of that number."""

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    for call in calls:
        monkeypatch.setattr(*call, refuse)


def test_what_cannot_be_cleaned_up_does_not_hide_the_error(tmp_path, monkeypatch):
    fail(monkeypatch, errno.EACCES, (Path, "unlink"), (Path, "is_dir"))  # in a folder that cannot be searched
    with pytest.raises(ValueError, match="the first error"), atomic_write(tmp_path / "a") as part:
        part.write_text("half")
        raise ValueError("the first error")


def test_a_name_that_was_reserved_in_vain_is_given_back(tmp_path, monkeypatch):
    fail(monkeypatch, errno.ENOSPC, (os, "link"), (os, "replace"))
    with pytest.raises(OSError, match="No space left"), atomic_write_new([tmp_path / "a"]) as new:
        new.part.write_text("whole")
    assert list(tmp_path.iterdir()) == []


def test_two_that_write_the_same_results_both_succeed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", meeting(os.replace))

    def write(text):
        with atomic_write(tmp_path / "results.json") as part:
            part.write_text(text)

    together(*(partial(write, text) for text in ("one", "other")))
    assert [path.read_text() in ("one", "other") for path in tmp_path.iterdir()] == [True]


def keep_in_use(monkeypatch, times, on_windows=True):
    """Let another program have every file open as on Windows, so that renaming fails `times` times."""

    def in_use(rename):
        errors = iter([PermissionError(errno.EACCES, "The process cannot access the file")] * times)

        def refuse(source, target):
            if error := next(errors, None):
                raise error
            rename(source, target)

        return refuse

    monkeypatch.setattr(module, "ON_WINDOWS", on_windows)
    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, in_use(getattr(os, name)))


def replace_a_file(folder):
    (folder / "a").write_text("old")
    with atomic_write(folder / "a") as part:
        part.write_text("new")


def add_a_file(folder):
    with atomic_write_new([folder / "a"]) as new:
        new.part.write_text("new")


def add_a_folder(folder):
    with atomic_write_new([folder / "a"]) as new:
        new.part.mkdir()


@pytest.mark.parametrize("write", [replace_a_file, add_a_file, add_a_folder])
def test_a_file_that_another_program_opens_for_a_moment_gets_its_name(tmp_path, links, monkeypatch, write):
    keep_in_use(monkeypatch, 4)
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").is_dir() or (tmp_path / "a").read_text() == "new"


@pytest.mark.parametrize(("on_windows", "seconds"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("write", [replace_a_file, add_a_folder])
def test_a_file_that_stays_in_use_is_given_up_after_a_second(tmp_path, monkeypatch, write, on_windows, seconds):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    keep_in_use(monkeypatch, 100, on_windows)
    with pytest.raises(PermissionError, match="cannot access the file"):
        write(tmp_path)
    assert sum(waits) == pytest.approx(seconds)
    assert [path.read_text() for path in tmp_path.iterdir()] == (["old"] if write is replace_a_file else [])


OLD, YOUNG = module.LEFT_BEHIND_SECONDS + 60, module.LEFT_BEHIND_SECONDS - 60
OWN = ".0123456789abcdef0123456789abcdef"
FOREIGN = [f"{OWN}.mp4", "model.safetensors.part", ".notes.part", "0123456789.tmp"]
LEFT = [(f"{OWN}.part", OLD, True), (f"{OWN}.part", YOUNG, False), *((name, OLD, False) for name in FOREIGN)]


@pytest.mark.parametrize("write", [replace_a_file, add_a_file])
@pytest.mark.parametrize("name, age, goes", LEFT)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_write_removes_what_killed_writers_left(tmp_path, write, name, age, goes, kind):
    left = tmp_path / name
    if kind == "folder":
        left.mkdir()
        (left / "report.md").write_text("half")
    else:
        left.write_text("half")
    os.utime(left, (time.time() - age,) * 2)
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == ({"a"} if goes else {"a", name})


def test_a_link_of_that_name_is_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    link = tmp_path / f"{OWN}.part"
    link.symlink_to(tmp_path / "mine")
    os.utime(link, (0, 0), follow_symlinks=False)
    add_a_file(tmp_path)
    assert (tmp_path / "mine").is_dir()


def test_what_cannot_be_swept_stops_no_writer(tmp_path, monkeypatch):
    fail(monkeypatch, errno.EACCES, (os, "scandir"))
    add_a_file(tmp_path)
    assert (tmp_path / "a").read_text() == "new"
