"""A negative prompt by normalized attention guidance: the published formula, in the right branches, on its steps."""

import types
from functools import partial

import comfy.ldm.modules.attention
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from steadydancer_pack.steadydancer_core.model.block_attention import Nag
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.nag import KEY, NagSettings, NagWrapper, patch_nag
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.tests.comfy.test_model import arguments, relative_error
from steadydancer_pack.tests.comfy.test_run_manifest import described
from steadydancer_pack.tests.comfy.test_run_manifest import load_model as load_small_model
from steadydancer_pack.tests.comfy.test_sampling import ksampler

SETTINGS = NagSettings(10.0)
POSE = PoseGuidance(1.0, 0.1, 0.9)


def published(positive, negative, scale, tau, alpha):
    """The authors' code, whose scale counts from 1."""
    guided = positive * (scale + 1) - negative * scale
    norm, largest = guided.abs().sum(-1, keepdim=True), positive.abs().sum(-1, keepdim=True)
    guided = torch.where(norm / largest > tau, guided * largest * tau / norm, guided)
    return guided * alpha + positive * (1 - alpha)


def attend_twice(self, negative, x, context, context_img_len, transformer_options, settings):
    """Cross-attention of a Wan I2V block with both prompts apart."""
    image, text = context[:, :context_img_len], context[:, context_img_len:]
    attention = partial(comfy.ldm.modules.attention.optimized_attention, heads=self.num_heads)
    q = self.norm_q(self.q(x))
    seen = attention(q, self.norm_k_img(self.k_img(image)), self.v_img(image))
    told, avoided = (attention(q, self.norm_k(self.k(words)), self.v(words)) for words in (text, negative))
    return self.o(published(told, avoided, settings.scale, settings.tau, settings.alpha) + seen)


@pytest.mark.parametrize("settings", [SETTINGS, NagSettings(1.0, 1.2, 0.9), NagSettings(3.0, 10.0, 1.0)])
@torch.no_grad()
def test_a_pass_is_that_of_the_published_formula(golden_patcher, inputs, monkeypatch, settings):
    model, args = golden_patcher.model.diffusion_model, arguments(inputs)
    text = inputs.text("text_negative")
    found = model(**args, nag=Nag(text, (0,), settings.scale, settings.tau, settings.alpha))
    negative = model.text_embedding(text)
    plain = model(**args)
    for block in model.blocks:
        forward = partial(attend_twice, block.cross_attn, negative, settings=settings)
        monkeypatch.setattr(block.cross_attn, "forward", forward)
    assert relative_error(found, model(**args)) <= 1e-5
    assert relative_error(found, plain) > 1e-4


@torch.no_grad()
def test_scale_0_is_the_plain_pass_and_the_norm_is_bounded():
    positive, negative = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    neutral = Nag(negative, (0, 1), 0.0, 2.5, 0.25).guide(positive, negative)
    assert torch.equal(neutral, positive)
    far = Nag(negative, (0, 1), 1e4, 2.5, 1.0).guide(positive, negative)
    assert torch.allclose(far.norm(p=1, dim=-1), 2.5 * positive.norm(p=1, dim=-1), rtol=1e-4)
    large = torch.full((1, 1, 5120), 60.0, dtype=torch.float16)  # whose sum is beyond float16
    assert torch.equal(Nag(large, (0,), 1.0, 2.5, 1.0).guide(large, large), large)


def branches_of(model, conds, inputs, text_guidance=5.0, steps=4):
    """Return what the model answered for each branch at the second step, and the guided result."""
    seen, noted = {}, model.clone()

    def note(executor, x, t, context, image, extra, options, /, **kwargs):
        out = executor(x, t, context, image, extra, options, **kwargs)
        for branch, answer in zip(options["cond_or_uncond"], out, strict=True):
            seen.setdefault(branch, []).append(answer)
        return out

    noted.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "note", note)
    guider = make_guider(noted, *conds, text_guidance, POSE)
    return seen, sample(guider, inputs.empty(), 0, "euler", "simple", steps)["samples"]


def test_positive_and_pose_negative_are_guided_and_the_negative_is_not(golden_patcher, conds, inputs):
    plain, _ = branches_of(golden_patcher, conds, inputs)
    found, _ = branches_of(patch_nag(golden_patcher, conds[1], SETTINGS), conds, inputs)
    assert relative_error(found[1][0], plain[1][0]) <= 1e-6
    assert relative_error(found[0][0], plain[0][0]) > 1e-4
    alone, _ = branches_of(patch_nag(golden_patcher, conds[1], SETTINGS), conds, inputs, text_guidance=1.0)
    assert set(alone) == {0, 2} and relative_error(alone[0][0], found[0][0]) <= 1e-5


def test_it_cancels_where_both_poses_are_the_same(golden_patcher, conds, inputs):
    same = conds[0], conds[1], conds[0]
    model = patch_nag(golden_patcher, conds[1], SETTINGS)
    found, _ = branches_of(model, same, inputs, text_guidance=1.0)
    assert relative_error(found[2][0], found[0][1]) <= 1e-6


