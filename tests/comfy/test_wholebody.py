"""DW-Pose: the order of keypoints, the neck, the mirror, the box to follow, and which file is which."""

from types import SimpleNamespace

import numpy as np
import pytest

from steadydancer_pack.dwpose import poses
from steadydancer_pack.dwpose.detect import detector_files, runtime, wholebody
from steadydancer_pack.dwpose.detect.blazepose import BlazePose
from steadydancer_pack.dwpose.detect.detector_files import (
    DWPOSE,
    YOLOX,
    describe,
    download_note,
    open_network,
)
from steadydancer_pack.dwpose.detect.wholebody import COLOR_ORDERS, MIRROR, DWPose, box, to_openpose
from steadydancer_pack.dwpose.packages.onnxruntime_advice import Gpu
from steadydancer_pack.media.file_hash import file_sha256

PAIRED = "eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"
COCO_BODY = ["nose", *(f"{side}_{part}" for part in PAIRED for side in ("left", "right"))]


def test_every_joint_goes_to_its_own_place_and_feet_face_and_hands_move_up_by_one():
    numbers = np.arange(133.0)[None]
    points, scores = to_openpose(np.stack([numbers, numbers + 1000], axis=2), numbers / 1000 + 0.4)
    for number, name in enumerate(COCO_BODY):
        ours = getattr(poses, name.upper())
        assert points[0, ours].tolist() == [number, number + 1000] and scores[0, ours] == number / 1000 + 0.4
    assert points.shape == (1, 134, 2) and scores.shape == (1, 134)
    assert points[0, 18:, 0].tolist() == list(range(17, 133))
    assert points[0, poses.LEFT_HAND, 0].tolist() == list(range(91, 112))


@pytest.mark.parametrize(
    ("left", "right", "neck"), [(0.31, 0.9, 1), (0.31, 0.31, 1), (0.3, 0.9, 0), (0.9, 0.3, 0), (0, 0, 0)]
)
def test_the_neck_is_between_two_seen_shoulders(left, right, neck):
    points, scores = np.zeros((1, 133, 2)), np.zeros((1, 133))
    points[0, 5], points[0, 6] = (10, 20), (30, 60)
    scores[0, 5], scores[0, 6] = left, right
    points, scores = to_openpose(points, scores)
    assert points[0, poses.NECK].tolist() == [20, 40] and scores[0, poses.NECK] == neck


def test_the_mirror_pairs():
    pairs = {frozenset((i, int(j))) for i, j in enumerate(MIRROR) if i != j}
    assert {frozenset((left, left + 1)) for left in range(1, 17, 2)} <= pairs
    assert {frozenset(pair) for pair in ((17, 20), (18, 21), (19, 22), (91, 112), (111, 132))} <= pairs
    right = 0, 7, 17, 21, 31, 36, 39, 40, 41, 48, 50, 55, 60, 61, 65  # points of the face
    left = 16, 9, 26, 22, 35, 45, 42, 47, 46, 54, 52, 59, 64, 63, 67
    assert {frozenset((23 + a, 23 + b)) for a, b in zip(right, left, strict=True)} <= pairs
    alone = {0, *(23 + i for i in (8, 27, 28, 29, 30, 33, 51, 57, 62, 66))}  # on the line down the middle
    assert {i for i in range(133) if MIRROR[i] == i} == alone
    assert (MIRROR[MIRROR] == np.arange(133)).all()


def seen(*joints):
    points, scores = np.zeros((134, 2)), np.zeros(134)
    for index, x, y in joints:
        points[index], scores[index] = (x, y), 0.5
    return points, scores


