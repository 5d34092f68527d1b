"""The doubles keep the published contract of yolox_l.onnx and dw-ll_ucoco_384.onnx, and see real people."""

import numpy as np

from steadydancer_pack.dwpose.detect.blazepose import BlazePose
from steadydancer_pack.dwpose.detect.runtime import open_session
from steadydancer_pack.dwpose.detect.wholebody import DWPose
from steadydancer_pack.dwpose.poses import BODY, LEFT_HAND, RIGHT_HAND, VISIBLE_SCORE


def test_the_yolox_double_has_the_published_ports(doubles):
    session = open_session(doubles[0], "CPU")
    assert session.inputs == {"images": (1, 3, 640, 640)} and session.outputs == {"output": (1, 8400, 85)}
    (output,) = session.run({"images": np.full((1, 3, 640, 640), 114, np.float32)})
    assert np.isfinite(output).all() and (output[..., 4] * output[..., 5]).max() < 0.1


def test_the_dwpose_double_has_the_published_ports(doubles):
    session = open_session(doubles[1], "CPU")
    assert session.inputs == {"input": (None, 3, 384, 288)}
    assert session.outputs == {"simcc_x": (None, 133, 576), "simcc_y": (None, 133, 768)}
    x, y = session.run({"input": np.zeros((2, 3, 384, 288), np.float32)})
    assert x.shape == (2, 133, 576) and y.shape == (2, 133, 768)
    assert not x.any() and not y.any()  # grey crops show nobody


def test_dwpose_sees_with_them_what_blazepose_sees(doubles, dancer):
    detector, bundled = DWPose(*doubles, "CPU"), BlazePose("CPU")
    (region,), (other,) = detector.find(dancer), bundled.find(dancer)
    points, scores = detector.estimate(dancer, [region])
    wanted, known = bundled.estimate(dancer, [other])
    both = ((scores >= VISIBLE_SCORE) & (known >= VISIBLE_SCORE))[0, BODY]
    assert both.sum() >= 10
    assert np.median(np.linalg.norm(points - wanted, axis=2)[0, BODY][both]) < 8  # of 350 pixels
    assert scores[0, LEFT_HAND.start] > 0 and scores[0, RIGHT_HAND.start] > 0
    assert not scores[0, LEFT_HAND.start + 1 : LEFT_HAND.stop].any()
