"""What other nodes do to SteadyDancer, as docs/compatibility.md says. Guidance, caches, windows, GPUs: in own files."""

from contextlib import nullcontext

import comfy.hooks
import pytest
import torch
from comfy.latent_formats import Wan21
from comfy_extras.nodes_train import TrainLoraNode
from safetensors.torch import save_file

from steadydancer_pack.benchmarks.golden_model import GOLDEN_CONFIG
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.tests.comfy.test_ecosystem import LORA_FORMATS, run


def sage_attention(patcher, conds, inputs):
    """Sage attention nodes set this function; the pose branch, whose heads are too narrow for it, keeps its own."""
    model, calls = patcher.clone(), []

    def override(function, *args, **kwargs):
        calls.append(function)
        return function(*args, **kwargs)

    model.model_options["transformer_options"]["optimized_attention_override"] = override
    run(model, conds, inputs, steps=1)
    assert len(calls) == 3 * len(model.model.diffusion_model.blocks)  # self, text, CLIP vision


def hooks(model, conds, inputs):
    plain = run(model, conds, inputs, steps=1)
    group = comfy.hooks.create_hook_lora(LORA_FORMATS["lora_down/up"], 1.0, 0.0)
    hooked = [comfy.hooks.set_hooks_for_conditioning(cond, group) for cond in conds]
    assert not torch.allclose(run(model, hooked, inputs, steps=1), plain, rtol=1e-2)
    assert torch.equal(run(model, conds, inputs, steps=1), plain)


def taehv_previews(model, conds, inputs):
    assert model.model.latent_format.taesd_decoder_name == Wan21().taesd_decoder_name


@pytest.mark.parametrize("check", [sage_attention, hooks, taehv_previews])
def test_it_works_as_the_page_says(check, golden_patcher, conds, inputs):
    check(golden_patcher, conds, inputs)


@pytest.mark.parametrize("bypass", [False, True])
def test_train_lora_trains_every_kind_of_layer(conds, inputs, tmp_path, bypass):
    """In bypass mode ComfyUI's own layers do not know the grouped convolution of the pose branch."""
    save_file(steadydancer_state_dict(**GOLDEN_CONFIG), tmp_path / "golden.safetensors")
    model = load_model(str(tmp_path / "golden.safetensors"), {"dtype": torch.float32})
    settings = {
        "batch_size": 1, "steps": 1, "grad_accumulation_steps": 1, "learning_rate": 1e-3, "rank": 2,
        "optimizer": "AdamW", "loss_function": "MSE", "seed": 0, "training_dtype": "fp32", "lora_dtype": "fp32",
        "quantized_backward": False, "algorithm": "LoRA", "gradient_checkpointing": False, "checkpoint_depth": 1,
        "offloading": False, "existing_lora": "[None]", "bucket_mode": False, "bypass_mode": bypass,
    }  # fmt: skip
    given = {name: [value] for name, value in settings.items()}
    with pytest.raises(RuntimeError, match="invalid for input of size") if bypass else nullcontext():
        lora = TrainLoraNode.execute([model], [inputs.empty()], [conds[0]], **given)[0]
        trained = {name.split(".")[1] for name, weight in lora.items() if "lora_up" in name and weight.any()}
        assert {"blocks", "patch_embedding_fuse", "condition_embedding_align"} <= trained
