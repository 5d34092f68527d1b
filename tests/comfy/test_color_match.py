"""Color matching: a tint goes, the dancer's own colors stay, and the border shows no step."""

import pytest
import torch

from steadydancer_pack.steadydancer_core.long_video import color_match
from steadydancer_pack.steadydancer_core.long_video.color_match import apply_tint, fit_tint, match_colors

HEIGHT, WIDTH = 48, 64
STEP = 1 / 255
TINT = torch.tensor([0.06, -0.02, -0.04])


@pytest.fixture
def stage():
    """A photo: a room with a gradient, a lamp and a carpet, away from black and white so that no tint is clamped."""
    y, x = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    room = torch.stack([0.3 + 0.3 * x, 0.35 + 0.2 * y, 0.5 - 0.2 * x * y], dim=-1)
    room[30:, :] = torch.tensor([0.55, 0.3, 0.25])
    room[5:12, 50:58] = torch.tensor([0.8, 0.75, 0.5])
    return room


def dance(stage, frames, width=20):
    """A dancer in blue crosses the stage; she covers less than half of it."""
    clip = stage.repeat(frames, 1, 1, 1)
    for index, frame in enumerate(clip):
        left = index * (WIDTH - width) // max(1, frames - 1)
        frame[8:44, left : left + width] = torch.tensor([0.2, 0.3, 0.75])
    return clip


def worst(a, b):
    return float((a - b).abs().max())


def test_strength_0_touches_nothing_and_half_the_strength_is_half_the_way(stage):
    frames = dance(stage, 9) + TINT
    assert match_colors(frames, frames[:5] - TINT, stage[None], 0.0) is frames
    matched = match_colors(frames, frames[:5] - TINT, stage[None], 0.5)
    assert worst(matched[:5], frames[:5] - TINT / 2) < STEP


def test_without_a_tint_a_moving_dancer_changes_nothing(stage):
    frames = dance(stage, 81)
    assert worst(match_colors(frames, frames[:5].clone(), stage[None], 1.0), frames) < 0.01 * STEP


@pytest.mark.parametrize(
    "tinted",
    [
        lambda x: x + TINT,
        lambda x: 0.5 + 1.1 * (x - 0.5),
        lambda x: x.mean(-1, True) + 1.2 * (x - x.mean(-1, True)),
        lambda x: x * torch.tensor([1.1, 1.0, 0.9]),
    ],
    ids=["tint", "contrast", "saturation", "white balance"],
)
def test_a_tint_is_taken_back_behind_a_moving_dancer(stage, tinted):
    frames = dance(stage, 5)
    tint = fit_tint(tinted(frames), stage[None])
    assert worst(apply_tint(tinted(frames), tint), frames) < STEP


def test_noise_hardly_disturbs_the_fit(stage):
    """Grain of 5 of 255 in frames of 384x512, which a fit sees averaged."""
    tinted = dance(stage, 2).repeat_interleave(8, dim=1).repeat_interleave(8, dim=2) + TINT
    grain = 5 * STEP * torch.randn(tinted.shape, generator=torch.Generator().manual_seed(1))
    tint = fit_tint(tinted + grain, stage.repeat_interleave(8, dim=0).repeat_interleave(8, dim=1)[None])
    assert worst(apply_tint(dance(stage, 5) + TINT, tint), dance(stage, 5)) < 2 * STEP


def test_the_chunk_starts_with_the_colors_before_it_and_ends_with_those_of_the_photo(stage):
    """The video before is half as tinted as the chunk: no step at the border, nothing left of it at the end."""
    clean = dance(stage, 81)
    matched = match_colors(clean + TINT, clean[:5] + TINT / 2, stage[None], 1.0)
    assert worst(matched[:5], clean[:5] + TINT / 2) < STEP
    assert worst(matched[-5:], clean[-5:]) < STEP
    left = (matched - clean).mean(dim=(1, 2))[:, 0]
    assert (left.diff() < 1e-4).all() and float(left.diff().abs().max()) < STEP / 8


def test_the_pull_does_not_hurry_in_a_short_chunk(stage):
    clean = dance(stage, 9)
    matched = match_colors(clean + TINT, clean[:5] + TINT, stage[None], 1.0)
    left = (matched - clean).mean(dim=(1, 2))[:, 0] / TINT[0]
    want = torch.tensor([1.0] * 5 + [1 - n / color_match.PULL_FRAMES for n in range(1, 5)])
    assert torch.allclose(left, want, atol=0.02)


def test_drift_that_adds_up_stays_bounded(stage):
    """Ten chunks, each of which drifts by TINT on its way from the frames it was given."""
    drift = TINT * torch.linspace(0, 1, 81).view(-1, 1, 1, 1)
    before = stage.repeat(5, 1, 1, 1)
    for _ in range(10):
        tinted_start = (before - stage)[-1].mean(dim=(0, 1))
        frames = match_colors(stage + tinted_start + drift, before, stage[None], 1.0)
        before = frames[-5:]
        assert worst(frames, stage.expand_as(frames)) < 0.5 * float(TINT.max())
    assert worst(before, stage.expand_as(before)) < STEP


def test_another_scene_is_not_taken_for_a_tint(stage):
    """In noise nothing lies where it lay, so nothing is concluded."""
    noise = torch.rand(5, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(1))
    assert worst(match_colors(noise, noise.flip(0), stage[None], 1.0), noise) < 1e-6


def test_a_tint_is_limited_and_a_flat_picture_has_no_contrast_to_match(stage):
    tint = fit_tint((stage[None] - 0.5) * 0.5 + 0.8, stage[None])
    assert torch.allclose(tint.matrix, color_match.MAX_GAIN * torch.eye(3).double())
    assert worst(apply_tint(stage, tint), stage) > 0.05
    flat = torch.full((1, 8, 8, 3), 0.5)
    tint = fit_tint(flat, flat + 0.05)
    assert worst(tint.matrix, torch.eye(3)) < 1e-9 and worst(apply_tint(flat, tint), flat + 0.05) < 1e-5
