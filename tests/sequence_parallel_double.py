"""Two processes that compute the golden model's video each alone and then together; see run_two.

Rank 0 writes JSON to the file named by the only argument: for each case what `compare` returns, and three refusals.
"""

import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

PACK = Path(__file__).resolve().parents[1]


def with_lora(model):
    generator, key = torch.Generator().manual_seed(0), "diffusion_model.blocks.0.self_attn.k"
    shapes = {f"{key}.lora_A.weight": (4, 256), f"{key}.lora_B.weight": (256, 4)}
    lora = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]


def with_windows(model):
    model = model.clone()
    model.model_options["context_handler"] = IndexListContextHandler(
        context_schedule=get_matching_context_schedule(ContextSchedules.STATIC_STANDARD),
        fuse_method=get_matching_fuse_method(ContextFuseMethods.PYRAMID),
        context_length=4,
        context_overlap=2,
        dim=2,
    )
    return model


def with_whole_token_hooks(model):
    """Patch after blocks, a replacement and an attention override, each of which needs all tokens."""

    def centered(args, key="img"):
        tokens = args[key]
        return {**args, key: tokens - 0.1 * tokens.mean(dim=1, keepdim=True)}

    def replaced(args, extra):
        return centered(extra["original_block"](centered(args)))

    model = model.clone()
    model.set_model_patch(centered, "double_block")
    model.set_model_patch_replace(replaced, "dit", "double_block", 1)
    model.model_options["transformer_options"]["optimized_attention_override"] = lambda f, *a, **k: 0.9 * f(*a, **k)
    return model


def with_control(model):
    """Half the pose, and a negative prompt by NAG."""
    half = patch_strength(model, PoseStrength(pose=Strength(0.5)))
    return patch_nag(half, [[QuickInputs().text("text_negative"), {}]], NagSettings())


def sampled(model, inputs, guidance):
    conds = make_conditions(model, inputs)
    settings = presets.Settings("two", 2, guidance, PoseGuidance(1.0, 0.0, 1.0), "official euler", shift=3.0)
    return run(model, *conds, inputs.empty(), 0, settings)[0]["samples"]


def per_frame(model, inputs):
    """One pass with a timestep of its own for each of the T + 2 frames."""
    network = model.model.diffusion_model
    arguments = {
        "clip_fea": inputs.clip("clip_image"),
        "clip_fea_c": inputs.clip("clip_pose"),
        "pose_latents": inputs.latent("pose_latent"),
        "ref_c": inputs.latent("ref_pose_latent", 1),
    }
    x = torch.cat([inputs.latent("noise"), inputs.latent("noise"), inputs.latent("image_latent")[:, :4]], dim=1)
    frames = torch.linspace(200, 900, inputs.size[0] + 2)[None]
    options = model.model_options["transformer_options"] | {"wrappers": model.wrappers}
    with torch.inference_mode():
        return network(x, frames, inputs.text("text"), ref_x=x[:, :, :1], transformer_options=options, **arguments)


def compare(model, patch, compute):
    """Return the largest difference, the largest value, and the token counts of a feed-forward alone and together."""
    patched, seen = patch(model), [set(), set()]
    results = []
    for each, counts in zip((patched, split_sequence(patched)), seen, strict=True):
        watch = each.model.diffusion_model.blocks[-1].ffn.register_forward_pre_hook(
            lambda _, inputs, counts=counts: counts.add(inputs[0].shape[1])
        )
        results.append(compute(each))
        watch.remove()
    alone, together = results
    return float((alone - together).abs().max()), float(alone.abs().max()), *map(sorted, seen)


def main():
    model = load_golden_model()
    guided = partial(sampled, inputs=QuickInputs(), guidance=TextGuidance(5.0))
    odd = QuickInputs(frames=3, height=6, width=6)  # 5 frames of 9 tokens
    cases = {
        "even": (lambda m: m, guided),
        "odd": (lambda m: m, partial(sampled, inputs=odd, guidance=TextGuidance(1.0))),
        "lora": (with_lora, partial(sampled, inputs=odd, guidance=TextGuidance(1.0))),
        "windows": (
            with_windows,
            partial(sampled, inputs=QuickInputs(frames=7, height=6, width=6), guidance=TextGuidance(1.0)),
        ),
        "hooks": (with_whole_token_hooks, partial(sampled, inputs=odd, guidance=TextGuidance(1.0))),
        "control": (with_control, partial(sampled, inputs=odd, guidance=TextGuidance(1.0))),
        "per frame": (lambda m: m, partial(per_frame, inputs=odd)),
    }
    found = {name: compare(model, *case) for name, case in cases.items()}
    refused = model.clone()
    refused.set_model_patch(lambda args: args["x"], "attn1_patch")
    try:
        per_frame(split_sequence(refused), odd)
    except ValueError as error:
        found["refused"] = str(error)
    stronger = patch_strength(model, PoseStrength(reference_image=Strength(1.5)))
    try:
        sampled(split_sequence(stronger), odd, TextGuidance(1.0))
    except ValueError as error:
        found["photo"] = str(error)
    model.model.diffusion_model.num_heads = 3
    try:
        split_sequence(model)
    except ValueError as error:
        found["heads"] = str(error)
    if dist.get_rank() == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    package = ModuleType("steadydancer_pack")
    package.__path__ = [str(PACK)]
    sys.modules["steadydancer_pack"] = package
    from steadydancer_pack.tests.comfyui import use_comfyui

    use_comfyui()
    import comfy.sd
    import torch
    import torch.distributed as dist
    from comfy.context_windows import (
        ContextFuseMethods,
        ContextSchedules,
        IndexListContextHandler,
        get_matching_context_schedule,
        get_matching_fuse_method,
    )

    from steadydancer_pack.benchmarks.golden_model import GoldenInputs, load_golden_model, make_conditions
    from steadydancer_pack.steadydancer_core.model.sequence_parallel import split_sequence
    from steadydancer_pack.steadydancer_core.sampling import presets
    from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
    from steadydancer_pack.steadydancer_core.sampling.nag import NagSettings, patch_nag
    from steadydancer_pack.steadydancer_core.sampling.pose_strength import PoseStrength, Strength, patch_strength
    from steadydancer_pack.steadydancer_core.sampling.run import run

    class QuickInputs(GoldenInputs):
        clip_tokens, text_tokens = 8, 16

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    main()
    dist.destroy_process_group()
