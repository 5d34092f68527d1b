"""The SimCC network's crop and its peaks on hand-computed values."""

from types import SimpleNamespace

import numpy as np
import pytest

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.dwpose.detect.simcc import MEAN, STD, Crops, SimccPose, cut, decode, place, to_frame, unmirrored

WIDTH, HEIGHT = 288, 384


def peaks(n, at):
    """Both outputs for n crops, 0 but for {keypoint: (bin x, height x, bin y, height y)}."""
    x, y = np.zeros((n, 133, 2 * WIDTH), np.float32), np.zeros((n, 133, 2 * HEIGHT), np.float32)
    for keypoint, (bin_x, height_x, bin_y, height_y) in at.items():
        x[:, keypoint, bin_x], y[:, keypoint, bin_y] = height_x, height_y
    return x, y


class FakeSession:
    """Answers with the given peaks, as many as there are crops, and keeps what it was given."""

    def __init__(self, at, batch=None):
        self.inputs = {"input": (batch, 3, HEIGHT, WIDTH)}
        self.at, self.seen = at, []

    def run(self, feeds):
        self.seen.append(feeds["input"])
        return list(peaks(len(feeds["input"]), self.at))


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (60, 80, (75, 100)),  # 3:4 already
        (20, 80, (75, 100)),  # too narrow
        (60, 20, (75, 100)),  # too wide
        (0, 0, (1.25, 1.25 / 0.75)),  # nothing is one pixel
    ],
)
def test_a_crop_is_padded_and_grown_to_three_by_four(width, height, size):
    crops = place([Region(50, 60, width, height)], 3 / 4)
    assert crops.centers.tolist() == [[50, 60]]
    np.testing.assert_allclose(crops.sizes, [size])


def test_a_crop_at_its_own_size_is_the_picture_itself_and_black_outside():
    frame = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    crops = Crops(np.array([[150.0, 200]]), np.array([[288.0, 384]]))
    batch = cut(frame, crops, WIDTH, HEIGHT, bgr=False)
    wanted = (frame[8:392, 6:294].transpose(2, 0, 1) - MEAN) / STD
    assert batch.shape == (1, 3, 384, 288) and batch.dtype == np.float32
    np.testing.assert_allclose(batch[0], wanted, atol=1e-5)
    wanted = (frame[8:392, 6:294, ::-1].transpose(2, 0, 1) - MEAN) / STD
    np.testing.assert_allclose(cut(frame, crops, WIDTH, HEIGHT, bgr=True)[0], wanted, atol=1e-5)
    crops = Crops(np.array([[0.0, 0]]), np.array([[288.0, 384]]))
    batch = cut(np.full((400, 300, 3), 255, np.uint8), crops, WIDTH, HEIGHT, bgr=False)
    pixels = np.round(batch[0] * STD + MEAN)
    assert (pixels[:, :192] == 0).all() and (pixels[:, :, :144] == 0).all() and (pixels[:, 192:, 144:] == 255).all()


def test_a_peak_is_read_in_half_pixels_with_the_lower_score():
    points, scores = decode(*peaks(1, {7: (101, 0.9, 300, 0.6)}))
    assert points[0, 7].tolist() == [50.5, 150] and scores[0, 7] == np.float32(0.6)


@pytest.mark.parametrize("heights", [(0, 0), (-1, -2), (0.9, -1), (np.nan, 0.5)])
def test_no_peak_above_zero_is_not_found(heights):
    x, y = np.full((1, 133, 576), heights[0], np.float32), np.full((1, 133, 768), heights[1], np.float32)
    points, scores = decode(x, y)
    assert (points == -0.5).all() and (scores == 0).all()


def test_points_go_back_to_where_the_crop_was_cut():
    crops = Crops(np.array([[100.0, 200], [0, 0]]), np.array([[144.0, 192], [288, 384]]))
    points = np.array([[[0, 0], [144, 192], [288, 384]]] * 2, float)
    wanted = [[[28, 104], [100, 200], [172, 296]], [[-144, -192], [0, 0], [144, 192]]]
    np.testing.assert_allclose(to_frame(points, crops, WIDTH, HEIGHT), wanted)
    frame = np.zeros((300, 300, 3), np.uint8)
    frame[150:154, 80:84] = 255  # center (81.5, 151.5)
    crops = place([Region(90, 140, 60, 160)], 3 / 4)
    white = cut(frame, crops, WIDTH, HEIGHT, False)[0, 0] > 1
    point = np.array([[[axis.mean() for axis in np.nonzero(white)[::-1]]]])
    np.testing.assert_allclose(to_frame(point, crops, WIDTH, HEIGHT)[0, 0], (81.5, 151.5), atol=0.3)


@pytest.mark.parametrize(("batch", "runs"), [(None, [3]), (1, [1, 1, 1])])
def test_all_people_go_in_one_run_unless_the_network_takes_one_crop(batch, runs):
    session = FakeSession({0: (288, 1.0, 384, 0.5)}, batch)
    points, scores = SimccPose(session).estimate(np.zeros((99, 99, 3), np.uint8), [Region(10, 20, 30, 40)] * 3)
    assert [len(crops) for crops in session.seen] == runs
    assert points.shape == (3, 133, 2) and scores.shape == (3, 133)
    np.testing.assert_allclose(points[:, 0], [[10, 20]] * 3)  # bins 288 and 384 are the middle of the crop


def test_nobody_costs_nothing_and_another_number_of_keypoints_is_refused():
    session = FakeSession({})
    points, scores = SimccPose(session).estimate(np.zeros((99, 99, 3), np.uint8), [])
    assert points.shape == (0, 133, 2) and scores.shape == (0, 133) and session.seen == []
    body = [np.zeros((1, 17, 576), np.float32), np.zeros((1, 17, 768), np.float32)]
    session = SimpleNamespace(inputs={"input": (None, 3, HEIGHT, WIDTH)}, run=lambda feeds: body)
    with pytest.raises(ValueError, match="gives 17 keypoints; needed are 133. Choose dw-ll_ucoco_384.onnx"):
        SimccPose(session).estimate(np.zeros((99, 99, 3), np.uint8), [Region(10, 20, 30, 40)])


def test_the_mirrored_pass_is_put_right_and_the_mean_of_both_is_given():
    mirror = np.arange(133)
    mirror[[1, 2]] = 2, 1
    x, y = np.zeros((2, 133, 576)), np.zeros((2, 133, 768))
    x[1, 2, 575], y[1, 2, 10] = 1, 1  # in the mirror the left eye is the right one, at the far edge
    (_, _), (mirrored_x, mirrored_y) = unmirrored(x, y, mirror)
    assert mirrored_x[0].nonzero() == (1, 0) and mirrored_y[0].nonzero() == (1, 10)
    session = FakeSession({4: (100, 1.0, 200, 0.8)})
    frame = np.random.default_rng(1).integers(0, 256, (99, 99, 3), np.uint8)
    _, scores = SimccPose(session, mirror=np.arange(133)).estimate(frame, [Region(50, 50, 40, 40)])
    (batch,) = session.seen
    assert len(batch) == 2 and (batch[1] == batch[0, :, :, ::-1]).all()
    assert scores[0, 4] == 0.5  # the peak along x lies elsewhere in the mirror: half of 1.0; along y it stays 0.8
