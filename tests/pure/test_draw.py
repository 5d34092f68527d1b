"""The drawing beyond the golden frames: the shrunk frame, palettes, widths, and what lies outside the canvas."""

import threading
import time

import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.dwpose.draw import Style, draw_clip, draw_frame, draw_person
from steadydancer_pack.dwpose.large_canvas import LargeCanvas
from steadydancer_pack.dwpose.pipeline import Callbacks, draw_poses
from steadydancer_pack.dwpose.poses import LEFT_HAND, NECK, NOSE, PoseClip, Track
from steadydancer_pack.media.threads import map_in_threads
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

PERSON = clip(ADULT, [Stance()], Camera(144, 256))


def drawing(track, style=Style(), size=(512, 288)):  # noqa: B008
    canvas = np.zeros((*size, 3), np.uint8)
    draw_person(canvas, track, 0, style)
    return canvas


def shrunk(canvas):
    """Return the drawing [2H, 2W, 3] as PIL shrinks the whole of it, first its width."""
    height, width = (side // 2 for side in canvas.shape[:2])
    narrow = Image.fromarray(canvas).resize((width, 2 * height), Image.Resampling.BICUBIC)
    return np.asarray(narrow.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("size", [(144, 256), (143, 255), (150, 131), (8, 40), (7, 5)])
def test_shrinking_equals_pils_of_the_whole_picture(size):
    """Anywhere on the canvas and beyond it, in frames of whole cells and others, as bytes and as floats."""
    width, height = size
    generator, canvas = np.random.default_rng(5), LargeCanvas(width, height)
    for thickness in (0.3, 1.0, 3.0) * 4:
        low, high = np.sort(generator.uniform(-0.3, 1.3, 2))
        seen = generator.random((1, 134)) < generator.choice([0.1, 0.5, 1])
        track = Track(1, generator.uniform(low, high, (1, 134, 2)), seen.astype(float))
        style, clip_of_one = Style(thickness=thickness), PoseClip(width, height, 1, (track,))
        wanted = shrunk(drawing(track, style, (2 * height, 2 * width)))
        for dtype, expected in ((np.uint8, wanted), (np.float32, np.float32(wanted) / np.float32(255))):
            frame = np.zeros((height, width, 3), dtype)
            draw_frame(clip_of_one, 0, frame, canvas, style)
            assert np.array_equal(frame, expected)
        assert not canvas.drawing.any()


@pytest.mark.parametrize("size", [(24, 16), (23, 17)])
def test_a_pixel_anywhere_is_shrunk_as_pil_does(size):
    """With another one in the first row, so that it is not always the first to be shrunk."""
    width, height = size
    canvas, whole = LargeCanvas(width, height), np.zeros((2 * height, 2 * width, 3), np.uint8)
    colors = np.random.default_rng(5).integers(0, 256, whole.shape)
    for y, x in np.ndindex(whole.shape[:2]):
        for picture in (canvas.drawing, whole):
            picture[0, width] = picture[y, x] = colors[y, x]
        frame = np.zeros((height, width, 3), np.uint8)
        canvas.move_to(frame)
        assert np.array_equal(frame, shrunk(whole)), (y, x)
        whole[y, x] = 0


def test_no_frame_shows_what_the_one_before_drew():
    people = [clip(ADULT, [Stance()], Camera(144, 256, neck)) for neck in ((0.1, 0.2), (0.4, 0.5))]
    points, scores = (np.concatenate([getattr(c.tracks[0], k) for c in people]) for k in ("points", "scores"))
    frames = list(draw_clip(PoseClip(144, 256, 2, (Track(1, points, scores),)), 144, 256))
    assert all(np.array_equal(frame, shrunk(drawing(c.tracks[0]))) for frame, c in zip(frames, people, strict=True))


def test_threads_draw_each_frame_of_each_clip_in_its_place():
    moving = clip(ADULT, dance(20), Camera(144, 256))
    clips, seen = [moving, moving.at(slice(5, 9))], []
    images = draw_poses(clips, (144, 256), callbacks=Callbacks(lambda *counts: seen.append(counts)))
    assert seen == [(done, 24) for done in range(1, 25)]
    for drawn, image in zip(clips, images, strict=True):
        assert image.dtype == np.float32
        wanted = np.float32([*draw_clip(drawn, 144, 256)]) / np.float32(255)
        assert np.array_equal(image, wanted)


def test_an_exception_of_the_caller_or_of_the_work_ends_the_threads():
    class Cancelled(Exception):
        pass

    def cancel(done, _total):
        if done == 3:
            raise Cancelled

    before, started = threading.active_count(), time.process_time()
    with pytest.raises(Cancelled):
        draw_poses(
            [clip(ADULT, dance(20), Camera(144, 256)).at(np.zeros(5000, int))], (144, 256), callbacks=Callbacks(cancel)
        )
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda number: 1 // (number - 2), range(10**9), 2))
    assert threading.active_count() == before and time.process_time() - started < 1


def test_a_clip_is_drawn_at_the_size_of_the_frames_and_black_where_nobody_is():
    frames = list(draw_clip(PERSON, 144, 256))
    assert [frame.shape for frame in frames] == [(256, 144, 3)]
    assert np.array_equal(frames[0], shrunk(drawing(PERSON.tracks[0])))
    frames = list(draw_clip(PoseClip(64, 48, 2), 64, 48))
    assert len(frames) == 2 and not np.any(frames)


def test_the_palette_is_openposes_with_red_and_blue_exchanged():
    ours, openpose = (drawing(PERSON.tracks[0], Style(name)) for name in ("steadydancer", "openpose"))
    assert np.array_equal(ours, openpose[..., ::-1])
    start, end = (PERSON.tracks[0].points[0, joint] * (288, 512) for joint in (NECK, NOSE))
    x, y = ((start + end) / 2).astype(int)
    assert tuple(ours[y, x]) == (153, 0, 0)  # neck to nose is red


def test_thickness_multiplies_the_area():
    thin, thick = ((drawing(PERSON.tracks[0], Style(thickness=t)) > 0).any(axis=2).sum() for t in (1, 2))
    assert 1.6 < thick / thin < 2.1


def test_hands_can_be_left_out_and_joints_far_outside_do_no_harm():
    points, scores = np.full((1, 134, 2), 0.5), np.zeros((1, 134))
    points[0, LEFT_HAND, 0] = np.linspace(0.2, 0.8, 21)
    scores[0, LEFT_HAND] = 1
    hand = Track(1, points, scores)
    assert drawing(hand).any() and not drawing(hand, Style(hands=False)).any()
    points = PERSON.tracks[0].points.copy()
    points[0, 4] = 1e9, -1e9
    assert drawing(Track(1, points, PERSON.tracks[0].scores)).any()


@pytest.mark.parametrize(("x", "y"), [(0.5, 100), (100, 0.5), (0.99, 0.99), (-0.5, 100), (0, 0)])
def test_a_hand_point_in_the_first_column_or_row_is_not_drawn(x, y):
    points, scores = np.zeros((1, 134, 2)), np.zeros((1, 134))
    points[0, LEFT_HAND.start] = x / 288, y / 512
    scores[0, LEFT_HAND.start] = 1
    assert not drawing(Track(1, points, scores)).any()
    points[0, LEFT_HAND.start] = max(x, 1) / 288, max(y, 1) / 512
    assert drawing(Track(1, points, scores)).any()


@pytest.mark.parametrize(("style", "message"), [({"palette": "x"}, "Unknown palette"), ({"thickness": 0}, "Thickness")])
def test_an_unknown_style_is_refused(style, message):
    with pytest.raises(ValueError, match=message):
        Style(**style)
