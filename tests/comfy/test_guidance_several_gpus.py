"""ComfyUI's own 'MultiGPU CFG Split' with the three branches of guidance, on a processor that pretends to be two.

A second device "cpu:1" stands for the second GPU: ComfyUI loads a second copy of the model for it and works in a thread
of its own, as it does with GPUs. What this cannot show: copies between cards, and time.
"""

import gc

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_multigpu import MultiGPUCFGSplitNode
from safetensors.torch import save_file

from steadydancer_pack.benchmarks.golden_model import GOLDEN_CONFIG, forget_dead_models
from steadydancer_pack.miniature.weights import steadydancer_state_dict
from steadydancer_pack.steadydancer_core.sampling import presets
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import run
from steadydancer_pack.steadydancer_core.weights.loading import load_model
from steadydancer_pack.tests.comfy.test_sampling import ksampler

FIRST, SECOND = torch.device("cpu"), torch.device("cpu", 1)
TEN = presets.Settings("ten", 10, TextGuidance(5.0), PoseGuidance(1.0, 0.1, 0.4), "official unipc", shift=3.0)


@pytest.fixture(scope="module", params=[comfy.sd.load_diffusion_model, load_model], ids=["comfyui", "ours"])
def model(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "golden.safetensors"
    save_file(steadydancer_state_dict(**GOLDEN_CONFIG), file)
    return request.param(str(file), {"dtype": torch.float32})


@pytest.fixture
def split(monkeypatch):
    devices = [FIRST, SECOND]
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices)

    def split(model):
        gc.collect()  # a model split before refers to itself, and ComfyUI stumbles over one that dies unseen
        forget_dead_models()
        return MultiGPUCFGSplitNode.execute(model, 2).args[0]

    return split


class Watch:
    """Notes each call that reaches the network: timestep, device, samples."""

    def __init__(self, model):
        self.model, self.calls = model.clone(), []
        self.model.add_wrapper(WrappersMP.DIFFUSION_MODEL, self)

    def __call__(self, executor, x, timestep, *args, **kwargs):
        options = next(a for a in (*args, *kwargs.values()) if isinstance(a, dict) and "cond_or_uncond" in a)
        self.calls.append((float(timestep.max()), options["multigpu_thread_device"], x.shape[0]))
        return executor(x, timestep, *args, **kwargs)

    def shares(self):
        """Samples on the first and on the second device, for each timestep."""
        levels = dict.fromkeys(level for level, _, _ in self.calls)
        of = {(level, device): 0 for level in levels for device in (FIRST, SECOND)}
        for level, device, samples in self.calls:
            of[level, device] += samples
        return [(of[level, FIRST], of[level, SECOND]) for level in levels]


def sampled(model, conds, inputs, settings=TEN):
    result, report = run(model, *conds, inputs.empty(), 0, settings)
    return result["samples"], report.text


def test_the_three_branches_are_split_and_give_the_same_video(model, split, conds, inputs):
    alone, told = sampled(model, conds, inputs)
    watch = Watch(model)
    both, told_both = sampled(split(watch.model), conds, inputs)
    assert watch.shares() == [(2, 1) if 1 < step < 4 else (1, 1) for step in range(10)]
    assert (both - alone).norm() <= 1e-5 * alone.norm()
    assert told == told_both and "22 forward passes" in told


def test_few_steps_use_the_second_device_in_the_window_alone(model, split, conds, inputs):
    watch = Watch(model)
    sampled(split(watch.model), conds, inputs, presets.PRESETS["Fast 4"])
    assert watch.shares() == [(1, 0), (1, 1), (1, 0), (1, 0)]


def test_a_lora_reaches_both_copies(model, split, conds, inputs):
    generator, key = torch.Generator().manual_seed(0), "diffusion_model.blocks.0.cross_attn.k"
    shapes = {f"{key}.lora_A.weight": (4, 256), f"{key}.lora_B.weight": (256, 4)}
    lora = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    plain, _ = sampled(model, conds, inputs)
    alone, _ = sampled(comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0], conds, inputs)
    both, _ = sampled(comfy.sd.load_lora_for_models(split(model), None, lora, 1.0, 0.0)[0], conds, inputs)
    assert (alone - plain).norm() > 1e-2 * plain.norm()
    assert (both - alone).norm() <= 1e-5 * alone.norm()


def test_the_model_patch_asks_for_the_pose_after_the_two_others(model, split, conds, inputs):
    watch = Watch(model)
    ksampler(patch_model(split(watch.model), conds[2], TEN.pose), conds, inputs, 10, "euler", "simple")
    assert watch.shares() == [(2, 1) if 1 < step < 4 else (1, 1) for step in range(10)]
    assert [samples for _, _, samples in watch.calls] == [1] * 22
