"""Save Poses and Load Poses: schemas, where files go and come from, for other packs too, and what is refused."""

import json
import os
from pathlib import Path

import folder_paths
import numpy as np
import pytest

from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.formats.dialects import DIALECTS, write
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.nodes.pose_files import LoadPoses, SavePoses
from steadydancer_pack.tests.together import meeting, together


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Give the nodes an input/ and an output/ of their own."""
    for kind in ("input", "output"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    return tmp_path


@pytest.fixture
def clip():
    points = np.random.default_rng(0).uniform(0, 1, (4, KEYPOINTS, 2))
    return PoseClip(64, 48, 4, (Track(0, points, np.full((4, KEYPOINTS), 0.5)),))


def options():
    return next(i for i in LoadPoses.GET_SCHEMA().inputs if i.id == "file").options


def test_two_runs_that_begin_together_keep_both_files(folders, clip, monkeypatch):
    monkeypatch.setattr(pose_json, "write", meeting(write))  # both have chosen their number
    clips = clip, PoseClip(32, 24, clip.frames, clip.tracks)
    outputs = together(*(lambda c=c: SavePoses.execute(to_keypoints(c), "dance/a") for c in clips))
    paths = [output.result[1] for output in outputs]
    assert sorted(paths) == [str(folders / "output" / "dance" / f"a_0000{i}_.json") for i in (1, 2)]
    for output, path, saved in zip(outputs, paths, clips, strict=True):
        assert pose_json.load(path)[0].width == saved.width and path in str(output.ui.as_dict())


def test_saved_and_loaded_again(folders, clip):
    poses = to_keypoints(clip)
    first, second = (SavePoses.execute(poses, "dance/a", 24.0) for _ in range(2))
    assert first.result[0] is poses and SavePoses.GET_SCHEMA().is_output_node
    paths = [folders / "output" / "dance" / f"a_0000{i}_.json" for i in (1, 2)]
    assert [node.result[1] for node in (first, second)] == [str(path) for path in paths]
    assert "4 frames of 64 x 48 at 24 fps, 1 person" in str(first.ui.as_dict())
    assert options() == ["dance/a_00001_.json [output]", "dance/a_00002_.json [output]"]
    loaded = LoadPoses.execute(options()[0], fps=16.0)
    assert loaded.result == (poses, 24.0, 4)


def test_files_of_the_input_folder_come_first(folders, clip):
    (folders / "output" / "b.json").write_text("[]")
    (folders / "input" / "sub").mkdir()
    (folders / "input" / "sub" / "a.json").write_text(json.dumps(write(clip, [*DIALECTS][1])))
    (folders / "input" / "photo.png").write_text("")
    assert options() == ["sub/a.json", "b.json [output]"]
    assert LoadPoses.execute("sub/a.json", fps=30.0).result[1:] == (30.0, 4)


def test_without_any_folder(folders):
    (folders / "input").rmdir()
    assert options() == []


def test_the_size_is_asked_for_only_when_the_file_does_not_tell_it(folders, clip):
    frames = to_keypoints(clip)
    (folders / "input" / "with.json").write_text(json.dumps(frames))
    bare = [{"people": frame["people"]} for frame in frames]
    (folders / "input" / "without.json").write_text(json.dumps(bare))
    assert LoadPoses.execute("with.json", width=10, height=10).result[0] == frames
    assert LoadPoses.execute("without.json", width=64, height=48).result[0] == frames
    with pytest.raises(ValueError, match="Give the width and height"):
        LoadPoses.execute("without.json")


def test_a_changed_file_is_loaded_again(folders):
    path = folders / "input" / "a.json"
    path.write_text("[]")
    before = LoadPoses.fingerprint_inputs("a.json", fps=16.0, width=0, height=0)
    os.utime(path, ns=(1, 1))
    assert LoadPoses.fingerprint_inputs("a.json", fps=16.0, width=0, height=0) == 1 != before


@pytest.mark.parametrize("file", ["gone.json", "../secret.json", "/etc/passwd", "..\\..\\a.json", "a\0.json"])
def test_a_file_outside_is_as_if_it_were_not_there(folders, file):
    (folders / "secret.json").write_text("[]")
    assert "There is no file" in LoadPoses.validate_inputs(file)
    with pytest.raises(ValueError, match="There is no file"):
        LoadPoses.execute(file)


def test_a_file_of_another_kind_is_refused_and_a_connected_one_judged_later(folders):
    (folders / "input" / "photo.png").write_text("")
    with pytest.raises(ValueError, match=r"photo\.png is no \.json file"):
        LoadPoses.execute("photo.png")
    assert LoadPoses.validate_inputs(None) is True


OUTSIDE = "", "  ", "../a", "a/..", ".", "/a/b", "a/../../b", "a\0b", "a/", "C:\\a"


@pytest.mark.parametrize(
    ("prefix", "changes", "message"),
    [
        *((prefix, {}, "does not name a file inside") for prefix in OUTSIDE),
        ("file/b", {}, "No file can be written for 'file/b'"),
        ("a", {"poses": "pose"}, "These are no poses"),
        ("a", {"dialect": "mine"}, "There is no dialect 'mine'"),
    ],
)
def test_what_cannot_be_saved_is_refused_before_a_file_is_written(folders, clip, prefix, changes, message):
    (folders / "output" / "file").write_text("a file, no folder")
    with pytest.raises(ValueError, match=message):
        SavePoses.execute(**{"poses": to_keypoints(clip), "filename_prefix": prefix} | changes)
    assert [*folders.rglob("*.json")] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_poses_are_written_for_another_pack(folders, clip, dialect):
    poses = to_keypoints(clip)
    written = write(from_keypoints(poses), dialect)
    output, path = SavePoses.execute(poses, "a", dialect=dialect).result
    assert output == written
    assert json.loads(Path(path).read_text("utf-8")) == [{"fps": 16.0, **written[0]}, *written[1:]]
    loaded = LoadPoses.execute("a_00001_.json [output]", dialect=dialect).result[0]
    assert loaded == write(pose_json.load(path)[0], dialect)