def test_the_box_holds_what_is_seen_with_padding_and_needs_enough_joints():
    points, scores = seen((0, 100, 50), (2, 80, 100), (5, 120, 100), (10, 90, 250), (95, 180, 60))
    points[13], scores[13] = (900, 900), 0.34  # not seen
    np.testing.assert_allclose(box(points, scores), (130, 150, 110, 220, 0, 0.5))
    points, scores = seen((0, 1, 1), (1, 2, 2), (2, 3, 3), *((i, 9, 9) for i in range(24, 92)))
    assert box(points, scores) is None
    assert box(*seen((0, 1, 1), (1, 2, 2), (2, 3, 3), (5, 4, 4))) is not None


class FakeNetworks:
    """Stands in for open_network: a person in the middle of the frame, all keypoints in the middle of the crop."""

    def __init__(self, score=0.8):
        self.score, self.seen = score, {}

    def open(self, path, kind, provider, gpu):
        yolox = kind is YOLOX
        inputs = {"in": (1, 3, 640, 640) if yolox else (None, 3, 384, 288)}
        run = self.yolox if yolox else self.dwpose
        notes = [f"{path} runs on Fake.", "Same note."]
        return SimpleNamespace(inputs=inputs, run=run, place="Fake", notes=notes)

    def yolox(self, feeds):
        self.seen["yolox"] = feeds["in"]
        rows = np.zeros((1, 8400, 85), np.float32)
        rows[0, 8000 + 10 * 20 + 10, :6] = 0, 0, np.log(10), np.log(15), 0.9, 0.9
        return [rows]

    def dwpose(self, feeds):
        self.seen["dwpose"] = feeds["in"]
        x, y = np.zeros((len(feeds["in"]), 133, 576)), np.zeros((len(feeds["in"]), 133, 768))
        x[..., 288] = y[..., 384] = self.score
        return [x, y]


@pytest.fixture
def networks(monkeypatch, tmp_path):
    def load(score=0.8, **settings):
        fake = FakeNetworks(score)
        monkeypatch.setattr(wholebody, "open_network", fake.open)
        for name in ("yolox", "dwpose"):
            (tmp_path / name).write_bytes(name.encode())
        return fake, DWPose(tmp_path / "yolox", tmp_path / "dwpose", **settings)

    return load


def test_find_then_estimate_then_follow_with_the_provider_stated_once_and_nobody_where_no_joint_is_seen(networks):
    _, detector = networks()
    frame = np.zeros((640, 640, 3), np.uint8)
    (region,) = detector.find(frame)
    np.testing.assert_allclose(region[:4], (320, 320, 320, 480), rtol=1e-6)
    points, scores = detector.estimate(frame, [region, region])
    assert points.shape == (2, 134, 2) and scores.shape == (2, 134)
    np.testing.assert_allclose(points, 320, rtol=1e-6)
    assert scores[0, poses.NECK] == 1 and scores[0, 0] == 0.8
    assert detector.follow(points[0], scores[0])[:2] == pytest.approx((320, 320))
    assert detector.name == "DW-Pose (Fake)"
    assert len(detector.notes) == 3 and detector.notes.count("Same note.") == 1
    _, detector = networks(score=0.29)
    _, scores = detector.estimate(frame, detector.find(frame))
    assert (scores == 0).all()


def test_each_network_gets_its_colors(networks):
    assert COLOR_ORDERS == {"trained": (True, False), "official": (False, True)}
    frame = np.full((640, 640, 3), (10, 20, 30), np.uint8)
    for order, yolox_first, dwpose_first in (("trained", 30, 10), ("official", 10, 30)):
        fake, detector = networks(color_order=order)
        detector.estimate(frame, detector.find(frame))
        assert fake.seen["yolox"][0, 0, 0, 0] == yolox_first
        assert fake.seen["dwpose"][0, 0, 200, 140] * 58.395 + 123.675 == pytest.approx(dwpose_first, abs=1e-4)
    with pytest.raises(ValueError, match="Unknown color order 'rgb'. Choose one of trained, official"):
        DWPose("a.onnx", "b.onnx", color_order="rgb")


