"""Strengths of pose and photo: off is bit-equal on every route, on is the stated change of each part."""

from functools import partial

import pytest
import torch
from comfy.ldm.common_dit import pad_to_patch_size
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

from steadydancer_pack.media.disk_cache import DiskCache
from steadydancer_pack.media.frame_files import SUFFIX
from steadydancer_pack.nodes.control import NegativePromptPatch, PoseStrengthPatch
from steadydancer_pack.steadydancer_core.long_video.windows import apply_windows
from steadydancer_pack.steadydancer_core.model.block_attention import OVERRIDE
from steadydancer_pack.steadydancer_core.model.pose_modulation import PoseScales
from steadydancer_pack.steadydancer_core.model.transformer import REFERENCE_TOKENS, reference_tokens
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.pose_strength import (
    KEY,
    PoseStrength,
    Strength,
    StrengthWrapper,
    patch_strength,
)
from steadydancer_pack.steadydancer_core.sampling.presets import Settings
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, run, sample
from steadydancer_pack.tests.comfy import test_chunks
from steadydancer_pack.tests.comfy.test_model import arguments, relative_error
from steadydancer_pack.tests.comfy.test_run_manifest import described
from steadydancer_pack.tests.comfy.test_run_manifest import load_model as load_small_model
from steadydancer_pack.tests.comfy.test_sampling import ksampler
from steadydancer_pack.training.network import Size, build

STEPS = 2
POSE = PoseGuidance(1.0, 0.1, 0.9)
DEFAULTS = {widget.id: widget.default for widget in PoseStrengthPatch.GET_SCHEMA().inputs[1:]}


def with_strength(model, **values):
    return PoseStrengthPatch.execute(model, **DEFAULTS | values)[0]


def with_nag(model, scale=0.0, width=64):
    return NegativePromptPatch.execute(model, [[torch.ones(1, 4, width), {}]], scale, 0.25, 2.5, 0.0, 1.0)[0]


def with_neutral_factors(model):
    """Every factor is passed and is 1."""
    changed = model.clone()
    wrapper = StrengthWrapper(PoseStrength())

    def photo(executor, x, t, context, image, extra, options, /, **kwargs):
        return executor(x, t, context, image, extra, options, **kwargs, photo_strength=1.0)

    changed.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, wrapper)
    changed.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "photo", photo)
    return changed


OFF = {"Pose Strength": with_strength, "Negative Prompt (NAG)": with_nag, "factors of 1": with_neutral_factors}


def by_sampler(model, make_conds, inputs):
    settings = Settings("Custom", STEPS, TextGuidance(5.0), POSE, "official unipc")
    return run(model, *make_conds(inputs), inputs.empty(), 0, settings)[0]["samples"]


def by_guider(model, make_conds, inputs):
    guider = make_guider(model, *make_conds(inputs), text_guidance=5.0, guidance=POSE)
    return sample(guider, inputs.empty(), 0, "euler", "simple", STEPS)["samples"]


def by_ksampler(model, make_conds, inputs):
    conds = make_conds(inputs)
    return ksampler(patch_model(model, conds[2], POSE), conds, inputs, STEPS, "euler", "simple")


def by_windows(model, make_conds, inputs):
    return by_guider(apply_windows(model, 9, 4), make_conds, type(inputs)(frames=5))


ROUTES = (by_sampler, by_guider, by_ksampler, by_windows)


@pytest.fixture(scope="module")
def plain():
    """The video of each route without any of it."""
    return {}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("change", [*OFF.values(), partial(with_strength, pose_strength=0.5)], ids=[*OFF, "on"])
def test_off_is_bit_equal_and_on_is_not_on_every_route(golden_patcher, make_conds, inputs, plain, route, change):
    if route not in plain:
        plain[route] = route(golden_patcher, make_conds, inputs)
    found = route(change(golden_patcher), make_conds, inputs)
    is_off = change in OFF.values()
    assert torch.equal(found, plain[route]) if is_off else relative_error(found, plain[route]) > 1e-4


@pytest.mark.parametrize("name", [name for name in DEFAULTS if name.endswith("strength")])
def test_every_strength_changes_the_video(golden_patcher, make_conds, inputs, name):
    found = by_ksampler(with_strength(golden_patcher, **{name: 0.5}), make_conds, inputs)
    assert relative_error(found, by_ksampler(golden_patcher, make_conds, inputs)) > 1e-4


