"""What processes that train together hold and read of the weights that they share out."""

import json

import pytest
import torch
from safetensors.torch import save_file

from steadydancer_pack.miniature.weights import made_up, steadydancer_shapes
from steadydancer_pack.steadydancer_core.weights.checkpoint import pose_tensor_names
from steadydancer_pack.tests.training_double import PACK
from steadydancer_pack.tests.two_processes import run_two

TINY = {"dim": 128, "ffn_dim": 192, "layers": 2, "text_dim": 16}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What sharding_double.py found in two processes."""
    folder = tmp_path_factory.mktemp("shared out")
    whole = {name: torch.from_numpy(made_up(name, shape)) for name, shape in steadydancer_shapes(**TINY).items()}
    save_file({name: weight.half() for name, weight in whole.items()}, folder / "dancer.safetensors")
    base = {name: weight.bfloat16() for name, weight in whole.items() if name not in pose_tensor_names()}
    save_file(base, folder / "base.safetensors")
    status, said = run_two(str(PACK / "tests" / "sharding_double.py"), str(folder / "dancer.safetensors"))
    assert status == 0, said
    return json.loads(said.partition("FOUND ")[2].splitlines()[0])


def test_a_process_reads_its_own_half_of_the_weights_and_together_they_are_the_file(found):
    assert found["read before"] == 0 and found["other"] == found["other blocks"] == []
    assert 0.5 <= found["held"] < 0.51 and 0.5 <= found["taught"] < 0.51


def test_blocks_collected_in_bfloat16_have_gradients_in_float32(found):
    assert found["without gradient"] == found["coarse"] == []


def test_streamed_blocks_go_with_several_processes(found):
    assert found["streamed"] > 0


def test_processes_wait_for_each_other_as_long_as_they_are_told(found):
    assert found["timeouts"] == [7 * 60, 3 * 60]
