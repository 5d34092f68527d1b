"""Another frame rate: as long as before, and every frame shown within half a frame of its time."""

import pytest

from steadydancer_pack.media.frame_rate import nearest_frames, shown_frames


@pytest.mark.parametrize("source", [1, 2, 5, 33, 81, 401])
@pytest.mark.parametrize(("fps", "multiplier"), [(16, 4), (16, 2), (24, 3), (29.97, 2)])
@pytest.mark.parametrize("new_fps", [24, 25, 29.97, 30, 60])
def test_length_and_every_frame_are_right_within_half_a_frame(source, fps, multiplier, new_fps):
    chosen = nearest_frames((source - 1) * multiplier + 1, fps, multiplier, new_fps)
    assert abs(len(chosen) / new_fps - source / fps) <= 0.5 / new_fps + 1e-9
    last = (source - 1) / fps  # held to the end
    late = [abs(index / (fps * multiplier) - min(k / new_fps, last)) for k, index in enumerate(chosen)]
    assert max(late) <= 0.5 / min(new_fps, fps * multiplier) + 1e-9


def test_a_multiple_takes_every_frame_of_it():
    assert nearest_frames(13, 16, 3, 24) == [0, 2, 4, 6, 8, 10, 12, 12]  # 5 frames of 16: 0.3125 s, 7.5 of 24
    assert nearest_frames(5, 16, 1, 16) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("frames", "fps", "multiplier", "new_fps", "told"),
    [
        (0, 16, 1, 24, "Found 0 images"),
        (12, 16, 4, 24, "Found 12 images, .* multiplier 4: there would be 9. Set multiplier to that of Run Frame"),
        (9, 0, 4, 24, "fps is 0. It must be above 0"),
        (9, 16, 4, float("inf"), "The new frame rate is inf"),
    ],
)
def test_what_cannot_be_is_told(frames, fps, multiplier, new_fps, told):
    with pytest.raises(ValueError, match=told):
        nearest_frames(frames, fps, multiplier, new_fps)


def test_a_panel_shows_what_is_on_screen_and_holds_its_last_frame():
    assert shown_frames(8, 30, 3, 16) == [0, 0, 1, 1, 2, 2, 2, 2]
    assert shown_frames(4, 16, 81, 16) == [0, 1, 2, 3]