def test_the_flip_test_doubles_the_crops(networks):
    fake, detector = networks(flip_test=True)
    frame = np.zeros((640, 640, 3), np.uint8)
    detector.estimate(frame, detector.find(frame))
    assert len(fake.seen["dwpose"]) == 2


def test_the_fingerprint_follows_files_and_settings_and_files_have_checksums_in_the_download_note(networks, tmp_path):
    prints = [networks()[1].fingerprint, networks(flip_test=True)[1].fingerprint]
    prints += [networks(color_order="official")[1].fingerprint]
    assert networks(provider="CPU")[1].fingerprint == prints[0]
    detector = networks()[1]
    (tmp_path / "dwpose").write_bytes(b"another")
    assert len({*prints, detector.fingerprint}) == 4
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert "yolox_l.onnx: 217 MB\ndw-ll_ucoco_384.onnx: 134 MB" in download_note()
    assert "yolox" not in download_note([DWPOSE])


def network(inputs, outputs, kind="tensor(float)"):
    ins = {f"in{i}": shape for i, shape in enumerate(inputs)}
    outs = {f"out{i}": shape for i, shape in enumerate(outputs)}
    ports = {name: SimpleNamespace(shape=shape, type=kind) for name, shape in ins.items()}
    return SimpleNamespace(inputs=ins, ports=ports, outputs=outs)


N = None
YOLOX_L = network([(1, 3, 640, 640)], [(1, 8400, 85)])
DW_LL = network([(N, 3, 384, 288)], [(N, 133, 576), (N, 133, 768)])


@pytest.mark.parametrize(
    ("session", "kind"),
    [
        (YOLOX_L, YOLOX),
        (network([(N, 3, N, N)], [(N, N, 85)]), YOLOX),
        (network([(1, 3, 416, 416)], [(1, 52**2 + 26**2 + 13**2, 85)]), YOLOX),
        (DW_LL, DWPOSE),
        (network([(1, 3, 384, 288)], [(1, 133, 576), (1, 133, 768)]), DWPOSE),
        (network([(N, 3, 384, 288)], [(N, N, 576), (N, N, 768)]), DWPOSE),
        (network([(N, 3, 256, 192)], [(N, 133, 384), (N, 133, 512)]), DWPOSE),  # the small DW-Pose
    ],
)
def test_each_kind_is_recognized(session, kind):
    assert [one for one in (YOLOX, DWPOSE) if one.fits(session)] == [kind]


@pytest.mark.parametrize(
    ("session", "text"),
    [
        (YOLOX_L, "a YOLOX person detector"),
        (DW_LL, "a DW-Pose network"),
        (network([(1, 3, 640, 640)], [(1, 1), (1, 300, 4), (1, 300), (1, 300)], "tensor(uint8)"), "a YOLO-NAS"),
        (network([(1, 3, 640, 640)], [(1, 8400, 6)]), "a YOLOX detector of other classes"),
        (network([(N, 3, 256, 256)], [(N, 17, 512), (N, 17, 512)]), "a pose network with another set of keypoints"),
        (network([(1, 3, 640, 640)], [(1, N, 5), (1, N)]), "a detector with suppression inside"),
        (network([(1, 3, 640, 640)], [(1, 25200, 85)]), "another network (in0 [1, 3, 640, 640] in, out0 [1, 25200"),
        (network([(N, 7)], [(N,)]), "another network (in0 [?, 7] in, out0 [?] out)"),
        (network([], []), "another network"),
    ],
)
def test_a_network_is_called_by_its_name(session, text):
    assert describe(session).startswith(text)
    fitting = [kind.slot for kind in (YOLOX, DWPOSE) if kind.fits(session)]
    assert fitting == {id(YOLOX_L): ["yolox"], id(DW_LL): ["dwpose"]}.get(id(session), [])


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"PK\x03\x04rest", "Found a TorchScript or PyTorch file; needed is a YOLOX person detector"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer to a file that was not downloaded"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"nothing known", "is not a whole ONNX file"),
        (b"", "Found an empty file; needed is"),
        (None, "There is no file .*yolox_l.onnx"),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path, head, text):
    if head is not None:
        (tmp_path / "yolox_l.onnx").write_bytes(head)
    with pytest.raises(ValueError, match=text):
        open_network(tmp_path / "yolox_l.onnx", YOLOX)


