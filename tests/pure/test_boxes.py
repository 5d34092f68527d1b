"""Overlaps and suppression of boxes, on values computed by hand."""

import numpy as np

from steadydancer_pack.dwpose.boxes import around, overlaps, suppress


def test_overlap_is_intersection_over_union_and_nothing_for_what_has_no_place():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]], float)
    wanted = np.eye(4)
    wanted[0, 1] = wanted[1, 0] = 50 / 150
    wanted[3, 3] = 0  # no area
    np.testing.assert_allclose(overlaps(boxes, boxes), wanted)
    boxes = np.array([[0, 0, 3, 4], [0, 0, 3, 2], [np.nan] * 4])
    assert overlaps(boxes, boxes).tolist() == [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]
    assert overlaps(np.zeros((0, 4)), boxes).shape == (0, 3)


def test_suppression_keeps_the_best_and_what_only_overlaps_a_suppressed_box():
    # overlap of neighbors 8/12 = 0.667, of the first and the third 6/14
    boxes = np.array([[2, 0, 12, 1], [0, 0, 10, 1], [4, 0, 14, 1]], float)
    assert suppress(boxes, np.array([0.8, 0.9, 0.7]), 0.65).tolist() == [1, 2]
    assert suppress(boxes, np.array([0.8, 0.9, 0.7]), 0.7).tolist() == [1, 0, 2]
    assert suppress(boxes[:0], np.zeros(0), 0.65).tolist() == []


def test_a_box_lies_around_its_center():
    assert around(np.array([[5, 6]]), np.array([[2, 4]])).tolist() == [[4, 4, 6, 8]]
