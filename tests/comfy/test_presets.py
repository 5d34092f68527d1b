"""Presets of the sampler: what they cost at the model, and that saved workflows run as before."""

from dataclasses import replace
from types import SimpleNamespace

import comfy.sd
import pytest
import torch
from server import PromptServer

from steadydancer_pack.nodes.common.miniature_note import DRAWN_ONLY, miniature_note
from steadydancer_pack.nodes.common.node_text import show_text
from steadydancer_pack.nodes.common.sampling_inputs import run_settings
from steadydancer_pack.nodes.sampling import PoseGuidancePatch, SteadyDancerGuider, SteadyDancerSampler
from steadydancer_pack.steadydancer_core.sampling import presets
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.run import run

POSE = {"pose_guidance": 1.0, "pose_start": 0.1, "pose_end": 0.4}
SCHEDULE = {"steps": 10, "solver": "official unipc", "scheduler": "official", "shift": 5.0}
OFFICIAL_VALUES = {**SCHEDULE, **POSE, "text_guidance": 5.0}
LAYERS = ("self_attn.q", "self_attn.v", "cross_attn.k", "ffn.0")


@pytest.fixture
def passes(golden_patcher):
    """The samples that go through the network, counted at its own forward; a batch of three counts three."""
    counted = []
    network = golden_patcher.model.diffusion_model
    hook = network.register_forward_pre_hook(lambda module, args: counted.append(args[0].shape[0]))
    yield counted
    hook.remove()


@pytest.fixture
def sampled(inputs, conds):
    """Return a function that runs the sampler node on the golden conditions: (model, values) -> (latent, report)."""

    def sample(model, **values):
        latent = inputs.empty()
        positive, negative, pose_negative = conds
        output = SteadyDancerSampler.execute(
            model, positive, negative, latent, 0, {"preset": "Custom", **OFFICIAL_VALUES, **values}, pose_negative
        )
        return output.args[0]["samples"], output.ui.as_dict()["text"][0]

    return sample


