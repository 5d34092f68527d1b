"""Floats to pixels and back: rounding, range and invalid numbers."""

import numpy as np
import pytest
import torch

from steadydancer_pack.media.frames import to_float, to_uint8, uint8_to_video, video_to_uint8
from steadydancer_pack.media.quantize import quantize


@pytest.mark.parametrize(
    ("value", "pixel"),
    [(0.5 / 255, 0), (1.5 / 255, 2), (1, 255), (-0.1, 0), (1.1, 255), (np.nan, 0), (np.inf, 255), (-np.inf, 0)],
)
def test_floats_are_rounded_half_to_even_and_clipped(value, pixel):
    assert to_uint8(torch.tensor([value])).tolist() == [pixel]


def test_a_white_above_255_makes_uint16():
    levels = quantize(np.array([0.25, 1]), 1000)
    assert levels.dtype == np.uint16 and levels.tolist() == [250, 1000]


def test_a_clip_of_many_blocks_is_rounded_as_one(monkeypatch):
    monkeypatch.setattr("steadydancer_pack.media.quantize.BLOCK", 100)
    rgba = np.random.default_rng(0).uniform(-0.5, 1.5, (3, 9, 11, 4)).astype(np.float32)
    rgba[2, 8, 10] = np.nan, np.inf, -np.inf, 0.5
    wanted = np.rint(np.clip(np.nan_to_num(rgba), 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(quantize(rgba), wanted)
    assert np.array_equal(quantize(rgba[..., :3]), wanted[..., :3])


@pytest.mark.parametrize(("there", "back"), [(to_float, to_uint8), (uint8_to_video, video_to_uint8)])
def test_pixels_survive_the_way_to_floats_and_back(there, back):
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 64)
    assert np.array_equal(back(there(pixels)), pixels)
