"""What a pass of the 14B model costs, in operations: counted on tensors without data, so exact on every machine."""

import comfy.ops
import pytest
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.ldm.wan.model import WanModel
from torch.utils.flop_counter import FlopCounterMode

from steadydancer_pack.steadydancer_core.model.transformer import SteadyDancerWanModel

BLOCKS, DIM, FFN = 40, 5120, 13824
FRAMES, TEXT, IMAGE = 21, 512, 257
OPTIONS = {"optimized_attention_override": lambda func, *args, **kwargs: attention_pytorch(*args, **kwargs)}


def latent(channels, height, width, frames=FRAMES):
    return torch.empty(1, channels, frames, height // 8, width // 8, device="meta")


def operations(run):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.fixture(scope="module")
def networks():
    sizes = {"dim": DIM, "ffn_dim": FFN, "num_heads": 40, "num_layers": BLOCKS, "text_dim": 4096, "in_dim": 36}
    factory = {"operations": comfy.ops.disable_weight_init, "device": "meta", "dtype": torch.float32}
    return WanModel(model_type="i2v", **sizes, **factory), SteadyDancerWanModel(**sizes, **factory)


@pytest.mark.parametrize(("height", "width"), [(256, 448), (480, 832)])
def test_a_pass_costs_two_more_frames_of_tokens_and_next_to_nothing_for_the_pose(networks, height, width):
    """More than a plain pass: 2 of 23 frames in each block's layers, the square of that in its attention."""
    plain, ours = networks
    x, clip = latent(36, height, width), torch.empty(1, IMAGE, 1280, device="meta")
    both = x, torch.empty(1, device="meta"), torch.empty(1, TEXT, 4096, device="meta"), clip
    references = {"ref_x": latent(36, height, width, 1), "ref_c": latent(16, height, width, 1)}
    pose = {"pose_latents": latent(16, height, width), "clip_fea_c": clip, **references}
    base = operations(lambda: plain(*both, transformer_options=dict(OPTIONS)))
    found = operations(lambda: ours(*both, transformer_options=dict(OPTIONS), **pose))
    stage = operations(lambda: ours.modulate(x, pose["pose_latents"]))
    frame = (height // 16) * (width // 16)
    few, many = FRAMES * frame, (FRAMES + 2) * frame
    layers = 2 * (many - few) * (6 * DIM * DIM + 2 * DIM * FFN)  # q, k, v, o of self-, q and o of cross-attention
    attention = 4 * DIM * (many**2 - few**2 + (many - few) * (TEXT + IMAGE))
    assert found - base == pytest.approx(BLOCKS * (layers + attention), rel=0.01)
    assert stage <= 0.0001 * found