def made_up_lora(patcher, layers=LAYERS, rank=4):
    """A LoRA of the two blocks, as a step-distilled one has them, with values that do not follow from the model's."""
    generator, lora = torch.Generator().manual_seed(0), {}
    for block, layer in ((block, layer) for block in (0, 1) for layer in layers):
        key = f"diffusion_model.blocks.{block}.{layer}"
        rows, columns = patcher.model.state_dict()[f"{key}.weight"].shape
        lora[f"{key}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) / columns**0.5
        lora[f"{key}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) / rank**0.5
    return lora


def with_lora(patcher, lora):
    return comfy.sd.load_lora_for_models(patcher, None, lora, 1.0, 0.0)[0]


# 40 steps: 40 v_pos, 40 v_neg, 11 v_posenegative. 20 steps: 20, the first 10, and 3 of the 5 in the window. 4: 4, 0, 1.
PRESETS = {
    "Official 40": (91, ["Pose guidance on steps 6 to 16 of 40"]),
    "Balanced 20": (
        20 + 10 + 3,
        [
            "Pose guidance on steps 4 to 8 of 20, computed anew on steps 4, 6, 8",
            "Negative prompt computed on 10 of 20 steps, then its last difference reused",
        ],
    ),
    "Fast 6": (6 + 2, ["Pose guidance on steps 2, 3 of 6"]),
    "Fast 4": (4 + 1, ["Pose guidance on step 2 of 4"]),
}


@pytest.mark.parametrize("name", PRESETS)
def test_the_report_of_every_preset_has_its_forward_passes_and_steps(golden_patcher, sampled, passes, name):
    count, lines = PRESETS[name]
    _, report = sampled(golden_patcher, preset=name)
    assert list(presets.PRESETS) == list(PRESETS) and sum(passes) == count
    assert report.startswith(f"{name}: ") and f"\n{count} forward passes" in report
    assert set(lines) <= set(report.splitlines())


def test_a_preset_is_its_row_and_nothing_of_the_values_above_and_has_a_known_name(golden_patcher, sampled):
    row = presets.PRESETS["Fast 4"]
    nonsense = {"steps": 999, "pose_start": 0.9, "pose_end": 0.1, "solver": "heun", "pose_every": 0, "shift": 1.0}
    by_name, _ = sampled(golden_patcher, preset="Fast 4", **nonsense)
    by_value, _ = sampled(golden_patcher, steps=4, text_guidance=1.0, solver=row.solver)
    assert torch.equal(by_name, by_value)
    with pytest.raises(ValueError, match="There is no preset 'Fast 5'. Choose one of: Official 40, .*, Custom"):
        sampled(golden_patcher, preset="Fast 5")
    with pytest.raises(ValueError, match="The preset is not one of this version. Choose one of: Official 40"):
        run_settings(None)


def test_the_report_is_the_ui_output_of_the_node(monkeypatch):
    """And no progress text: some frontends would show that beside it."""
    sent = []
    server = SimpleNamespace(send_progress_text=lambda *given: sent.append(given))
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    assert show_text("5 forward passes\nin all").as_dict() == {"text": ("5 forward passes\nin all",)}
    assert show_text("5 forward passes", shown="5").as_dict() == {"text": ("5 forward passes",), "shown": ("5",)}
    assert sent == []


def test_custom_values_are_those_of_the_core_and_official_where_none_is_given(
    golden_patcher, inputs, conds, sampled, passes
):
    found, report = sampled(golden_patcher)
    assert sum(passes) == 22 and report.startswith("Custom: 10 steps with official unipc")
    own = presets.Settings("Custom", 10, TextGuidance(5.0), PoseGuidance(1.0, 0.1, 0.4), "official unipc")
    want, _ = run(golden_patcher, *conds, inputs.empty(), 0, own)
    assert torch.equal(found, want["samples"])
    official = replace(presets.ROWS[0], name="Custom")
    assert run_settings({"preset": "Custom"}) == run_settings({"preset": "Custom", "steps": None}) == official


def test_fast_6_is_that_of_the_wan_animate_template():
    """lightx2v's LoRA, lcm and simple, shift 5; two of its six steps lie in the pose window."""
    row = presets.PRESETS["Fast 6"]
    assert (row.steps, row.solver, row.scheduler, row.shift, row.text.scale) == (6, "lcm", "simple", 5.0, 1.0)


@pytest.mark.parametrize(
    ("node", "new"),
    [
        (SteadyDancerGuider, {"skip_negative_after": 1.0, "pose_every": 1}),
        (PoseGuidancePatch, {"pose_every": 1}),
    ],
)
def test_new_inputs_stand_last_and_change_nothing_by_default(node, new):
    last = node.GET_SCHEMA().inputs[-len(new) :]
    assert {i.id: i.default for i in last} == new
    assert all(i.optional for i in last)


def test_a_few_step_lora_runs_at_its_true_cost_with_either_loader(golden_patcher, sampled, passes):
    lora = made_up_lora(golden_patcher)
    plain, told = sampled(golden_patcher, preset="Fast 4")
    passes.clear()
    distilled, report = sampled(with_lora(golden_patcher, lora), preset="Fast 4")
    assert passes == [1, 1, 1, 1, 1]  # the second step asks for the pose in a call of its own
    bypass, _ = comfy.sd.load_bypass_lora_for_models(golden_patcher, None, lora, 1.0, 0.0)
    beside, report_beside = sampled(bypass, preset="Fast 4")
    assert all((found - plain).norm() > 1e-2 * plain.norm() for found in (distilled, beside))
    assert "No LoRA acts on this model" in told and "No LoRA" not in report + report_beside


def test_the_report_counts_the_steps_that_were_run(golden_patcher, sampled):
    """ddim_uniform makes 8 steps of 7."""
    _, report = sampled(golden_patcher, steps=7, solver="euler", scheduler="ddim_uniform")
    assert report.startswith("Custom: 8 steps with euler") and " of 8" in report and " of 7" not in report


@pytest.mark.parametrize(("steps", "inside"), [(4, 1), (6, 2), (8, 3)])
def test_four_to_eight_steps_with_a_lora(golden_patcher, sampled, passes, steps, inside):
    """Steps strictly between 0.1 and 0.4 of the run cost one more pass each, none of the others any."""
    model = with_lora(golden_patcher, made_up_lora(golden_patcher))
    _, report = sampled(model, steps=steps, text_guidance=1.0, solver="euler", scheduler="simple")
    assert sum(passes) == steps + inside and f"{steps + inside} forward passes" in report


def test_a_lora_for_another_model_is_told(golden_patcher, sampled, caplog):
    other = {key.replace("blocks", "double_blocks"): value for key, value in made_up_lora(golden_patcher).items()}
    _, report = sampled(with_lora(golden_patcher, other), preset="Fast 4")
    assert "a LoRA for another model changes nothing" in " ".join(report.split())
    assert "No LoRA acts on this model" in caplog.text


def test_a_model_of_less_than_full_width_says_that_it_knows_no_real_photos(golden_patcher, sampled, monkeypatch):
    _, report = sampled(golden_patcher, preset="Fast 4")
    assert report.endswith(DRAWN_ONLY)
    monkeypatch.setattr(golden_patcher.model.diffusion_model, "dim", 5120)
    assert miniature_note(golden_patcher) == []


def test_a_latent_that_is_not_a_number_is_told(golden_patcher, sampled):
    broken = golden_patcher.clone()
    broken.set_model_unet_function_wrapper(lambda apply_model, args: torch.full_like(args["input"], torch.nan))
    assert "The latent holds values that are not numbers" in sampled(broken, steps=2)[1]
    assert "not numbers" not in sampled(golden_patcher, steps=2)[1]
