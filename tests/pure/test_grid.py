"""The grid of the regions in which people are followed: it decides, not the last bits of a pose."""

import math

import numpy as np
import pytest

from steadydancer_pack.dwpose.detect.detector import ANGLE, Region, on_grid


def test_a_region_comes_to_lie_on_its_grid_even_without_a_width():
    found = on_grid(Region(101, -203, 66, 130, 0.11, 0.8))
    assert found == Region(104, -200, 64, 128, ANGLE, 0.8)
    assert on_grid(found) == found
    assert on_grid(Region(3.2, 5.1, 0, 16)) == Region(3, 5, 0, 16)
    assert on_grid(Region(3.2, 5.1, 0, 0)) == Region(3, 5, 0, 0)


@pytest.mark.parametrize("size", [0.3, 7.0, 250.0, 4000.0])
def test_the_region_stays_within_half_a_step(size):
    region = Region(1.7 * size, -0.4 * size, 0.5 * size, size, -1.3)
    found = on_grid(region)
    assert max(abs(found.x - region.x), abs(found.y - region.y)) <= found.height / 32
    assert abs(math.log2(found.height / size)) <= 1 / 16 and found.width == pytest.approx(found.height / 2)
    assert abs(found.angle - region.angle) <= math.pi / 64


def test_noise_hardly_ever_changes_the_region():
    generator = np.random.default_rng(0)
    regions = [Region(*row) for row in generator.uniform((0, 0, 50, 50, -1, 0), (900, 900, 500, 500, 1, 1), (2000, 6))]
    moved = [on_grid(region._replace(x=region.x + 1e-4, height=region.height * (1 + 1e-6))) for region in regions]
    assert sum(on_grid(region) != other for region, other in zip(regions, moved, strict=True)) <= 2
