"""BlazePose: the converted networks, the arithmetic around them on hand-computed values, and real people."""

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.dwpose.detect import blazepose
from steadydancer_pack.dwpose.detect.blazepose import SURE_AGAIN, BlazePose, confirmed, distinct, misplaced
from steadydancer_pack.dwpose.detect.blazepose_joints import (
    Landmarks,
    crop,
    frame_axes,
    keypoints,
    next_region,
    refined,
)
from steadydancer_pack.dwpose.detect.blazepose_regions import (
    ANCHORS,
    crop_side,
    regions,
    tiles,
    whole_frame,
    window_image,
)
from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.dwpose.detect.opencv_network import OpenCVNetwork
from steadydancer_pack.dwpose.detect.runtime import open_session
from steadydancer_pack.dwpose.poses import BODY, FACE, LEFT_HAND, NECK, NOSE, RIGHT_HAND, VISIBLE_SCORE
from steadydancer_pack.dwpose.track.extract import extract
from steadydancer_pack.tools import blazepose_onnx

# What LiteRT 2.3.0 computes from the TFLite sources for `made_up_image`: 8 numbers evenly through each output.
LITERT_DETECTION = [
    [-2.5337, 190.3312, 204.3071, -57.4015, -135.3971, 6.6485, 10.5177, 0.1584],
    [-49.2236, -5.1777, -6.7883, -6.9698, -5.5634, -80.4537, -110.7542, -25.8497],
]
LITERT_LANDMARKS = [
    [158.3133, -75.0904, 164.5198, -5.0715, 146.2899, -3.702, 146.6598, -5.3372],
    [0.1042],
    [-31.0876, -2.9702, -9.3981, -3.4343, -3.5241, -2.2401, -2.998, -7.0066],
]
UPRIGHT = Region(100, 200, 64, 128)


def made_up_image(side):
    y, x = np.mgrid[:side, :side] / side
    return np.stack([0.5 + 0.5 * np.sin(9 * x + 5 * y * k) for k in (1, 2, 3)]).astype(np.float32)


@pytest.fixture(scope="module")
def detector():
    return BlazePose("CPU")


@pytest.mark.parametrize(
    ("file", "side", "low", "wanted"),
    [(blazepose.DETECTION, 224, -1, LITERT_DETECTION), (blazepose.LANDMARKS, 256, 0, LITERT_LANDMARKS)],
)
def test_the_networks_compute_what_the_originals_do(file, side, low, wanted):
    image = made_up_image(side) * (1 - low) + low
    outputs = open_session(file, "CPU").run({"image": np.stack([image, np.zeros_like(image)])})
    for output, numbers in zip(outputs, wanted, strict=True):
        flat = output[0].ravel()
        places = np.linspace(0, flat.size - 1, min(8, flat.size)).astype(int)
        np.testing.assert_allclose(flat[places], numbers, atol=5e-3)


# --- the converter


def test_same_padding_puts_the_odd_zero_last_and_a_sparse_matrix_becomes_dense():
    pads = [blazepose_onnx.same_pads(*axis) for axis in ((224, 3, 2), (56, 5, 1), (7, 3, 1), (8, 2, 2))]
    assert pads == [(0, 1), (2, 2), (1, 1), (0, 0)]
    found = blazepose_onnx.dense(np.float16([1, 2, 3]), (3, 4), np.uint16([0, 2, 2, 3]), np.uint8([0, 3, 1]))
    assert found.dtype == np.float16 and found.tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [0, 3, 0, 0]]


# --- where people are


def test_the_anchors_lie_in_the_middle_of_their_cells():
    assert ANCHORS.shape == (2254, 2)
    found = ANCHORS[[0, 1, 2, 56, 1568, 1960, 2253]]
    assert found.tolist() == [[4, 4], [4, 4], [12, 4], [4, 12], [8, 8], [16, 16], [208, 208]]


