"""What the pose cache gives back, forgets and survives."""

import hashlib
import io

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
    shape = frames, KEYPOINTS
    tracks = (Track(7 + i, random.normal(0.5, 1, (*shape, 2)), random.random(shape)) for i in range(people))
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


def test_a_limit_of_0_turns_the_cache_off(tmp_path):
    PoseCache(tmp_path / "off", 0).store(KEY, make_seen())
    assert list(tmp_path.iterdir()) == []
    PoseCache(tmp_path, ROOMY).store(KEY, make_seen())
    assert PoseCache(tmp_path, 0).load(KEY) is None


def test_the_key_depends_on_the_settings_alone_not_on_their_order_or_the_run():
    assert cache_key(a=1, b={"c": [2.5, None], "d": "e"}) == cache_key(b={"d": "e", "c": [2.5, None]}, a=1)
    keys = {cache_key(), cache_key(a=1), cache_key(a="1"), cache_key(b=1), cache_key(a=1, b=1), cache_key(a=[1])}
    assert len(keys) == 6
    with pytest.raises(TypeError):
        cache_key(a=object())
    text = b'[2,{"every":4,"video":"v"}]'
    assert cache_key(video="v", every=4) == hashlib.blake2b(text, digest_size=20).hexdigest()


CHANGES = {
    "another version": {"version": cache.VERSION + 1},
    "an array missing": {"scores": None},
    "the note missing": {"note": None},
    "a frame too few": {"points": np.zeros((2, 4, KEYPOINTS, 2))},
    "single precision": {"points": np.zeros((2, 5, KEYPOINTS, 2), np.float32)},
    "pickled objects": {"identities": np.array([{}, {}], dtype=object)},
    "a picture too few": {"pictures": np.zeros((2, 9, 16, 3), np.uint8)},
    "pictures of another kind": {"pictures": np.zeros((3, 9, 16, 3))},
    "another shape": {"shape": np.array([1, 2])},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_of_another_version_is_a_miss_and_goes(tmp_path, caplog, change):
    poses = PoseCache(tmp_path, ROOMY)
    poses.store(KEY, SeenVideo(make_clip(), "", make_pictures()))
    with np.load(tmp_path / f"{KEY}.npz") as file:
        arrays = {name: array for name, array in {**file, **change}.items() if array is not None}
    changed = io.BytesIO()
    np.savez(changed, **arrays)
    poses.files.save(KEY, changed.getvalue())
    assert poses.load(KEY) is None
    assert "made anew" in caplog.text and list(tmp_path.iterdir()) == []


def test_a_clip_above_the_limit_pushes_nothing_out(tmp_path, caplog):
    size = size_of_one(tmp_path)
    poses = PoseCache(tmp_path, int(1.5 * size))
    poses.store(OTHER, make_seen(frames=50))
    assert "this result is not kept" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [f"{KEY}.npz"]
