"""Chunks on disk in parts: all of a chunk or nothing."""

import pytest
import torch

from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.media.frame_files import SUFFIX
from steadydancer_pack.steadydancer_core.long_video.chunk_store import KeptChunks
from steadydancer_pack.steadydancer_core.long_video.run_manifest import Manifest

FRAMES, LATENTS = torch.rand(9, 8, 8, 3), torch.randn(5, 16, 1, 1)
SHAPES = FRAMES.shape, LATENTS.shape


class Chunks(KeptChunks):
    """The chunks of a run; made: which of them had to be computed."""

    def __init__(self, folder, limit=1 << 20):
        fields = {"run_name": "", "inputs": {"photo": 1}}
        super().__init__(DiskCache(folder, SUFFIX, limit), lambda: Manifest(fields, []), [])
        self.made = []

    def parts(self, number):
        def compute():
            self.made.append(number)
            return FRAMES + number, LATENTS

        return self.get_or_compute(lambda: {"number": number}, SHAPES, compute)


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_parts_are_the_same_whether_they_are_kept_or_not(tmp_path, limit):
    frames, latents = Chunks(tmp_path, limit).parts(0)
    assert torch.equal(frames, FRAMES.half().float()) and torch.equal(latents, LATENTS.half().float())
    again = Chunks(tmp_path, limit)
    assert all(torch.equal(a, b.float()) for a, b in zip((frames, latents), again.parts(0), strict=True))
    assert again.made == ([0] if limit == 0 else []) and again.found == (limit > 0)


def test_a_chunk_of_which_a_part_is_gone_is_made_anew(tmp_path):
    first = Chunks(tmp_path)
    for number in range(2):
        first.parts(number)
    first.cache.path(first.keys[1]).unlink()  # the latents of chunk 0
    again = Chunks(tmp_path)
    for number in range(2):
        again.parts(number)
    assert (again.made, again.found, again.kept) == ([0], 1, 2)
    assert again.file == again.cache.path(again.keys[2])  # the frames of chunk 1
    assert again.advice().startswith("2 finished chunks are kept")