def test_windows_hold_the_whole_frame_or_parts_that_overlap_by_half():
    assert whole_frame(720, 1280) == (-280, 0, 1280)
    image = window_image(np.full((1280, 720, 3), (255, 0, 51), np.uint8), (-280, 0, 1280))
    assert image.shape == (3, 224, 224) and image.dtype == np.float32
    np.testing.assert_allclose(image[:, 100, 112], [1, -1, -0.6], atol=1e-6)
    assert (image[..., :49] == -1).all() and (image[0, :, 49:175] == 1).all() and (image[..., 175:] == -1).all()
    assert tiles(1280, 720, 720) == [(0, 0, 720), (280, 0, 720), (560, 0, 720)]
    assert tiles(100, 10, 40) == [(0, -15, 40), (20, -15, 40), (40, -15, 40), (60, -15, 40)]


def network_output(*people):
    """Scores and boxes for one window: (anchor, score logit, hips, point above the head), in the network's pixels."""
    boxes, scores = np.zeros((1, 2254, 12), np.float32), np.full((1, 2254, 1), -50, np.float32)
    for anchor, score, hips, above in people:
        head = np.array(above, float)
        points = [head, (20, 20), hips, above, hips, above]
        boxes[0, anchor] = np.ravel(points) - np.tile(ANCHORS[anchor], 6) * ([1] * 2 + [0] * 2 + [1] * 8)
        scores[0, anchor] = score
    return boxes, scores


def test_a_box_becomes_a_region_and_two_on_one_head_are_one_person():
    # a window of 448 pixels at (-100, 50): each of the network's pixels is two of the frame's
    boxes, scores = network_output((700, math.log(3), (100, 120), (130, 80)))
    (found,) = regions(boxes, scores, [(-100, 50, 448)], 0.5)
    # from the hips at (100, 290) 60 to the right and 80 up: 100 long
    np.testing.assert_allclose(found, (100, 290, 100, 200, math.atan2(60, 80), 0.75), rtol=1e-5)
    first, again = (5, 1.0, (60, 120), (60, 40)), (900, 2.0, (62, 120), (62, 40))
    other = (1600, 1.5, (160, 120), (160, 40))
    found = regions(*network_output(first, again, other), [(0, 0, 224)], 0.5)
    assert [round(region.x) for region in found] == [62, 160]
    assert regions(*network_output(first), [(0, 0, 224)], 0.8) == []


# --- the crop


def test_a_leaned_person_is_turned_upright_and_the_axes_of_the_crop_lead_back_to_the_frame():
    frame = np.zeros((400, 400, 3), np.uint8)
    frame[196:205, 276:285] = 255  # around (280.5, 200.5): 80 right of the middle
    image = crop(frame, Region(200.5, 200.5, 64, 204.8, angle=math.pi / 2))  # the person's up is the frame's right
    assert image.shape == (3, 256, 256) and image.max() == 1
    y, x = np.argwhere(image[0] > 0.5).mean(axis=0) + 0.5
    np.testing.assert_allclose((x, y), (128, 48), atol=0.01)
    turn, center = frame_axes(Region(100, 200, 64, 128, angle=math.pi / 2))
    assert crop_side(UPRIGHT) == 160
    np.testing.assert_allclose(center + turn @ [128, 0], (100, 280), atol=1e-9)  # to the crop's right: down
    np.testing.assert_allclose(center + turn @ [0, -128], (180, 200), atol=1e-9)


def test_a_landmark_moves_to_the_peak_of_its_heatmap_which_ends_at_its_edges():
    heatmaps = np.full((1, 2, 64, 64), -80.0)
    heatmaps[0, 0, 22, [31, 33]] = 80  # two cells right of column 30, two below row 20
    heatmaps[0, 1, 22, 31] = -0.1  # nowhere half sure
    places = np.full((1, 2, 2), (30.5 / 64, 20.5 / 64))
    found = refined(places, heatmaps)
    np.testing.assert_allclose(found[0, 0] * 64, (32, 22), atol=1e-6)
    assert found[0, 1].tolist() == places[0, 1].tolist()
    heatmaps = np.full((1, 1, 64, 64), -80.0)
    heatmaps[0, 0, 0, 63] = 80
    np.testing.assert_allclose(refined(np.array([[[0.99, -0.02]]]), heatmaps) * 64, [[[63, 0]]], atol=1e-6)


# --- the 134 keypoints