def test_a_wrong_file_is_refused_before_it_runs(tmp_path, monkeypatch):
    def open_session(path, provider, gpu, check):
        check(DW_LL)

    monkeypatch.setattr(detector_files, "open_session", open_session)
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    with pytest.raises(ValueError, match=r"a.onnx cannot be used as the yolox file. Found a DW-Pose .* yolox_l.onnx"):
        open_network(tmp_path / "a.onnx", YOLOX)


# --- the whole pipeline on a real picture, with networks of the published contract


def body(detector, frame):
    points, scores = detector.estimate(frame, detector.find(frame)[:1])
    return points[0, poses.BODY], scores[0, poses.BODY] >= poses.VISIBLE_SCORE


@pytest.mark.parametrize("settings", [{}, {"flip_test": True}])
def test_a_dancer_is_found_and_read(doubles, dancer, settings):
    points, seen = body(DWPose(*doubles, provider="CPU", **settings), dancer)
    wanted, wanted_seen = body(BlazePose("CPU"), dancer)
    assert seen[[0, 1, 2, 3, 5, 6, 8, 11]].all()
    trunk = [0, 1, 2, 5, 8, 11]
    assert np.linalg.norm(points - wanted, axis=1)[trunk].max() < 0.06 * len(dancer)
    assert np.linalg.norm(points - wanted, axis=1)[seen & wanted_seen].max() < 0.2 * len(dancer)


def test_people_together_are_read_as_each_alone(doubles, dancer):
    detector = DWPose(*doubles, provider="CPU")
    (region, *_) = detector.find(dancer)
    regions = [region, region._replace(x=region.x + 9, width=region.width * 1.1)]
    together, _ = detector.estimate(dancer, regions)
    for points, one in zip(together, regions, strict=True):
        np.testing.assert_allclose(points, detector.estimate(dancer, [one])[0][0], atol=0.1)


def test_files_in_each_other_s_place_are_refused(doubles):
    yolox, dwpose = doubles
    with pytest.raises(ValueError, match="cannot be used as the yolox file. Found a DW-Pose network of 133 keypoints"):
        DWPose(dwpose, dwpose)
    with pytest.raises(ValueError, match="cannot be used as the dwpose file. Found a YOLOX person detector"):
        DWPose(yolox, yolox)


def test_a_detector_that_found_the_gpu_full_moves_there_before_a_later_video(doubles, dancer, monkeypatch):
    """With the real ONNX Runtime, whose CPU stands for a GPU that is full at first."""
    monkeypatch.setattr(runtime, "PROVIDERS", {"CUDA": "CPUExecutionProvider", "CPU": "CPUExecutionProvider"})
    monkeypatch.setattr(runtime, "AUTO_ORDER", ("CUDA", "CPU"))
    create, full = runtime._create, [True]

    def crowded(ort, path, name, options):
        if name == "CUDA" and full[0]:
            raise RuntimeError("CUDA failure 2: out of memory")
        return create(ort, path, name, options)

    monkeypatch.setattr(runtime, "_create", crowded)
    detector = DWPose(*doubles, gpu=Gpu("RTX 3060"))
    assert detector.name == "DW-Pose (CPU)" and "The GPU's memory is full" in detector.notes[2]
    before = body(detector, dancer)
    detector.prepare(lambda: full.__setitem__(0, False))
    assert detector.name == "DW-Pose (CUDA)"
    assert detector.notes == ["yolox_l.onnx runs on CUDA.", "dw-ll_ucoco_384.onnx runs on CUDA."]
    assert np.array_equal(body(detector, dancer)[0], before[0])
