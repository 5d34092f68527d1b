"""Which frames each chunk makes: every frame of the dance, in lengths that the model takes."""

import itertools

import pytest
import torch

from steadydancer_pack.steadydancer_core.long_video.chunk_plan import (
    borders,
    choose_lengths,
    chunk_seed,
    cross_fade,
    plan_chunks,
)


@pytest.mark.parametrize(("chunk_length", "overlap"), [(81, 1), (81, 5), (81, 17), (9, 5), (5, 1), (9, 1)])
@pytest.mark.parametrize("frames", [*range(5, 30), 81, 82, 84, 85, 86, 157, 158, 321])
def test_the_plan_covers_every_frame_of_the_dance(frames, chunk_length, overlap):
    plan = plan_chunks(frames, chunk_length, overlap)
    assert plan[0].start == 0 and plan[-1].stop == frames
    assert all(later.start == chunk.stop - overlap for chunk, later in itertools.pairwise(plan))
    assert all(chunk.frames > overlap or len(plan) == 1 for chunk in plan)
    assert all(chunk.frames == chunk_length for chunk in plan[:-1])
    assert all(chunk.length % 4 == 1 and 5 <= chunk.length < chunk.frames + 4 for chunk in plan)
    assert all(chunk.frames <= chunk.length <= chunk_length for chunk in plan)


def test_lengths_are_brought_to_4n_plus_1():
    notes = []
    assert choose_lengths(83, 8, notes) == (81, 5)
    assert notes == ["chunk_length 83 brought to 81 (4n+1)", "overlap 8 brought to 5 (4n+1)"]
    assert choose_lengths(5, 1, notes) == (5, 1) and len(notes) == 2


SHORT, NO_OVERLAP, NOTHING_NEW = "a chunk must have at least 5", "from at least 1 frame", "leaves nothing new"


@pytest.mark.parametrize(
    ("lengths", "message"), [((4, 1), SHORT), ((9, 0), NO_OVERLAP), ((9, 9), NOTHING_NEW), ((12, 10), NOTHING_NEW)]
)
def test_lengths_that_make_no_chunk(lengths, message):
    with pytest.raises(ValueError, match=message):
        choose_lengths(*lengths, [])


def test_seeds_follow_from_seed_and_index():
    seeds = [chunk_seed(7, index) for index in range(50)]
    assert seeds[0] == 7 and len(set(seeds)) == 50 and all(0 <= seed < 1 << 64 for seed in seeds)
    assert seeds[1] == chunk_seed(7, 1) != chunk_seed(8, 1)


def test_the_cross_fade_is_linear_and_borders_are_its_middles():
    faded = cross_fade(torch.zeros(3, 1, 1, 3), torch.ones(5, 1, 1, 3))
    assert faded[:, 0, 0, 0].tolist() == [0.25, 0.5, 0.75, 1, 1]
    assert borders(plan_chunks(17, 9, 5), 5) == ([6, 10], 3)
    assert borders(plan_chunks(17, 9, 1), 1) == ([8], 1)
