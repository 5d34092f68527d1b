"""The store of finished chunks: exact, whole or not there, never larger than allowed, and never in the way of a run."""

import logging
import os

import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.steadydancer_core.long_video import chunk_store
from steadydancer_pack.steadydancer_core.long_video.chunk_store import ChunkStore, as_stored

KEYS = [character * 64 for character in "abcdef"]
FRAMES = torch.rand(5, 8, 16, 3, generator=torch.Generator().manual_seed(0))
SHAPE = tuple(FRAMES.shape)
CHUNK_BYTES = FRAMES.numel() * 2 + 200  # and the header


@pytest.fixture
def store(tmp_path):
    return ChunkStore(tmp_path / "chunks", 1 << 20)


def names(store):
    return sorted(path.name for path in store.folder.iterdir())


def fill(store, keys, keep=()):
    """Save under each key; each file a second younger than the one before."""
    for age, key in enumerate(keys):
        store.save(key, FRAMES, keep)
        if (store.folder / f"{key}.safetensors").exists():
            os.utime(store.folder / f"{key}.safetensors", (1e9 + age, 1e9 + age))


def test_a_chunk_comes_back_as_as_stored_says(store):
    assert store.save(KEYS[0], FRAMES)
    assert torch.equal(store.load(KEYS[0], SHAPE).float(), as_stored(FRAMES))
    assert float((as_stored(FRAMES) - FRAMES).abs().max()) <= 2**-12
    assert torch.equal(as_stored(as_stored(FRAMES)), as_stored(FRAMES))
    assert names(store) == [f"{KEYS[0]}.safetensors"]


def test_nothing_is_there_that_was_not_saved(store):
    assert store.load(KEYS[0], SHAPE) is None


def test_a_chunk_that_another_run_removes_meanwhile_is_no_fault(store, monkeypatch):
    fill(store, KEYS[:3])
    listed = list(store.folder.iterdir())
    monkeypatch.setattr(
        type(store.folder), "glob", lambda self, pattern: (path for path in listed if path.match(pattern))
    )
    listed[0].unlink()
    store.limit_bytes = 2 * CHUNK_BYTES
    assert store.save(KEYS[3], FRAMES) and len(list(store.folder.iterdir())) == 2


def test_switched_off_it_neither_keeps_nor_finds(tmp_path, store):
    store.save(KEYS[0], FRAMES)
    off = ChunkStore(store.folder, 0)
    assert off.load(KEYS[0], SHAPE) is None and not off.save(KEYS[1], FRAMES)
    assert names(store) == [f"{KEYS[0]}.safetensors"]


@pytest.mark.parametrize("key", ["../" + "a" * 61, "a", "", "A" * 64])
def test_only_keys_become_paths(store, key):
    with pytest.raises(ValueError, match="no key"):
        store.load(key, SHAPE)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def overwrite(path):
    path.write_bytes(b"no tensors")


def other_content(path):
    save_file({"frames": torch.zeros(5)}, path, metadata={"crc32": "0"})


def other_format(path):
    save_file({"images": torch.zeros(5)}, path)


@pytest.mark.parametrize("damage", [cut, flip_a_bit, overwrite, other_content, other_format])
def test_a_damaged_chunk_is_removed_with_a_line_in_the_log(store, caplog, damage):
    store.save(KEYS[0], FRAMES)
    damage(store.folder / f"{KEYS[0]}.safetensors")
    assert store.load(KEYS[0], SHAPE) is None
    assert names(store) == [] and "sampled anew" in caplog.text


def test_a_flipped_bit_anywhere_is_a_miss(store):
    frames = FRAMES[:1, :2, :2]
    store.save(KEYS[0], frames)
    path = store.folder / f"{KEYS[0]}.safetensors"
    stored = path.read_bytes()
    for place in range(len(stored)):
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1 << place % 8]) + stored[place + 1 :])
        assert store.load(KEYS[0], tuple(frames.shape)) is None


def test_a_chunk_of_another_size_is_not_used(store):
    store.save(KEYS[0], FRAMES)
    assert store.load(KEYS[0], (9, 8, 16, 3)) is None


def test_the_chunks_unused_longest_make_room(store):
    store.limit_bytes = 3 * CHUNK_BYTES
    fill(store, KEYS[:3])
    store.load(KEYS[0], SHAPE)  # used now, so it is the youngest
    store.save(KEYS[3], FRAMES)
    assert names(store) == [f"{key}.safetensors" for key in (KEYS[0], KEYS[2], KEYS[3])]


def test_a_run_never_drops_its_own_chunks(store, caplog):
    store.limit_bytes = 3 * CHUNK_BYTES
    fill(store, KEYS[:3])
    assert not store.save(KEYS[3], FRAMES, keep=KEYS[:3])
    assert store.save(KEYS[4], FRAMES, keep=KEYS[:1])
    assert names(store) == [f"{key}.safetensors" for key in (KEYS[0], KEYS[2], KEYS[4])]
    assert "too little for this video" in caplog.text


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), chunk_store.SafetensorError("I/O error")])
def test_a_full_disk_leaves_no_half_file_and_does_not_stop_the_run(store, monkeypatch, caplog, error):
    def write_half(tensors, path, metadata):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(chunk_store, "save_file", write_half)
    assert not store.save(KEYS[0], FRAMES)
    assert names(store) == [] and "The run goes on" in caplog.text


def test_a_folder_that_cannot_be_made_does_not_stop_the_run(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    assert not ChunkStore(tmp_path / "file" / "chunks", 1 << 20).save(KEYS[0], FRAMES)
    assert caplog.records[0].levelno == logging.WARNING


def test_a_folder_that_cannot_be_looked_into_does_not_stop_the_run(tmp_path):
    store = ChunkStore(tmp_path / ("x" * 300), 1 << 20)
    assert store.load(KEYS[0], SHAPE) is None and not store.save(KEYS[0], FRAMES)


def test_what_a_killed_run_left_goes_after_an_hour(store):
    store.save(KEYS[0], FRAMES)
    old, young = (store.folder / f".{name}.part" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    store.save(KEYS[2], FRAMES)
    assert not old.exists() and young.exists()
