"""What other nodes do to a Wan model, they do to this one: LoRA, context windows, patches on blocks."""

import comfy.context_windows
import comfy.lora
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_context_windows import WanContextWindowsManualNode

from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.tests.comfy.test_sampling import error, ksampler

LAYER = "blocks.0.cross_attn.k"
FLAT = LAYER.replace(".", "_")
GUIDANCE = PoseGuidance(1.0, 0.1, 0.4)
DIM = 256


def low_rank(up, down):
    generator = torch.Generator().manual_seed(0)
    return {down: torch.randn(4, DIM, generator=generator), up: torch.randn(DIM, 4, generator=generator)}


def full(*names):
    generator = torch.Generator().manual_seed(0)
    shapes = {"diff": (DIM, DIM), "diff_b": (DIM,)}
    return {name: torch.randn(shapes[name.rpartition(".")[2]], generator=generator) for name in names}


LORA_FORMATS = {
    "lora_down/up": low_rank(f"diffusion_model.{LAYER}.lora_up.weight", f"diffusion_model.{LAYER}.lora_down.weight"),
    "lora_A/B": low_rank(f"diffusion_model.{LAYER}.lora_B.weight", f"diffusion_model.{LAYER}.lora_A.weight"),
    "musubi": low_rank(f"lora_unet_{FLAT}.lora_up.weight", f"lora_unet_{FLAT}.lora_down.weight"),
    "Wan-Fun": low_rank(f"lora_unet__{FLAT}.lora_up.weight", f"lora_unet__{FLAT}.lora_down.weight"),
    "diff": full(f"diffusion_model.{LAYER}.diff", f"diffusion_model.{LAYER}.diff_b"),
}


def run(model, conds, inputs, steps=4):
    guider = make_guider(model, *conds, text_guidance=5.0, guidance=GUIDANCE)
    return sample(guider, inputs.empty(), 0, "official unipc", "official", steps)["samples"]


@pytest.mark.parametrize("name", LORA_FORMATS)
def test_a_wan_lora_changes_the_video_through_the_stock_loader(golden_patcher, conds, inputs, name):
    plain = run(golden_patcher, conds, inputs)
    with_lora, _ = comfy.sd.load_lora_for_models(golden_patcher, None, dict(LORA_FORMATS[name]), 1.0, 0.0)
    assert not torch.allclose(run(with_lora, conds, inputs), plain, rtol=1e-2)
    assert torch.equal(run(golden_patcher, conds, inputs), plain)


def test_every_layer_takes_a_lora(golden_patcher):
    keys = comfy.lora.model_lora_keys_unet(golden_patcher.model, {})
    names = golden_patcher.model.diffusion_model.state_dict()
    weights = {f"diffusion_model.{name.removesuffix('.weight')}" for name in names if name.endswith(".weight")}
    assert weights <= set(keys)


def windowed(model, length, overlap):
    node = WanContextWindowsManualNode.execute(model, length, overlap, "standard_static", 1, False, "pyramid", False)
    return node.result[0]


@pytest.fixture
def seen_windows(golden_patcher):
    """A model that notes (x, pose_latents, ref_x, ref_c) of every call, and the notes."""
    model, notes = golden_patcher.clone(), []

    def note(executor, x, *args, **kwargs):
        notes.append((x, *(kwargs[name] for name in ("pose_latents", "ref_x", "ref_c"))))
        return executor(x, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", note)
    return model, notes


def test_a_context_window_sees_the_pose_of_its_own_frames_and_the_same_references(seen_windows, make_conds, inputs):
    model, notes = seen_windows
    long = type(inputs)(frames=9)
    conds = make_conds(long)
    assert run(windowed(model, 21, 8), conds, long, steps=2).isfinite().all()
    pose = model.model.process_latent_in(conds[0][0][1]["pose_video_latent"])[0]
    image = model.model.process_latent_in(conds[0][0][1]["concat_latent_image"])[0]
    assert {x.shape[2] for x, *_ in notes} == {6, 7}  # later windows carry one frame before them, cut off again
    for x, window_pose, *pair in notes:
        first = next(i for i in range(9) if torch.allclose(image[:, i], x[0, 20:, 0], atol=1e-5))
        wanted = pose[:, max(0, first - 3) : first + x.shape[2] + 3]  # with the reach of the temporal convolutions
        assert any(torch.allclose(sample_pose, wanted, atol=1e-5) for sample_pose in window_pose)
        for tensor, reference in zip(pair, notes[0][2:], strict=True):
            assert all(torch.equal(row, reference[0]) for row in tensor)


def test_the_model_patch_runs_with_context_windows(golden_patcher, make_conds, inputs):
    long = type(inputs)(frames=9)
    conds, model = make_conds(long), windowed(golden_patcher, 21, 8)
    found = ksampler(patch_model(model, conds[2], GUIDANCE), conds, long, 4, "euler", "simple")
    guider = make_guider(model, *conds, text_guidance=5.0, guidance=GUIDANCE)
    want = sample(guider, {"samples": torch.zeros(1, 16, *long.size)}, 0, "euler", "simple", 4)["samples"]
    assert error(found, want) <= 1e-5


def test_the_memory_estimate_counts_the_two_reference_frames(golden_patcher, conds, inputs):
    model = golden_patcher.model
    shapes = {name: [shape] for name, shape in model.extra_conds_shapes(**conds[0][0][1]).items()}
    noise = [1, 16, *inputs.size]
    with_references = model.memory_required(noise, cond_shapes=shapes)
    two_more = model.memory_required([1, 16, inputs.size[0] + 2, *inputs.size[1:]])
    assert with_references == pytest.approx(two_more)


SAMPLERS = [(name, "official", 3) for name in comfy.samplers.SAMPLER_NAMES]
SCHEDULERS = [("official dpm++", name, 4) for name in comfy.samplers.SCHEDULER_NAMES]


@pytest.mark.parametrize(("solver", "scheduler", "steps"), SAMPLERS + SCHEDULERS)
def test_every_sampler_and_every_scheduler_runs(golden_patcher, conds, inputs, solver, scheduler, steps):
    guider = make_guider(golden_patcher, *conds, text_guidance=5.0, guidance=GUIDANCE)
    assert sample(guider, inputs.empty(), 0, solver, scheduler, steps)["samples"].isfinite().all()