def test_it_acts_in_stock_samplers_and_costs_no_pass(golden_patcher, conds, inputs):
    model = patch_nag(golden_patcher, conds[1], SETTINGS)
    stock = [
        ksampler(patch_model(m, conds[2], POSE), conds, inputs, 4, "euler", "simple", cfg=1.0)
        for m in (golden_patcher, model)
    ]
    assert relative_error(stock[1], stock[0]) > 1e-4
    guider = make_guider(model, *conds, 1.0, POSE)
    sampled = sample(guider, inputs.empty(), 0, "euler", "simple", 4)["samples"]
    assert relative_error(sampled, stock[1]) <= 1e-5 and guider.log.passes == 4 + 3


def test_it_acts_on_its_steps(quick_model, conds, inputs, monkeypatch):
    seen, network = [], quick_model.model.diffusion_model
    forward = network._forward

    def note(*args, **kwargs):
        nag = kwargs.pop("nag", None)
        seen.append(None if nag is None else nag.rows)
        return forward(*args, **kwargs)

    monkeypatch.setattr(network, "_forward", note)
    model = patch_nag(quick_model, conds[1], NagSettings(10.0, start=0.25, end=0.75))
    sample(make_guider(model, *conds, 5.0, PoseGuidance(1.0, 0.4, 0.9)), inputs.empty(), 0, "euler", "simple", 4)
    assert seen == [None, (1,), (1,), (0,), None, None]


def test_a_run_is_known_by_prompt_and_numbers():
    model, text = load_small_model(), [[torch.ones(1, 4, 64), {}]]
    changed = [[2 * text[0][0], {}]]
    found = [
        described(patch_nag(model, *values))
        for values in ((text, SETTINGS), (changed, SETTINGS), (text, NagSettings(9.0)), (text, NagSettings(end=0.5)))
    ]
    assert len({key for key, _ in found}) == 4 and all(unnamed == [] for _, unnamed in found)
    for off in (NagSettings(0.0), NagSettings(alpha=0.0)):
        assert described(patch_nag(model, text, off)) == described(model)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": -1.0}, "nag_scale is -1.0; it must be 0"),
        ({"tau": 0.9}, "nag_tau is 0.9; it must be 1 or more"),
        ({"alpha": 1.1}, "nag_alpha is 1.1"),
        ({"start": 0.7, "end": 0.3}, "NAG acts from 0.7 to 0.3 of the steps"),
    ],
)
def test_numbers_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        NagSettings(**values)


def test_combined_prompts_and_those_of_another_encoder_are_refused(golden_patcher, conds):
    with pytest.raises(ValueError, match="Found 2 conditions combined"):
        patch_nag(golden_patcher, conds[1] * 2, SETTINGS)
    with pytest.raises(ValueError, match="has 32 channels and the model takes 64"):
        patch_nag(golden_patcher, [[torch.ones(1, 4, 32), {}]], SETTINGS)


class WanCrossAttentionPatch:
    """Binds its attention as KJNodes' WanVideoNAG does."""

    def __get__(self, block, kind=None):
        def wrapped_attention(module, *args, **kwargs):
            pytest.fail("sampled")

        return types.MethodType(wrapped_attention, block)


@pytest.fixture
def foreign(golden_patcher):
    model = golden_patcher.clone()
    for index, block in enumerate(golden_patcher.model.diffusion_model.blocks):
        patched = WanCrossAttentionPatch().__get__(block.cross_attn)
        model.add_object_patch(f"diffusion_model.blocks.{index}.cross_attn.forward", patched)
    return model


def test_another_packs_nag_is_recognized_before_sampling(golden_patcher, foreign, conds, inputs):
    message = "KJNodes' 'WanVideoNAG'.*use SteadyDancer's 'Negative Prompt .NAG.'"
    with pytest.raises(ValueError, match=message):
        make_guider(foreign, *conds, 1.0, POSE)
    with pytest.raises(ValueError, match=message):
        patch_nag(foreign, conds[1], SETTINGS)
    behind = patch_model(golden_patcher, conds[2], POSE)
    for key, patch in foreign.object_patches.items():
        behind.add_object_patch(key, patch)
    with pytest.raises(ValueError, match=message):
        ksampler(behind, conds, inputs, 2, "euler", "simple")


def test_the_wrapper_takes_calls_without_branches(golden_patcher):
    """Another node may call the model itself."""
    wrapper, seen = NagWrapper(torch.ones(1, 4, 64), SETTINGS), {}
    model = types.SimpleNamespace(model_sampling=golden_patcher.get_model_object("model_sampling"))

    class Executor:
        class_obj = model

        def __call__(self, *args, **kwargs):
            seen.update(kwargs)

    wrapper(Executor(), torch.zeros(2, 16, 3, 8, 6), torch.ones(2), None, None, None, {})
    assert seen["nag"].rows == (0, 1) and KEY == "steadydancer_nag"