@torch.inference_mode()
def test_chunks_are_bit_equal_when_off_and_made_anew_for_another_strength(tmp_path):
    model, vae = load_small_model(), test_chunks.QuickVae()
    store = DiskCache(tmp_path / "chunks", SUFFIX, 1 << 30)
    plain = test_chunks.make(model, vae, store, 13).frames
    logs = [test_chunks.make(change(model), vae, store, 13).logs for change in (with_strength, with_nag)]
    assert logs == [[], []]  # the same chunks serve
    for change in ({"pose_strength": 0.5}, {"pose_strength": 0.5, "pose_end_percent": 0.5}):
        video = test_chunks.make(with_strength(model, **change), vae, store, 13)
        assert len(video.logs) == 2 and not torch.equal(video.frames, plain)
    assert "finished before" not in video.report and "not kept" not in video.report


def test_a_run_is_known_by_the_values_of_the_strengths():
    model = load_small_model()
    values = [{"pose_strength": s, "pose_end_percent": e} for s in (1.0, 0.5, 0.6) for e in (1.0, 0.9)]
    found = [described(with_strength(model, **value)) for value in values]
    assert len({key for key, _ in found}) == len(values) and all(unnamed == [] for _, unnamed in found)
    assert described(with_strength(model)) == described(model)
    assert described(with_strength(model, pose_strength=0.5)) == described(with_strength(model, pose_strength=0.5))


# What each factor does


@pytest.fixture
def embed(golden_patcher, inputs):
    """A function from scales to the token grid of the golden case."""
    model, args = golden_patcher.model.diffusion_model, arguments(inputs)
    names = ("x", "pose_latents", "ref_x", "ref_c")

    @torch.no_grad()
    def tokens(**scales):
        return model.embed_tokens(*(args[name] for name in names), (), PoseScales(**scales))

    return tokens


@pytest.mark.parametrize("part", ["pose", "alignment"])
def test_the_pose_and_its_alignment_are_linear_in_the_tokens(embed, part):
    none, whole = embed(**{part: 0.0}), embed()
    for scale in (0.3, 2.0):
        want = none + scale * (whole - none)
        assert relative_error(embed(**{part: scale}), want) <= 1e-6
    assert relative_error(none, whole) > 0.01


@torch.no_grad()
def test_without_a_pose_the_clip_has_zero_channels_and_the_reference_tokens_stay(embed, golden_patcher, inputs):
    model, x = golden_patcher.model.diffusion_model, arguments(inputs)["x"]
    found, whole = embed(pose=0.0), embed()
    want = model.patch_embedding_fuse(torch.cat([x, torch.zeros_like(x[:, :32])], dim=1))
    assert torch.equal(found[:, :, :-2], want) and torch.equal(found[:, :, -2:], whole[:, :, -2:])


@torch.no_grad()
def test_spatial_and_temporal_scale_their_module_inside_the_fused_pose(golden_patcher, inputs):
    model, args = golden_patcher.model.diffusion_model, arguments(inputs)
    whole = model.modulate(args["x"], args["pose_latents"])
    part = model.modulate(args["x"], args["pose_latents"], (), PoseScales(spatial=0.25, temporal=0.5))
    assert relative_error(part.fused, args["pose_latents"] + 0.5 * whole.temporal + 0.25 * whole.spatial) <= 1e-6
    assert relative_error(part.aligned, whole.aligned) > 1e-3


@pytest.mark.parametrize("size", [(3, 8, 6), (2, 7, 5)])
def test_the_tokens_of_the_reference_frames_are_published(golden_patcher, inputs, size):
    """Also for sides that are padded to whole patches."""
    model, noted = golden_patcher.model.diffusion_model, {}
    clip = type(inputs)(*size)

    def note(args, extra):
        noted.update(args["transformer_options"][REFERENCE_TOKENS], img=args["img"])
        return extra["original_block"](args)

    options = {"patches_replace": {"dit": {("double_block", 0): note}}}
    args = arguments(clip)
    with torch.no_grad():
        model(**args, transformer_options=options)
        photo, pose = (pad_to_patch_size(args[name], model.patch_size) for name in ("ref_x", "ref_c"))
        want = {"photo": model.patch_embedding(photo), "first_pose": model.patch_embedding_ref_c(pose)}
    for name, tokens in want.items():
        start, stop = noted[name]
        assert torch.allclose(noted["img"][:, start:stop], tokens.flatten(2).transpose(1, 2), atol=1e-5), name
    assert noted["first_pose"][1] == noted["img"].shape[1]


def test_the_published_tokens_by_hand():
    assert reference_tokens(23, 30, 52) == {"photo": (32760, 34320), "first_pose": (34320, 35880)}


