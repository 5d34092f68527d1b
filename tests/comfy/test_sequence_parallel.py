"""One video on two ranks is the video of one, to the last bit; the ranks are two processes on the CPU."""

import json
from pathlib import Path

import pytest

from steadydancer_pack.tests.two_processes import run_two

DOUBLE = Path(__file__).resolve().parents[1] / "sequence_parallel_double.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    file = tmp_path_factory.mktemp("ranks") / "found.json"
    status, said = run_two(str(DOUBLE), str(file), seconds=120)
    assert status == 0, said
    return json.loads(file.read_text())


@pytest.mark.parametrize(
    ("case", "tokens", "part"),
    [
        ("even", [60], [30]),
        ("odd", [45], [23]),
        ("lora", [45], [23]),
        ("windows", [54, 63], [27, 32]),
        ("hooks", [45], [23]),
        ("control", [45], [23]),
        ("per frame", [45], [23]),
    ],
)
def test_two_ranks_give_the_same_bits_with_half_the_tokens_each(found, case, tokens, part):
    difference, largest, alone, together = found[case]
    assert (difference, alone, together) == (0, tokens, part)
    assert largest > 1


def test_each_case_changes_the_video(found):
    """Without that it would show nothing."""
    largest = [found[case][1] for case in ("odd", "lora", "windows", "hooks", "control")]
    assert len(set(largest)) == 5


def test_patches_inside_attention_are_refused(found):
    assert "attn1_patch" in found["refused"] and "use one GPU" in found["refused"]


def test_a_strength_of_the_photo_is_refused(found):
    assert "reference_image_strength of 'Pose Strength' does not work" in found["photo"]


def test_heads_that_the_ranks_do_not_divide_are_refused(found):
    assert "3 attention heads, which 2 GPUs cannot share evenly" in found["heads"]