def landmarks(person=1.0):
    """Landmark i lies at (10 i, 5 i) with the score 1 - i / 100."""
    i = np.arange(39.0)
    return Landmarks(np.stack([10 * i, 5 * i], axis=1)[None], (1 - i / 100)[None], np.array([person]))


def test_landmarks_take_their_places_and_are_not_seen_where_nobody_is_or_outside_the_frame():
    points, scores = keypoints(landmarks(), 1000, 1000)
    order = [0, None, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7, 31, None, 29, 32, None, 30]
    for keypoint, landmark in enumerate(order):
        if landmark is not None:
            assert points[0, keypoint].tolist() == [10 * landmark, 5 * landmark]
            assert scores[0, keypoint] == 1 - landmark / 100
    assert points[0, NECK].tolist() == [115, 57.5] and scores[0, NECK] == 1 - 12 / 100
    assert points[0, [LEFT_HAND.start, RIGHT_HAND.start]].tolist() == [[150, 75], [160, 80]]
    assert not scores[0, [19, 22]].any() and not scores[0, FACE.start :].any()
    assert not keypoints(landmarks(person=0.49), 1000, 1000)[1].any()
    points, scores = keypoints(landmarks(), 115, 1000)  # the left shoulder at x 110 is in, the right at x 120 is out
    seen = scores[0] >= VISIBLE_SCORE
    assert seen[[NOSE, 5]].all() and not seen[[2, NECK, 8, 10]].any()
    assert points[0, 2].tolist() == [120, 60]


def standing(lean=0.0):
    """A person with the hips at (100, 200), a trunk of 50 and feet 90 below the hips, leaned about the hips."""
    points, scores = np.zeros((134, 2)), np.zeros(134)
    places = {2: (-20, -50), 5: (20, -50), 8: (-10, 0), 11: (10, 0), 10: (0, 90), 0: (0, -80)}
    for keypoint, (x, y) in places.items():
        turned = x * math.cos(lean) - y * math.sin(lean), x * math.sin(lean) + y * math.cos(lean)
        points[keypoint], scores[keypoint] = np.add((100, 200), turned), 0.9
    return points, scores


def test_the_next_region_leans_like_the_trunk_reaches_the_farthest_joint_and_needs_enough_of_them():
    for lean in (0.0, 0.5, -2.0):  # 1.9 trunks are farther than the feet
        np.testing.assert_allclose(next_region(*standing(lean))[:5], (100, 200, 95, 190, lean), atol=1e-9)
    points, scores = standing()
    points[10] = (100, 330)
    assert next_region(points, scores).height == 2 * 130
    assert next_region(points, np.where(np.arange(134) < 5, scores, 0.1)) is None
    scores[11] = 0
    assert next_region(points, scores) is None


# --- both networks together


def landmarks_at(*people):
    """Return landmarks of people 120 high, each by the x of the hips, whose y is 200, and the score of the person."""
    points = np.array([np.tile((x, 200.0), (39, 1)) for x, _ in people])
    points[:, 34, 1] -= 60
    return Landmarks(points, np.ones((len(people), 39)), np.array([score for _, score in people]))


def test_only_who_is_surely_in_one_place_is_confirmed_there_or_read_again_elsewhere():
    found = confirmed([UPRIGHT] * 3, landmarks_at((100, 1.0), (100, 0.5), (115, 1.0)))
    assert found == [Region(100, 200, 60, 120)]
    (again,) = misplaced([UPRIGHT] * 3, landmarks_at((115, 0.98), (115, 0.96), (104, 0.98)))
    assert again == Region(115, 200, 60, 120)
    assert confirmed([again], landmarks_at((115, 0.98)), SURE_AGAIN) == []
    assert confirmed([again], landmarks_at((115, 0.992)), SURE_AGAIN) == [again]


def test_one_person_found_twice_counts_once():
    people = [Region(x, 0, 50, 100, score=score) for x, score in ((0, 0.7), (12, 0.9), (80, 0.8))]
    assert distinct(people) == [people[1], people[2]]


