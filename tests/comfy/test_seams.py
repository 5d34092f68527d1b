"""Seam scores on clips whose seams are known."""

import pytest
import torch

from steadydancer_pack.steadydancer_core.long_video.seams import describe, seam_scores


def drift(frames=40, step=0.01):
    """A clip that grows brighter by `step` a frame."""
    return (0.1 + step * torch.arange(frames, dtype=torch.float32))[:, None, None, None].expand(frames, 4, 4, 3)


def test_an_even_clip_has_no_seam_and_a_still_one_divides_by_no_zero():
    (score,) = seam_scores(drift(), [20])
    assert score.frame == 20 and score.jump == pytest.approx(1.0, abs=1e-4) and not score.visible
    (score,) = seam_scores(torch.zeros(10, 2, 2, 3), [5])
    assert (score.jump, score.color) == (0.0, 0.0)


def test_a_cut_is_counted_in_units_of_the_motion_around_it():
    clip = drift(step=0.001).clone()
    clip[20:] += 0.004
    (score,) = seam_scores(clip, [20])
    assert score.jump == pytest.approx(5.0, abs=1e-3) and score.visible
    assert [s.jump > 2 for s in seam_scores(clip, [10, 20, 30])] == [False, True, False]


def test_a_tint_is_told_in_255ths_of_the_channel_that_moves_most():
    clip = torch.full((40, 4, 4, 3), 0.5)
    clip[20:, ..., 0] += 10 / 255
    (score,) = seam_scores(clip, [20])
    assert score.color == pytest.approx(10.0, abs=1e-3)


def test_a_spread_border_is_found_anywhere_in_its_reach():
    clip = drift(step=0.001).clone()
    clip[23:] += 0.004
    assert seam_scores(clip, [20])[0].jump == pytest.approx(1.0, abs=1e-3)
    assert seam_scores(clip, [20], reach=3)[0].jump == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("border", [0, 10, 11, -1])
def test_a_border_outside_the_clip_is_left_out(border):
    assert seam_scores(torch.zeros(10, 2, 2, 3), [border]) == []


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_short_clips_are_scored_too(frames):
    assert all(torch.isfinite(torch.tensor(score[1:])).all() for score in seam_scores(torch.rand(frames, 2, 2, 3), [1]))


def test_the_words():
    clip = drift(step=0.001).clone()
    clip[20:] += 0.1
    text = describe(seam_scores(clip, [10, 20]))
    assert text.splitlines()[0] == "1 of 2 seams should be visible."
    assert text.count("(visible)") == 1 and "frame 20: change 101.00 x" in text
    assert describe([]) == "No seam: the video is one part."
