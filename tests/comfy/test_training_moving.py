"""The pixels that move, and their PSNR, on clips whose answer is known."""

import math

import numpy as np
import pytest

from steadydancer_pack.training.moving import CHANGED, moving_pixels, moving_psnr


@pytest.fixture
def clip():
    """Three gray frames 4 x 4: one pixel changes by CHANGED in all, one by a level more in a single channel."""
    frames = np.full((3, 4, 4, 3), 100, np.uint8)
    frames[1:, 0, 0] += CHANGED
    frames[2, 1, 1, 2] -= CHANGED + 1
    return frames


def test_a_pixel_moves_where_it_differs_from_the_first_frame(clip):
    assert np.argwhere(moving_pixels(clip)).tolist() == [[2, 1, 1]]
    there_and_back = np.concatenate([clip, clip[:1]])
    assert not moving_pixels(there_and_back)[3].any()


def test_only_moving_pixels_count(clip):
    found = clip.copy()
    found[:, 3, 3] = 255  # stands still
    assert moving_psnr(found, clip) == pytest.approx(10 * math.log10(255**2 / 1e-4))
    found[2, 1, 1] += np.array([3, 0, 0], np.uint8)
    assert moving_psnr(found, clip) == pytest.approx(10 * math.log10(255**2 / 3))


def test_a_clip_that_stands_still_has_none_and_another_shape_is_refused(clip):
    assert math.isnan(moving_psnr(clip[:2], clip[:2]))
    with pytest.raises(ValueError, match=r"\[2, 4, 4, 3\] and its ground truth \[3, 4, 4, 3\]"):
        moving_psnr(clip[:2], clip)
