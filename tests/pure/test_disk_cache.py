"""The disk cache: exact, whole or not there, never larger than allowed, and never in the way of a run."""

import errno
import logging
import os

import pytest

from steadydancer_pack.media import disk_cache
from steadydancer_pack.media.disk_cache import CHECKSUM_BYTES, DiskCache

KEYS = [character * 64 for character in "abcdef"]
CONTENT = bytes(range(256)) * 4
FILE_BYTES = len(CONTENT) + CHECKSUM_BYTES


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "a" / "cache", ".data", 1 << 20)


def names(cache):
    return sorted(path.name for path in cache.folder.iterdir())


def fill(cache, keys):
    """Save under each key; each file a second younger than the one before."""
    for age, key in enumerate(keys):
        assert cache.save(key, CONTENT)
        os.utime(cache.folder / f"{key}.data", (1e9 + age, 1e9 + age))


@pytest.mark.parametrize("content", [b"", b"a", CONTENT, memoryview(CONTENT)])
def test_a_content_comes_back(cache, content):
    assert cache.save(KEYS[0], b"older") and cache.save(KEYS[0], content)
    assert cache.load(KEYS[0], bytes) == bytes(content)
    assert names(cache) == [f"{KEYS[0]}.data"]


def test_a_look_makes_no_folder_and_switched_off_it_neither_keeps_nor_finds(tmp_path, cache):
    assert cache.load(KEYS[0], bytes) is None and list(tmp_path.iterdir()) == []
    cache.save(KEYS[0], CONTENT)
    off = DiskCache(cache.folder, ".data", 0)
    assert off.load(KEYS[0], bytes) is None and not off.save(KEYS[1], CONTENT)
    assert names(cache) == [f"{KEYS[0]}.data"]


@pytest.mark.parametrize("key", ["../" + "a" * 61, "a", "", "A" * 64, "0123456789abcdef.data"])
def test_only_keys_become_paths(cache, key):
    with pytest.raises(ValueError, match="is not a key"):
        cache.load(key, bytes)


def test_a_flipped_bit_or_a_missing_byte_anywhere_is_a_miss_with_one_line_in_the_log(cache, caplog):
    cache.save(KEYS[0], CONTENT[:40])
    path = cache.folder / f"{KEYS[0]}.data"
    stored = path.read_bytes()
    flipped = [stored[:i] + bytes([stored[i] ^ 1 << i % 8]) + stored[i + 1 :] for i in range(len(stored))]
    for damaged in (*flipped, *(stored[:i] for i in range(len(stored)))):
        path.write_bytes(damaged)
        caplog.clear()
        assert cache.load(KEYS[0], bytes) is None and names(cache) == []
        (line,) = caplog.messages
        assert "its checksum differs" in line


@pytest.mark.parametrize("error", [ValueError("format 1, not 2"), KeyError("version")])
def test_a_content_of_another_version_is_a_miss_and_goes(cache, caplog, error):
    def refuse(content):
        raise error

    cache.save(KEYS[0], CONTENT)
    assert cache.load(KEYS[0], refuse) is None
    assert names(cache) == [] and str(error) in caplog.text and "made anew" in caplog.text


def test_the_least_recently_used_make_space(cache):
    cache.limit_bytes = 3 * FILE_BYTES
    fill(cache, KEYS[:3])
    cache.load(KEYS[0], bytes)  # used now, so it is the youngest
    cache.save(KEYS[3], CONTENT)
    assert names(cache) == [f"{key}.data" for key in (KEYS[0], KEYS[2], KEYS[3])]
    assert cache.save(KEYS[3], CONTENT) and len(names(cache)) == 3  # in place of its own file


def test_kept_keys_are_never_removed(cache, caplog):
    cache.limit_bytes = 3 * FILE_BYTES
    fill(cache, KEYS[:3])
    assert not cache.save(KEYS[3], CONTENT, keep=KEYS[:3])
    assert cache.save(KEYS[4], CONTENT, keep=KEYS[:1])
    assert names(cache) == [f"{key}.data" for key in (KEYS[0], KEYS[2], KEYS[4])]
    assert "may hold 3.17 KB, too little for 1.06 KB more" in caplog.text


def test_what_does_not_fit_removes_nothing(cache):
    cache.limit_bytes = 2 * FILE_BYTES
    fill(cache, KEYS[:2])
    assert not cache.fits(2 * FILE_BYTES) and cache.fits(2 * FILE_BYTES - CHECKSUM_BYTES)
    assert not cache.save(KEYS[2], bytes(2 * FILE_BYTES)) and len(names(cache)) == 2


def test_a_file_that_another_process_removes_meanwhile_is_no_fault(cache, monkeypatch):
    fill(cache, KEYS[:3])
    listed = sorted(cache.folder.iterdir())
    monkeypatch.setattr(type(cache.folder), "glob", lambda self, pattern: iter(listed))
    listed[0].unlink()
    cache.limit_bytes = 2 * FILE_BYTES
    assert cache.save(KEYS[3], CONTENT) and len(names(cache)) == 2


def test_a_full_disk_leaves_no_half_file_and_does_not_stop_the_run(cache, monkeypatch, caplog):
    def fail(content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_cache, "checksum_of", fail)  # the content is written then
    assert not cache.save(KEYS[0], CONTENT)
    assert names(cache) == [] and "No space left on device" in caplog.text and "The run goes on" in caplog.text


@pytest.mark.parametrize("folder", ["file/cache", "x" * 300])
def test_a_folder_that_cannot_be_made_or_seen_does_not_stop_the_run(tmp_path, caplog, folder):
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / folder, ".data", 1 << 20)
    assert cache.load(KEYS[0], bytes) is None and not cache.save(KEYS[0], CONTENT)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_folder_that_cannot_be_written_still_serves(cache, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    cache.save(KEYS[0], CONTENT)
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(type(cache.folder), "mkdir", refuse)
    assert cache.load(KEYS[0], bytes) == CONTENT and not cache.save(KEYS[1], CONTENT)
