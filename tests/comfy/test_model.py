"""The model against the official implementation's figures, and each sample of a batch against itself alone."""

import itertools

import pytest
import torch

TIMESTEP = 731.0


def relative_error(found, want):
    return ((found.double() - want.double()).norm() / want.double().norm()).item()


def arguments(inputs, suffix=""):
    """One forward pass of the golden case; another `suffix` gives other inputs of the same shapes."""
    frames, height, width = inputs.size
    mask = torch.zeros(1, 4, frames, height, width)
    mask[:, :, 0] = 1
    photo = inputs.latent(f"ref_image_latent{suffix}", 1)
    x = torch.cat([inputs.latent(f"noise{suffix}"), mask, inputs.latent(f"image_latent{suffix}")], dim=1)
    return {
        "x": x,
        "timestep": torch.tensor([TIMESTEP]),
        "context": inputs.text(f"text{suffix}"),
        "clip_fea": inputs.clip(f"clip_image{suffix}"),
        "pose_latents": inputs.latent(f"pose_latent{suffix}"),
        "ref_x": torch.cat([photo, torch.ones_like(photo[:, :4]), photo], dim=1),
        "ref_c": inputs.latent(f"ref_pose_latent{suffix}", 1),
        "clip_fea_c": inputs.clip(f"clip_pose{suffix}"),
    }


def cast(args, dtype):
    return {name: value if name == "timestep" else value.to(dtype) for name, value in args.items()}


@torch.no_grad()
def run(patcher, args, dtype=torch.float32):
    return patcher.model.diffusion_model(**cast(args, dtype)).float()


@pytest.mark.parametrize(
    ("model", "bound"), [("golden_patcher", 1e-5), ("golden_patcher_bfloat16", 3e-2), ("golden_patcher_float16", 4e-3)]
)
def test_the_velocity(golden, inputs, request, model, bound):
    patcher = request.getfixturevalue(model)
    velocity = run(patcher, arguments(inputs), patcher.model.get_dtype())[0]
    assert relative_error(velocity, golden("dit_a")["velocity"]) <= bound


@torch.no_grad()
def test_every_stage_in_float32(golden, inputs, golden_patcher):
    model, args, want = golden_patcher.model.diffusion_model, arguments(inputs), golden("dit_a")
    pose = model.modulate(args["x"], args["pose_latents"])
    tokens = model.embed_tokens(args["x"], args["pose_latents"], args["ref_x"], args["ref_c"])
    found = {
        "temporal": pose.temporal,
        "spatial": pose.spatial[0].transpose(0, 1),
        "aligned": pose.aligned,
        "fused_tokens": tokens[:, :, : want["fused_tokens"].shape[2]],
    }
    errors = {name: relative_error(tensor, want[name]) for name, tensor in found.items()}
    assert max(errors.values()) <= 1e-5, errors


def test_samples_of_a_batch_stay_apart(inputs, golden_patcher):
    singles = [arguments(inputs, suffix) for suffix in ("", " second", " third")]
    alone = [run(golden_patcher, args) for args in singles]
    for order in itertools.permutations(range(3)):
        batch = {name: torch.cat([singles[i][name] for i in order]) for name in singles[0]}
        together = run(golden_patcher, batch)
        for row, i in enumerate(order):
            assert relative_error(together[row], alone[i][0]) <= 1e-6


def test_the_alignment_attends_across_frames_at_each_cell(inputs, golden_patcher):
    model, args = golden_patcher.model.diffusion_model, arguments(inputs)
    pose, changed = args["pose_latents"], args["pose_latents"].clone()
    changed[0, :, 1, 2, 3] += 1
    with torch.no_grad():
        before, after = (model.condition_embedding_align(p, args["x"][:, :16]) for p in (pose, changed))
    differs = (before != after).any(dim=1)[0]
    assert differs[:, 2, 3].all()
    assert differs.sum() == pose.shape[2]


@torch.no_grad()
def test_a_float16_model_holds_float32_pose_modules_for_a_pose_beyond_float16(inputs, golden_patcher_float16):
    model, args = golden_patcher_float16.model.diffusion_model, cast(arguments(inputs), torch.float16)
    args["pose_latents"] = args["pose_latents"].clamp(-1, 1) * 60000
    pose = model.modulate(args["x"], args["pose_latents"])
    assert pose.fused.abs().max() > torch.finfo(torch.float16).max
    assert all(part.dtype == torch.float32 and part.isfinite().all() for part in pose)
    weights = golden_patcher_float16.model.diffusion_model.named_parameters()
    wide = {name.split(".")[0] for name, weight in weights if weight.dtype == torch.float32}
    pose = {f"condition_embedding_{part}" for part in ("temporal", "spatial", "align")}
    assert wide == pose | {"patch_embedding", "patch_embedding_fuse", "patch_embedding_ref_c"}


def test_the_alignment_in_parts_is_the_alignment_and_odd_sizes_keep_their_shape(inputs, golden_patcher, monkeypatch):
    assert run(golden_patcher, arguments(type(inputs)(height=7, width=5))).shape == (1, 16, 3, 7, 5)
    whole = run(golden_patcher, arguments(inputs))
    monkeypatch.setattr("steadydancer_pack.steadydancer_core.model.pose_modulation.MAX_CELL_FRAMES", 40)
    assert relative_error(run(golden_patcher, arguments(inputs)), whole) <= 1e-6


@torch.no_grad()
def test_block_hooks_are_called_for_every_block(inputs, golden_patcher):
    model, seen = golden_patcher.model.diffusion_model, []

    def replace(args, extra):
        seen.append(("replaced", args["transformer_options"]["block_index"]))
        return extra["original_block"](args)

    def after(args):
        seen.append(("after", args["block_index"]))
        return {"img": args["img"]}

    blocks = range(len(model.blocks))
    options = {
        "patches_replace": {"dit": {("double_block", i): replace for i in blocks}},
        "patches": {"double_block": [after]},
    }
    hooked = model(**arguments(inputs), transformer_options=options)
    assert seen == [(kind, i) for i in blocks for kind in ("replaced", "after")]
    assert torch.equal(hooked, model(**arguments(inputs)))
