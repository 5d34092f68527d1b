"""What the pose cache gives back, forgets and survives."""

import errno
import hashlib
import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.dwpose.track import pose_cache as cache
from steadydancer_pack.dwpose.track.pose_cache import PoseCache, SeenVideo, cache_key

KEY, OTHER, THIRD = (cache_key(number=number) for number in range(3))
ROOMY = 1 << 30


def make_clip(frames=5, people=2, seed=0):
    """Made-up people whose coordinates use every bit of a float64."""
    random = np.random.default_rng(seed)
    tracks = (
        Track(7 + i, random.normal(0.5, 1, (frames, KEYPOINTS, 2)), random.random((frames, KEYPOINTS)))
        for i in range(people)
    )
    return PoseClip(720, 1280, frames, tuple(tracks))


def make_seen(**clip):
    return SeenVideo(make_clip(**clip))


def assert_equal(found, clip):
    assert (found.width, found.height, found.frames) == (clip.width, clip.height, clip.frames)
    assert [track.identity for track in found.tracks] == [track.identity for track in clip.tracks]
    for a, b in zip(found.tracks, clip.tracks, strict=True):
        assert a.points.dtype == a.scores.dtype == np.float64
        assert a.points.tobytes() == b.points.tobytes() and a.scores.tobytes() == b.scores.tobytes()


def size_of_one(folder):
    """Return the bytes that one clip takes on disk."""
    PoseCache(folder, ROOMY).store(KEY, make_seen())
    return (folder / f"{KEY}.npz").stat().st_size


@pytest.mark.parametrize(("frames", "people"), [(5, 2), (1, 1), (3, 0), (0, 1), (0, 0)])
def test_a_clip_comes_back_bit_for_bit(tmp_path, frames, people):
    clip = make_clip(frames, people)
    PoseCache(tmp_path / "a" / "b", ROOMY).store(KEY, SeenVideo(clip))
    found = PoseCache(tmp_path / "a" / "b", ROOMY).load(KEY)
    assert_equal(found.clip, clip)
    assert (found.note, found.pictures) == ("", None)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [f"{KEY}.npz"]


def make_pictures():
    return {i: np.random.default_rng(i).integers(0, 256, (9, 16, 3), np.uint8) for i in (0, 2, 4)}


def test_pictures_and_a_note_come_back_with_the_clip(tmp_path):
    clip, pictures = make_clip(), make_pictures()
    PoseCache(tmp_path, ROOMY).store(KEY, SeenVideo(clip, "\u821e.mp4 breaks off.", pictures))
    found = PoseCache(tmp_path, ROOMY).load(KEY)
    assert_equal(found.clip, clip)
    assert found.note == "\u821e.mp4 breaks off." and list(found.pictures) == [0, 2, 4]
    assert all(found.pictures[i].tobytes() == picture.tobytes() for i, picture in pictures.items())


def test_the_pictures_count_and_go_before_the_poses_do(tmp_path):
    size = size_of_one(tmp_path)
    poses = PoseCache(tmp_path, size + 500)
    poses.store(KEY, SeenVideo(make_clip(), "Note.", make_pictures()))
    found = poses.load(KEY)
    assert_equal(found.clip, make_clip())
    assert (found.note, found.pictures) == ("Note.", None)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= size + 500


def test_looking_makes_no_folder_and_finds_nothing(tmp_path):
    assert PoseCache(tmp_path / "poses", ROOMY).load(KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_0_turns_the_cache_off(tmp_path):
    PoseCache(tmp_path / "off", 0).store(KEY, make_seen())
    assert list(tmp_path.iterdir()) == []
    PoseCache(tmp_path, ROOMY).store(KEY, make_seen())
    assert PoseCache(tmp_path, 0).load(KEY) is None


def test_the_key_depends_on_the_settings_and_not_on_their_order():
    assert cache_key(a=1, b={"c": [2.5, None], "d": "e"}) == cache_key(b={"d": "e", "c": [2.5, None]}, a=1)
    keys = {cache_key(), cache_key(a=1), cache_key(a="1"), cache_key(b=1), cache_key(a=1, b=1), cache_key(a=[1])}
    assert len(keys) == 6
    with pytest.raises(TypeError):
        cache_key(a=object())


def test_the_key_stays_the_same_from_run_to_run():
    text = b'[2,{"every":4,"video":"v"}]'
    assert cache_key(video="v", every=4) == hashlib.blake2b(text, digest_size=20).hexdigest()


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "ABCDEF0123456789", "0123", "0123456789abcdef.npz"])
def test_no_key_leads_out_of_the_folder(tmp_path, key):
    with pytest.raises(ValueError, match="no key of the pose cache"):
        PoseCache(tmp_path, ROOMY).load(key)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scratch(path):
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def garble(path):
    path.write_bytes(b"not a zip file" * 100)


