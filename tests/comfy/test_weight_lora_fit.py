"""A LoRA for another model is named before anything is sampled."""

import comfy.sd
import pytest
import torch

from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.presets import Settings
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, run
from steadydancer_pack.steadydancer_core.weights.lora_fit import LoRAFit, check_loras, lora_warnings


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


def test_a_lora_that_fits_and_one_for_a_smaller_model(golden_patcher):
    model = with_lora(golden_patcher, lora(*LAYERS, width=256))
    assert len(model.patches) == 2
    check_loras(model)
    check_loras(golden_patcher)
    model = with_lora(with_lora(golden_patcher, lora(LAYERS[0], width=256)), lora(*LAYERS, width=128))
    message = "2 of its layers have another shape, such as .*self_attn.q.weight, .* brings 128x128 .* needs 256x256"
    with pytest.raises(ValueError, match=message):
        check_loras(model)


def mixed(fitting, misfits):
    """A LoRA of two kinds of layers, the second of another width than the model's."""
    return lora(*fitting, width=256) | lora(*misfits, width=128)


ATTENTION = [
    f"blocks.{block}.{kind}_attn.{layer}" for block in (0, 1) for kind in ("self", "cross") for layer in "qkvo"
]


def test_a_lora_with_one_misfit_runs_as_in_comfyui(golden_patcher, conds, inputs, caplog):
    """ComfyUI leaves the layer out; both samplers and the model patch say so and go on."""
    model = with_lora(golden_patcher, mixed(ATTENTION[:3], ATTENTION[3:4]))
    without = with_lora(golden_patcher, lora(*ATTENTION[:3], width=256))
    latent = inputs.empty()
    settings = Settings("Custom", 1, TextGuidance(1.0), PoseGuidance(0.0), "euler", "simple", 5.0)
    found, report = run(model, *conds, latent, 0, settings)
    want, _ = run(without, *conds, latent, 0, settings)
    plain, _ = run(golden_patcher, *conds, latent, 0, settings)
    assert torch.equal(found["samples"], want["samples"]) and not torch.equal(want["samples"], plain["samples"])
    warning = f"1 of its 4 layers, which have another shape than the model's: diffusion_model.{ATTENTION[3]}.weight."
    assert warning in report.text and caplog.text.count(warning) == 1
    patch_model(model, conds[2], PoseGuidance())
    assert caplog.text.count(warning) == 2


def test_more_than_80_percent_of_misfits_are_refused(golden_patcher, caplog):
    check_loras(with_lora(golden_patcher, mixed(ATTENTION[:3], ATTENTION[3:15])))
    assert "without 12 of its 15 layers" in caplog.text
    with pytest.raises(ValueError, match="13 of its layers have another shape"):
        check_loras(with_lora(golden_patcher, mixed(ATTENTION[:3], ATTENTION[3:16])))


def test_each_lora_is_measured_alone(golden_patcher, caplog):
    """A good LoRA does not hide a wrong one, and two with a misfit each are named one by one."""
    good = with_lora(golden_patcher, lora(*ATTENTION, width=256))
    with pytest.raises(ValueError, match="1 of its layers have another shape"):
        check_loras(with_lora(good, lora(ATTENTION[0], width=128)))
    check_loras(with_lora(with_lora(good, mixed(ATTENTION[:1], ATTENTION[1:2])), mixed(ATTENTION[:2], ATTENTION[4:5])))
    assert "without 1 of its 2 layers" in caplog.text and "without 1 of its 3 layers" in caplog.text


def whole(layer):
    """A layer that a file brings as a difference."""
    return {f"diffusion_model.{layer}.diff": torch.ones(256, 256)}


def loha(layer):
    parts = {f"hada_w{i}_{side}": shape for i in (1, 2) for side, shape in (("a", (256, 4)), ("b", (4, 256)))}
    return {f"diffusion_model.{layer}.{part}": torch.ones(shape) for part, shape in parts.items()}


@pytest.mark.parametrize("kind", [whole, loha])
def test_layers_of_other_kinds_count_as_fitting(golden_patcher, kind):
    weights = lora(ATTENTION[0], width=128)
    for layer in ATTENTION[1:]:
        weights |= kind(layer)
    model = with_lora(golden_patcher, weights)
    assert len(model.patches) == len(ATTENTION)
    check_loras(model)
    (warning,) = lora_warnings(model)
    assert f"without 1 of its {len(ATTENTION)} layers" in warning


def test_a_lora_that_is_loaded_twice_is_named_once_and_at_most_twenty_misfits(golden_patcher):
    weights = mixed(ATTENTION[:3], ATTENTION[3:4])
    assert len(lora_warnings(with_lora(with_lora(golden_patcher, weights), weights))) == 1
    misfits = [(f"blocks.{block}.ffn.0.weight", "128x512", "256x512") for block in range(24)]
    found = LoRAFit(30, misfits).describe()
    assert "without 24 of its 30 layers" in found and found.count("ffn.0") == 20 and "and 4 more" in found


def test_a_lora_of_single_numbers_is_named_and_a_sampler_refuses_a_misfit(golden_patcher, conds):
    weights = {name: torch.tensor(1.0) for name in lora(LAYERS[0], width=256)}
    with pytest.raises(ValueError, match="the LoRA brings a single number and the model needs 256x256"):
        check_loras(with_lora(golden_patcher, weights))
    model = with_lora(golden_patcher, lora(*LAYERS, width=128))
    with pytest.raises(ValueError, match="LoRA on the model was made for another one"):
        make_guider(model, *conds, text_guidance=1.0, guidance=PoseGuidance())


def test_other_patches_are_passed(golden_patcher):
    model = golden_patcher.clone()
    assert model.add_patches({"diffusion_model.blocks.0.norm3.bias": ("diff", (torch.ones(128),))})
    assert check_loras(model) is None  # of another size, but no LoRA