def test_the_detector_says_what_it_is_and_needs_no_network_for_nobody(detector):
    points, scores = detector.estimate(np.zeros((8, 8, 3), np.uint8), [])
    assert points.shape == (0, 134, 2) and scores.shape == (0, 134)
    assert detector.name == "BlazePose (CPU)"
    files = "blazepose_detection.onnx", "blazepose_landmarks.onnx"
    assert detector.notes == [f"{file} runs on CPU, as asked." for file in files]
    assert detector.fingerprint == BlazePose("CPU").fingerprint


# --- real pictures: the media of ComfyUI's own templates, which its requirements install


def picture(package, name, frame=0):
    root = Path(importlib.util.find_spec(f"comfyui_workflow_templates_media_{package}").origin).parent
    image = Image.open(root / "templates" / name)
    image.seek(frame)
    return np.asarray(image.convert("RGB"))


MAN_IN_COAT = ("other", "utility_sdpose_ood_video_to_pose_map-2.webp")  # 350 pixels, turned to us


def test_a_man_is_found_read_followed_and_not_found_again_by_a_second_run(detector):
    frame = picture(*MAN_IN_COAT)
    (region,) = detector.find(frame)
    points, scores = detector.estimate(frame, [region])
    np.testing.assert_allclose(points[0, NOSE], (181, 83), atol=6)
    assert (scores[0, [0, 1, 2, 3, 5, 6, 8, 11]] >= VISIBLE_SCORE).all()
    assert points[0, 2, 0] < points[0, 5, 0]  # his right side is on our left
    again, _ = detector.estimate(frame, [detector.follow(points[0], scores[0])])
    assert np.linalg.norm(again - points, axis=2)[0, :9].max() < 15
    beside = region._replace(x=region.x + 0.05 * region.height)
    assert len(detector._confirm_again(frame, [beside], [])) == 1
    assert detector._confirm_again(frame, [beside], [region._replace(height=1.2 * region.height)]) == []


class Noisy:
    """A session whose inputs carry noise, as those of another processor or ONNX Runtime do."""

    def __init__(self, session, size):
        self._session, self._size, self._generator = session, size, np.random.default_rng(1)

    def run(self, feeds):
        noise = {name: self._size * self._generator.standard_normal(x.shape) for name, x in feeds.items()}
        return self._session.run({name: x + noise[name] for name, x in feeds.items()})


class Pushed(BlazePose):
    """Looks for the dancer beside the right place in the frame after the tenth."""

    frames = 0

    def follow(self, points, scores):
        self.frames += 1
        region = super().follow(points, scores)
        push = 0.03 * region.height * (self.frames == 10)
        return region._replace(x=region.x + push, y=region.y - push, height=region.height + push)


def swaying(frames=20):
    """Return a clip of the man in the coat before a camera that sways, leans and comes nearer."""
    still, middle = picture(*MAN_IN_COAT), (175, 200)
    for t in np.linspace(0, 2 * np.pi, frames):
        matrix = cv2.getRotationMatrix2D(middle, 12 * math.sin(t), 0.8 + 0.1 * math.cos(2 * t))
        matrix[:, 2] += 25 * math.sin(2 * t), 15 * math.cos(t)
        yield cv2.warpAffine(still, matrix, (350, 350))


def mans_joints(detector):
    """Return the man's body [F, 18, 2] in pixels, and which joints are seen."""
    (track,) = extract(swaying(), detector).tracks
    return track.points[:, BODY] * (350, 350), track.visible[:, BODY]


def test_the_dance_does_not_depend_on_the_last_bits():
    """Neither noise of 1e-6 nor OpenCV's arithmetic moves a joint by half a pixel; a wrong crop is soon forgotten."""
    points, seen = mans_joints(BlazePose("CPU"))
    noisy = BlazePose("CPU")
    noisy._detection, noisy._landmarks = Noisy(noisy._detection, 1e-6), Noisy(noisy._landmarks, 1e-6)
    other = BlazePose("CPU")
    other._detection, other._landmarks = (OpenCVNetwork(*network, "") for network in blazepose.OUTPUTS.items())
    for detector in (noisy, other):
        moved = np.linalg.norm(mans_joints(detector)[0] - points, axis=2)[seen]
        assert 0 < moved.max() < 0.5
    pushed = np.linalg.norm(mans_joints(Pushed("CPU"))[0] - points, axis=2).max(axis=1)
    assert not pushed[:10].any() and pushed[10] > 0.1 and not pushed[12:].any()


