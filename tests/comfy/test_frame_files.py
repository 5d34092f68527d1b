"""Frames on disk: the values of half precision bit for bit, one frame in memory, and words where a file is damaged."""

import errno
from pathlib import Path

import pytest
import torch

from steadydancer_pack.media import frame_files
from steadydancer_pack.media.frame_files import FrameFileError, FrameFiles, pack, unpack
from steadydancer_pack.media.frame_source import Spliced

FRAMES = torch.rand(9, 4, 6, 3, generator=torch.Generator().manual_seed(0)).half().float()


@pytest.fixture
def clip(tmp_path):
    """Two files: the first five of nine frames, and nine others, whose file was there already."""
    clip = FrameFiles(tmp_path / "frames", 4, 6)
    clip.add(FRAMES, 5)
    (tmp_path / "chunk").write_bytes(pack(1 - FRAMES))
    clip.add(1 - FRAMES, 9, tmp_path / "chunk")
    return clip


WHOLE = torch.cat([FRAMES[:5], (1 - FRAMES).half().float()])


def test_frames_are_read_as_they_were_written_in_any_order(clip):
    assert clip.shape == WHOLE.shape and len(clip) == 14
    for taken in (slice(None), slice(3, 8), slice(None, 2), slice(-3, None), slice(9, 2, -2), slice(20, 30)):
        want = WHOLE[range(14)[taken]] if len(range(14)[taken]) else WHOLE[:0]
        assert torch.equal(clip[taken], want)
    assert torch.equal(clip[-1], WHOLE[-1]) and torch.equal(torch.stack([*clip]), WHOLE)
    with pytest.raises(IndexError):
        clip[14]


def test_a_packed_file_gets_a_second_name_and_outlives_the_first(clip, tmp_path):
    assert [path.stat().st_nlink for path in sorted(clip.folder.iterdir())] == [1, 2]
    (tmp_path / "chunk").unlink()
    assert torch.equal(clip[13], WHOLE[13])


def test_where_no_second_name_can_be_given_the_frames_are_written(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(frame_files.os, "link", refuse)
    clip = FrameFiles(tmp_path / "frames", 4, 6)
    clip.add(FRAMES, 9, tmp_path / "chunk")
    assert torch.equal(clip[:], FRAMES)


def test_unpack_gives_what_was_packed_and_refuses_another_size():
    content = memoryview(pack(FRAMES))
    assert torch.equal(unpack(content, FRAMES.shape).float(), FRAMES)
    for other in (content[:-1], content[:3]):
        with pytest.raises(ValueError, match="reshape|multiple"):
            unpack(other, FRAMES.shape)


@pytest.mark.parametrize("damage", ["pixel", "end", "gone"])
def test_a_damaged_file_is_named(clip, damage):
    _, second = sorted(clip.folder.iterdir())
    content = bytearray(second.read_bytes())
    if damage == "gone":
        second.unlink()
    elif damage == "end":
        second.write_bytes(content[:-1])
    else:
        content[4 * 6 * 3 * 2 * 8] ^= 1  # of the last frame
        second.write_bytes(content)
    assert torch.equal(clip[:5], WHOLE[:5])
    with pytest.raises(FrameFileError, match=rf"{second.name} cannot be read .* run again: finished chunks"):
        clip[13]


def test_a_full_disk_is_refused_before_and_named_on_the_way(tmp_path, monkeypatch):
    with pytest.raises(FrameFileError, match=r"need .*TB on disk; .* has .* free"):
        FrameFiles(tmp_path / "large", 1 << 14, 1 << 14, new=1 << 14)
    clip = FrameFiles(tmp_path / "full", 4, 6)

    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FrameFileError, match="could not be written to .*: No space left on device. Free some space"):
        clip.add(FRAMES, 9)
    assert len(clip) == 0 and not [*clip.folder.iterdir()]


def test_a_head_in_memory_stands_before_a_part_of_the_clip(clip):
    assert torch.equal(Spliced(FRAMES[:2], clip, 3, 10)[:], torch.cat([FRAMES[:2], WHOLE[3:10]]))


def test_the_files_go_with_the_last_object_that_reads_them(tmp_path):
    clip = FrameFiles(tmp_path / "frames", 4, 6)
    clip.add(FRAMES, 9)
    view = Spliced(clip[:0], clip, 2)
    del clip
    assert len([*(tmp_path / "frames").iterdir()]) == 1
    del view
    assert not (tmp_path / "frames").exists()
