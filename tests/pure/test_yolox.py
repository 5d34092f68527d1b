"""YOLOX on hand-computed values: letterbox, decoding, overlap, thresholds."""

from types import SimpleNamespace

import numpy as np
import pytest

from steadydancer_pack.dwpose.detect import yolox
from steadydancer_pack.dwpose.detect.yolox import PersonFinder, decode, grid, letterbox, people

CELLS, STRIDES = grid(640, 640)
ONE_AT_STRIDE_32 = 80 * 80 + 40 * 40 + 10 * 20 + 5  # row 10, column 5


def rows(*people):
    """A whole output with (cell, objectness, class, class score) set, each box 8 x 16 cells, centered in its cell."""
    output = np.zeros((8400, 85), np.float32)
    for cell, objectness, kind, score in people:
        output[cell, :5] = 0.5, 0.5, np.log(8), np.log(16), objectness
        output[cell, 5 + kind] = score
    return output


def session(output, size=(640, 640)):
    return SimpleNamespace(inputs={"images": (1, 3, *size)}, run=lambda feeds: [output[None]])


@pytest.mark.parametrize(
    ("height", "width", "filled", "ratio"),
    [(1280, 720, (640, 360), 0.5), (720, 1280, (360, 640), 0.5), (320, 320, (640, 640), 2), (640, 1, (640, 1), 1)],
)
def test_letterbox_fills_the_top_left_corner(height, width, filled, ratio):
    blob, scale = letterbox(np.full((height, width, 3), (10, 20, 30), np.uint8), 640, 640, bgr=False)
    assert blob.shape == (1, 3, 640, 640) and blob.dtype == np.float32 and scale == ratio
    assert (blob[0, :, : filled[0], : filled[1]] == np.reshape((10, 20, 30), (3, 1, 1))).all()
    assert (blob[0, :, filled[0] :] == 114).all() and (blob[0, :, :, filled[1] :] == 114).all()


def test_bgr_turns_the_channels_round():
    blob, _ = letterbox(np.full((4, 4, 3), (10, 20, 30), np.uint8), 8, 8, bgr=True)
    assert blob[0, :, 0, 0].tolist() == [30, 20, 10]


def test_the_grid_counts_along_rows_at_three_strides():
    assert CELLS.shape == (8400, 2) and STRIDES.shape == (8400, 1)
    assert CELLS[[0, 1, 80]].tolist() == [[0, 0], [1, 0], [0, 1]]
    assert np.unique(STRIDES, return_counts=True)[1].tolist() == [6400, 1600, 400]
    assert CELLS[ONE_AT_STRIDE_32].tolist() == [5, 10]
    cells, _ = grid(64, 96)
    assert len(cells) == 8 * 12 + 4 * 6 + 2 * 3 and cells[-1].tolist() == [2, 1]


def test_a_cell_decodes_to_its_box():
    boxes, scores = decode(rows((ONE_AT_STRIDE_32, 0.9, 0, 0.8)), CELLS, STRIDES)
    # center (5.5, 10.5) * 32 = (176, 336), size (8, 16) * 32 = (256, 512)
    np.testing.assert_allclose(boxes, [[48, 80, 304, 592]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.72], atol=1e-6)


def test_only_people_are_kept():
    output = rows((0, 0.9, 56, 0.9), (1, 0.9, 0, 0.6), (2, 0.4, 0, 0.6))  # a chair, a person, too weak
    output[1, 5 + 77] = 0.5
    assert len(decode(output, CELLS, STRIDES)[0]) == 1
    output[1, 5 + 77] = 0.7  # now it looks more like a teddy bear
    assert len(decode(output, CELLS, STRIDES)[0]) == 0
    assert len(decode(np.full((8400, 85), np.nan, np.float32), CELLS, STRIDES)[0]) == 0


def test_unsure_people_count_only_where_nobody_is_sure():
    boxes = np.array([[0, 0, 10, 20], [50, 0, 60, 20]], float)
    assert [(r.x, r.score) for r in people(boxes, np.array([0.3, 0.6]))] == [(55, 0.6)]
    assert [(r.x, r.score) for r in people(boxes, np.array([0.3, 0.4]))] == [(55, 0.4), (5, 0.3)]
    assert people(boxes[:0], np.zeros(0)) == []


def test_find_gives_pixels_of_the_frame_and_an_empty_list_for_nobody():
    finder = PersonFinder(session(rows((ONE_AT_STRIDE_32, 0.9, 0, 0.8))))
    (region,) = finder.find(np.zeros((1280, 720, 3), np.uint8))
    np.testing.assert_allclose(region, (352, 672, 512, 1024, 0, 0.72), rtol=1e-6)
    assert PersonFinder(session(rows())).find(np.zeros((64, 64, 3), np.uint8)) == []
    finder = PersonFinder(session(rows(), (None, None)))
    assert finder.find(np.zeros((64, 64, 3), np.uint8)) == [] and yolox.DEFAULT_SIZE == 640
    with pytest.raises(ValueError, match=r"gives \(8400, 84\) numbers.*yolox_l.onnx"):
        PersonFinder(session(np.zeros((8400, 84), np.float32))).find(np.zeros((64, 64, 3), np.uint8))