def test_three_people_are_read_in_one_run(detector):
    frame = picture("video", "api_luma_ray3_2_video_edit-1.webp")
    found = detector.find(frame)
    assert len(found) == 3
    points, scores = detector.estimate(frame, found)
    alone = [detector.estimate(frame, [region])[0][0] for region in found]
    np.testing.assert_allclose(points[:, BODY], np.array(alone)[:, BODY], atol=0.05)
    assert (scores[:, BODY] >= VISIBLE_SCORE).sum(axis=1).min() >= 10


@pytest.mark.parametrize(
    ("size", "side", "x", "y"),
    [((720, 1280), 200, 900, 100), ((720, 1280), 79, 853, 240), ((2160, 3840), 243, 2560, 720)],
    ids=["on a part of the frame", "by the finest search", "by the finest search of a large frame"],
)
def test_a_small_person_is_found(detector, size, side, x, y):
    frame = np.full((*size, 3), (40, 70, 110), np.uint8)
    frame[y : y + side, x : x + side] = Image.fromarray(picture(*MAN_IN_COAT)).resize((side, side))
    (region,) = detector.find(frame)
    np.testing.assert_allclose((region.x, region.y), (x + 0.51 * side, y + 0.69 * side), atol=0.07 * side)


class Blind:
    """A detection session that sees nobody, and counts the windows it is given."""

    windows = 0

    def run(self, feeds):
        count = len(feeds["image"])
        self.windows += count
        return np.zeros((count, 2254, 12), np.float32), np.full((count, 2254, 1), -50, np.float32)


def test_the_finest_search_can_be_left_out_and_a_search_ends_between_two_runs(detector, monkeypatch):
    frame = np.zeros((720, 1280, 3), np.uint8)
    for fine, windows in ((False, 25), (True, 123)):
        monkeypatch.setattr(detector, "_detection", Blind())
        assert detector.find(frame, fine) == []
        assert detector._detection.windows == windows
    monkeypatch.setattr(detector, "_detection", Blind())
    checks = iter(range(6))
    with pytest.raises(StopIteration):
        detector.find(frame, check=lambda: next(checks))
    assert detector._detection.windows == 25 + blazepose.BATCH  # the sixth run is the first of the finest search


@pytest.mark.parametrize(
    ("package", "name", "frame", "hips"),
    [
        ("assets_01", "video_wan_dancer-1.webp", 18, (191, 208)),
        # read beside the right place at first
        ("api", "api_runway_gen3a_turbo_image_to_video-1.webp", 50, (233, 238)),
        ("image", "image_ovis_text_to_image-1.webp", 0, (175, 295)),
    ],
)
def test_a_person_is_found(detector, package, name, frame, hips):
    (region,) = detector.find(picture(package, name, frame))
    np.testing.assert_allclose((region.x, region.y), hips, atol=15)


@pytest.mark.parametrize(
    "frame",
    [
        *(np.full((720, 1280, 3), value, np.uint8) for value in (0, 128, 255)),
        *(np.full((*size, 3), 200, np.uint8) for size in ((1, 1), (3, 5), (10, 3000), (3000, 10))),
        np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8),
    ],
)
def test_nobody_is_in_an_empty_picture_of_any_shape_or_in_noise(detector, frame):
    assert detector.find(frame) == []


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("image", "utility-topaz_landscape_upscaler-1.webp"),
        ("image", "utility-gan_upscaler-1.webp"),  # parrots
        ("api", "templates-product_scene_relight-1.webp"),  # here and below the second run of the network decides
        ("image", "image_anima_preview-1.webp"),
    ],
)
def test_nobody_is_in_a_picture_of_other_things(detector, package, name):
    assert detector.find(picture(package, name)) == []


def test_a_region_without_anybody_scores_zero(detector):
    frame = picture("image", "utility-topaz_landscape_upscaler-1.webp")
    _, scores = detector.estimate(frame, [Region(200, 200, 150, 300)])
    assert not scores.any()