def change(**arrays):
    def rewrite(path):
        with np.load(path) as file:
            content = {**file, **arrays}
        changed = io.BytesIO()
        np.savez(changed, **{name: array for name, array in content.items() if array is not None})
        path.write_bytes(changed.getvalue() + cache._checksum(changed.getbuffer()))

    return rewrite


DAMAGES = {
    "cut": cut,
    "scratched": scratch,
    "empty": empty,
    "no archive": garble,
    "another version": change(version=cache.VERSION + 1),
    "an array missing": change(scores=None),
    "the note missing": change(note=None),
    "a frame too few": change(points=np.zeros((2, 4, KEYPOINTS, 2))),
    "single precision": change(points=np.zeros((2, 5, KEYPOINTS, 2), np.float32)),
    "pickled objects": change(identities=np.array([{}, {}], dtype=object)),
    "a picture too few": change(pictures=np.zeros((2, 9, 16, 3), np.uint8)),
    "pictures of another kind": change(pictures=np.zeros((3, 9, 16, 3))),
    "another shape": change(shape=np.array([1, 2])),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_a_miss_and_goes(tmp_path, caplog, damage):
    poses = PoseCache(tmp_path, ROOMY)
    poses.store(KEY, SeenVideo(make_clip(), "", make_pictures()))
    damage(tmp_path / f"{KEY}.npz")
    with caplog.at_level(logging.WARNING):
        assert poses.load(KEY) is None
    assert "made anew" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_anywhere_is_a_miss(tmp_path):
    """In the archive's directory it once raised "File is encrypted", or took the name of the note away."""
    poses, path = PoseCache(tmp_path, ROOMY), tmp_path / f"{KEY}.npz"
    poses.store(KEY, SeenVideo(make_clip(1, 1), "Note.", {0: np.zeros((2, 2, 3), np.uint8)}))
    stored = path.read_bytes()
    directory = range(stored.index(b"PK\x01\x02"), len(stored))
    for place in (*range(0, directory.start, 97), *directory):
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1 << place % 8]) + stored[place + 1 :])
        assert poses.load(KEY) is None and not path.exists()


def test_what_was_unused_longest_goes_first(tmp_path):
    size = size_of_one(tmp_path)
    poses = PoseCache(tmp_path, int(2.5 * size))
    poses.store(OTHER, make_seen())
    for age, key in ((200, KEY), (100, OTHER)):
        os.utime(tmp_path / f"{key}.npz", (1e9 - age, 1e9 - age))
    assert poses.load(KEY) is not None  # now the younger one
    poses.store(THIRD, make_seen())
    assert poses.load(OTHER) is None
    assert poses.load(KEY) is not None and poses.load(THIRD) is not None


def test_a_clip_above_the_limit_pushes_nothing_out(tmp_path, caplog):
    size = size_of_one(tmp_path)
    poses = PoseCache(tmp_path, int(1.5 * size))
    with caplog.at_level(logging.INFO):
        poses.store(OTHER, make_seen(frames=50))
    assert "more than the pose cache may hold" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.npz"]


def test_storing_again_replaces(tmp_path):
    poses = PoseCache(tmp_path, ROOMY)
    poses.store(KEY, make_seen(seed=1))
    poses.store(KEY, make_seen(seed=2))
    assert_equal(poses.load(KEY).clip, make_clip(seed=2))


def test_a_full_disk_costs_the_cache_and_not_the_run(tmp_path, caplog, monkeypatch):
    def fail(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with caplog.at_level(logging.WARNING):
        PoseCache(tmp_path, ROOMY).store(KEY, make_seen())
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_the_cache_and_not_the_run(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    poses = PoseCache(tmp_path / "file" / "poses", ROOMY)
    with caplog.at_level(logging.WARNING):
        poses.store(KEY, make_seen())
    assert "could not be cached" in caplog.text
    assert poses.load(KEY) is None


def test_a_folder_that_cannot_be_looked_into_costs_the_cache_and_not_the_run(tmp_path):
    poses = PoseCache(tmp_path / ("x" * 300), ROOMY)
    poses.store(KEY, make_seen())
    assert poses.load(KEY) is None


def test_what_a_crash_left_unfinished_goes_after_an_hour(tmp_path):
    for name, mtime in (("old.part", 1e9), ("new.part", None)):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (mtime, mtime) if mtime else None)
    PoseCache(tmp_path, ROOMY).store(KEY, make_seen())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"{KEY}.npz", "new.part"])