@pytest.mark.parametrize("text_tokens", [16, 60])
def test_the_photo_is_scaled_in_self_attention_alone(golden_patcher, inputs, text_tokens):
    """60 text tokens are as many as all tokens: a length does not tell the attentions apart."""
    seen = []

    def note(attention, q, k, v, heads, *args, **kwargs):
        seen.append(v.clone())
        return attention(q, k, v, heads, *args, **kwargs)

    args = arguments(inputs)
    args["context"] = torch.nn.functional.pad(args["context"][:, :7], (0, 0, 0, text_tokens - 7))
    model, first = golden_patcher.model.diffusion_model, 36
    with torch.no_grad():
        for strength in ({}, {"photo_strength": 1.5}):
            model(**args, **strength, transformer_options={OVERRIDE: note})
    plain, scaled = seen[:6], seen[6:]  # of two blocks
    want = plain[0].clone()
    want[:, first : first + 12] *= 1.5
    assert torch.equal(scaled[0], want) and torch.equal(scaled[1], plain[1])
    assert [len(v[0]) for v in scaled] == [60, 8, text_tokens] * 2
    assert not torch.equal(scaled[3][:, first : first + 12], plain[3][:, first : first + 12])


# When


def test_each_part_acts_on_its_steps_in_all_branches_alike(quick_model, conds, inputs, monkeypatch):
    seen, network = [], quick_model.model.diffusion_model
    forward = network._forward

    def note(x, timestep, *args, **kwargs):
        strengths = *kwargs.pop("pose_scales"), kwargs.pop("photo_strength", None)
        seen.append((round(float(timestep[0])), args[3]["cond_or_uncond"], strengths))
        return forward(x, timestep, *args, **kwargs)

    monkeypatch.setattr(network, "_forward", note)
    strength = PoseStrength(
        pose=Strength(0.5, 0.0, 0.5), spatial=Strength(2.0, 0.25, 1.0), reference_image=Strength(1.5, 0.5, 0.75)
    )
    guider = make_guider(patch_strength(quick_model, strength), *conds, 5.0, POSE)
    sample(guider, inputs.empty(), 0, "euler", "simple", 4)
    first, second, third, fourth = (0.5, 0, 1, 1, 1), (0.5, 2, 1, 1, 1), (0, 2, 1, 1, 1.5), (0, 2, 1, 1, 1)
    by_step = {}
    for level, branches, found in seen:
        by_step.setdefault(level, []).append((branches, found))
    assert list(by_step.values()) == [
        [([1, 0], first)],
        *[[([1, 0], found), ([2], found)] for found in (second, third, fourth)],
    ]


@torch.inference_mode()
def test_a_compiled_model_follows_the_steps(inputs):
    """ComfyUI's compilation takes what lies in transformer_options for constants."""
    model, args = build(Size(128, 128, 0, 64), pose=True), arguments(inputs)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)

    def run(network, strength):
        given = args | {"pose_scales": PoseScales(pose=strength), "transformer_options": {}, "time_dim_concat": None}
        return network(**given)

    torch._dynamo.reset()
    compiled = torch.compile(model._forward, backend="eager", options={"guard_filter_fn": skip_torch_compile_dict})
    found = {strength: run(compiled, strength) for strength in (1.0, 0.5, 0.0, 1.0)}
    for strength, velocity in found.items():
        assert relative_error(velocity, run(model._forward, strength)) <= 1e-6
    assert relative_error(found[1.0], found[0.0]) > 1e-4


# Refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pose_strength": -0.1}, "strength of pose is -0.1; it must be between 0 and 10"),
        ({"alignment_strength": float("nan")}, "strength of alignment is nan"),
        ({"reference_image_strength": 11.0}, "strength of reference image is 11"),
        ({"spatial_start_percent": 0.5, "spatial_end_percent": 0.5}, "of spatial acts from 0.5 to 0.5 of the steps"),
        ({"pose_end_percent": 1.2}, "of pose acts from 0.0 to 1.2 of the steps"),
    ],
)
def test_numbers_out_of_range_are_refused(golden_patcher, values, message):
    with pytest.raises(ValueError, match=message):
        with_strength(golden_patcher, **values)


class PlainWan:
    """A MODEL that is not SteadyDancer."""

    model = object()


@pytest.mark.parametrize("change", [with_strength, with_nag])
def test_another_model_and_a_second_node_are_refused(golden_patcher, change):
    with pytest.raises(ValueError, match="not SteadyDancer: it would ignore the pose"):
        change(PlainWan())
    once = with_strength(golden_patcher, pose_strength=0.5)
    with pytest.raises(ValueError, match="already carries strengths from a 'Pose Strength' node"):
        with_strength(once, pose_strength=0.5)
    with pytest.raises(ValueError, match="already has a negative prompt by NAG"):
        with_nag(with_nag(golden_patcher, 5.0), 5.0)
