"""A LoRA for another model is named before anything is sampled."""

import comfy.sd
import pytest
import torch

from steadydancer_pack.steadydancer_core.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling import make_guider
from steadydancer_pack.steadydancer_core.weights.lora_fit import check_loras


def lora(*layers, width):
    """A LoRA of rank 4 for square layers."""
    return {
        f"diffusion_model.{layer}.{part}.weight": torch.ones(shape)
        for layer in layers
        for part, shape in {"lora_up": (width, 4), "lora_down": (4, width)}.items()
    }


def with_lora(model, weights):
    return comfy.sd.load_lora_for_models(model, None, weights, 1.0, 0.0)[0]


LAYERS = "blocks.0.self_attn.q", "blocks.1.cross_attn.v_img"


def test_a_lora_that_fits(golden_patcher):
    model = with_lora(golden_patcher, lora(*LAYERS, width=256))
    assert len(model.patches) == 2
    check_loras(model)
    check_loras(golden_patcher)


def test_a_lora_for_a_smaller_model(golden_patcher):
    model = with_lora(with_lora(golden_patcher, lora(LAYERS[0], width=256)), lora(*LAYERS, width=128))
    message = "2 of its layers have another shape, such as .*self_attn.q.weight, .* brings 128x128 .* needs 256x256"
    with pytest.raises(ValueError, match=message):
        check_loras(model)


def test_a_lora_of_single_numbers(golden_patcher):
    weights = {name: torch.tensor(1.0) for name in lora(LAYERS[0], width=256)}
    with pytest.raises(ValueError, match="the LoRA brings a single number and the model needs 256x256"):
        check_loras(with_lora(golden_patcher, weights))


def test_a_sampler_refuses_it(golden_patcher, conds):
    model = with_lora(golden_patcher, lora(*LAYERS, width=128))
    with pytest.raises(ValueError, match="LoRA on the model was made for another one"):
        make_guider(model, *conds, text_guidance=1.0, guidance=PoseGuidance())


def test_other_patches_are_passed(golden_patcher):
    model = golden_patcher.clone()
    assert model.add_patches({"diffusion_model.blocks.0.norm3.bias": ("diff", (torch.ones(128),))})
    assert check_loras(model) is None  # of another size, but no LoRA
