"""The drawing beyond the golden frames: the shrunk frame, palettes, widths, and what lies outside the canvas."""

import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.dwpose.draw import Style, draw_clip, draw_large, draw_person, drawn_box, shrink
from steadydancer_pack.dwpose.poses import LEFT_HAND, NECK, NOSE, PoseClip, Track
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip

PERSON = clip(ADULT, [Stance()], Camera(144, 256))


def drawing(track, style=Style(), size=(512, 288)):  # noqa: B008
    canvas = np.zeros((*size, 3), np.uint8)
    draw_person(canvas, track, 0, style)
    return canvas


@pytest.mark.parametrize("size", [(512, 288), (510, 286)])
@pytest.mark.parametrize("neck", [(0.28, 0.25), (0.0, 0.0), (0.56, 1.0), (3.0, 3.0)])
def test_shrinking_equals_pils_of_the_whole_picture(size, neck):
    person = clip(ADULT, [Stance(arm=(80, 120))], Camera(144, 256, neck))
    canvas = drawing(person.tracks[0], size=size)
    whole = Image.fromarray(canvas).resize((size[1] // 2, size[0] // 2), Image.Resampling.BICUBIC)
    assert np.array_equal(shrink(canvas), np.asarray(whole))
    assert np.array_equal(shrink(canvas, drawn_box(person, 0, *size[::-1])), np.asarray(whole))


def test_the_box_holds_all_that_is_drawn():
    generator = np.random.default_rng(3)
    for _ in range(50):
        person = PoseClip(1, 1, 1, (Track(1, generator.uniform(-0.3, 1.3, (1, 134, 2)), np.ones((1, 134))),))
        canvas, box = next(draw_large(person, 300, 500))
        inside = np.zeros(canvas.shape[:2], bool)
        inside[box.top : box.bottom, box.left : box.right] = True
        assert canvas.any() and not canvas[~inside].any()


def test_no_frame_shows_what_the_one_before_drew():
    people = [clip(ADULT, [Stance()], Camera(144, 256, neck)) for neck in ((0.1, 0.2), (0.4, 0.5))]
    points, scores = (np.concatenate([getattr(c.tracks[0], k) for c in people]) for k in ("points", "scores"))
    frames = list(draw_clip(PoseClip(144, 256, 2, (Track(1, points, scores),)), 144, 256))
    assert all(np.array_equal(frame, shrink(drawing(c.tracks[0]))) for frame, c in zip(frames, people, strict=True))


def test_a_clip_is_drawn_at_the_size_of_the_frames_and_black_where_nobody_is():
    frames = list(draw_clip(PERSON, 144, 256))
    assert [frame.shape for frame in frames] == [(256, 144, 3)]
    assert np.array_equal(frames[0], shrink(drawing(PERSON.tracks[0])))
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
