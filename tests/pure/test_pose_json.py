"""Pose files: exact and whole when written; every structure read that others write; anything else refused in words."""

import json
import os

import numpy as np
import pytest

from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.formats.dialects import DIALECTS, write
from steadydancer_pack.dwpose.formats.keypoints import to_keypoints
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track


@pytest.fixture
def clip():
    rng = np.random.default_rng(0)
    points, scores = rng.uniform(-0.1, 1.1, (3, KEYPOINTS, 2)), rng.uniform(0, 1, (3, KEYPOINTS))
    scores[:, :18] = 0.9
    return PoseClip(320, 240, 3, (Track(2, points, scores),))


@pytest.fixture
def load_text(tmp_path):
    """Return a function that loads a text, or what JSON makes of a value."""

    def load(content, **options):
        path = tmp_path / "poses.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return pose_json.load(path, **options)

    return load


def test_poses_come_back_exactly_with_and_without_fps(clip, tmp_path):
    path = tmp_path / "new" / "dance.json"
    pose_json.save(clip, path, 23.976)
    again, fps = pose_json.load(path)
    assert to_keypoints(again) == to_keypoints(clip) and fps == 23.976
    assert [file.name for file in path.parent.iterdir()] == ["dance.json"]
    pose_json.save(clip, tmp_path / "a.json")
    assert pose_json.load(tmp_path / "a.json")[1] is None


def test_the_file_is_what_other_packs_read(clip, tmp_path):
    pose_json.save(clip, tmp_path / "a.json", 16.0)
    text = (tmp_path / "a.json").read_text("ascii")
    first, *others = json.loads(text)
    assert first.pop("fps") == 16 and [first, *others] == to_keypoints(clip)
    assert " " not in text and ",0,0,0," in text and "0.0," not in text and len(text.splitlines()) == 5


def test_a_file_is_replaced_only_when_the_new_one_is_whole(clip, tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ValueError, match=r"could not be saved as .*a\.json: No space left on device"):
            pose_json.save(clip, path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"] and path.read_text() == "old"
    pose_json.save(clip, path)
    assert pose_json.load(path)[0].frames == 3


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_loaded(clip, load_text, dialect):
    again, fps = load_text(write(clip, dialect))
    assert (again.frames, again.width, again.height, fps) == (3, 320, 240, None)
    assert again.tracks[0].visible[:, :18].all()


def test_wrapped_as_nodes_and_editors_show_it(clip, load_text):
    frames = to_keypoints(clip)
    for wrapped in (
        {"openpose_json": [json.dumps(frames, indent=4)]},
        {"openpose_json": frames},
        {"openpose_json": json.dumps(frames)},
        [json.dumps(frame) for frame in frames],
        json.dumps(json.dumps(frames)),
        "\ufeff" + json.dumps(frames),
    ):
        assert to_keypoints(load_text(wrapped)[0]) == frames
    assert to_keypoints(load_text(frames[0])[0]) == frames[:1]


def test_openpose_itself_needs_the_canvas_and_that_of_the_file_comes_first(clip, load_text):
    (frame, *_) = write(clip, "OpenPose BODY_25 (real confidences)")
    del frame["canvas_width"], frame["canvas_height"]
    with pytest.raises(ValueError, match=r"poses\.json: .*Give the width and height"):
        load_text(frame)
    again, _ = load_text(frame, canvas=(320, 240))
    assert np.allclose(again.tracks[0].points[0, :18], clip.tracks[0].points[0, :18])
    again, _ = load_text(to_keypoints(clip), canvas=(64, 64))
    assert (again.width, again.height) == (320, 240)


@pytest.mark.parametrize("fps", [0, -1, "24", True, 1e9, None])
def test_fps_that_cannot_be(clip, load_text, fps):
    first, *others = to_keypoints(clip)
    assert load_text([{**first, "fps": fps}, *others])[1] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("hello", "is not JSON"),
        ('"hello"', "is not JSON"),
        ('[{"people": [', "is not JSON"),
        ("[" + "9" * 5000 + "]", "is not JSON|no poses"),
        ("[" * 200_000, "nested too deep"),
        ('{"openpose_json":' * 100_000, "nested too deep"),
        ("null", "holds JSON, but no poses"),
        ("[[]]", "holds JSON, but no poses"),
        ('{"1": {"class_type": "KSampler"}}', "no poses"),
        ("[]", "hold no frame"),
        ('{"people": [], "canvas_width": 0, "canvas_height": 5}', "do not state the size"),
        ('{"version": "ap10k", "animals": []}', "animals"),
    ],
)
def test_what_is_no_pose_file_is_refused_in_words(load_text, text, message):
    with pytest.raises(ValueError, match=rf"poses\.json.*({message})"):
        load_text(text)


def test_not_a_number_is_not_seen(load_text):
    body = "[" + ",".join(["NaN,5,1", *["9,9,1"] * 17]) + "]"
    text = '{"people": [{"pose_keypoints_2d": %s}], "canvas_width": 64, "canvas_height": 64}' % body  # noqa: UP031
    assert load_text(text)[0].tracks[0].scores[0, :3].tolist() == [0, 1, 1]


def test_other_files(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="cannot be read"):
        pose_json.load(tmp_path / "missing.json")
    (tmp_path / "a.json").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.json is not text"):
        pose_json.load(tmp_path / "a.json")
    monkeypatch.setattr(pose_json, "MAX_BYTES", 4)
    with pytest.raises(ValueError, match=r"a\.json has 0 MiB"):
        pose_json.load(tmp_path / "a.json")


def test_what_could_not_be_loaded_again_is_not_saved(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(pose_json, "MAX_BYTES", 4)
    with pytest.raises(ValueError, match=r"a\.json has 0 MiB; .* Save fewer frames"):
        pose_json.save(clip, tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_far_too_many_frames_are_refused_before_they_are_converted(clip, tmp_path, monkeypatch):
    """By some of them; what is near the limit is written and then counted."""
    long, converted = clip.at(np.arange(300) % 3), []
    monkeypatch.setattr(pose_json, "write", lambda clip, *given: converted.append(clip.frames) or write(clip, *given))
    pose_json.save(long, tmp_path / "a.json")
    size, (*_, everything) = (tmp_path / "a.json").stat().st_size, converted
    assert everything == 300
    for limit, wanted in ((size // 2, [64]), (size - 10, [64, 300])):
        converted.clear()
        monkeypatch.setattr(pose_json, "MAX_BYTES", limit)
        with pytest.raises(ValueError, match="Save fewer frames"):
            pose_json.save(long, tmp_path / "b.json")
        assert converted == wanted


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (3, float("nan"), "fps is nan; poses need a number above 0"),
        (3, float("inf"), "fps is inf; poses need a number above 0"),
        (0, None, "no frame of poses"),
    ],
)
def test_what_cannot_be_saved_is_refused(clip, tmp_path, frames, fps, message):
    with pytest.raises(ValueError, match=message):
        pose_json.save(clip.at(slice(frames)), tmp_path / "poses.json", fps)
    assert list(tmp_path.iterdir()) == []
