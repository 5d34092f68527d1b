"""The guided loop inside ComfyUI against the official loop, and how often it asks the model."""

import json
from pathlib import Path

import comfy.model_sampling
import comfy.sample
import comfy.samplers
import pytest
import torch

from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample, with_shift
from steadydancer_pack.steadydancer_core.sampling.schedule import make_sigmas, make_solver, official_sigmas
from steadydancer_pack.steadydancer_core.sampling.step_position import StepPosition

SCHEDULES = json.loads((Path(__file__).resolve().parent.parent / "golden" / "schedules.json").read_text())
OFFICIAL = PoseGuidance(1.0, 0.1, 0.4)


class Counter:
    """Counts the samples that pass through the model, and remembers at which sigma."""

    def __init__(self, model):
        self.model = model.clone()
        self.model.set_model_unet_function_wrapper(self)
        self.calls = []

    def __call__(self, apply_model, args):
        self.calls += [round(float(s), 6) for s in args["timestep"]]
        return apply_model(args["input"], args["timestep"], **args["c"])

    def passes(self):
        return len(self.calls)

    def per_level(self):
        """Passes at each sigma, in the order in which they were asked."""
        return {level: self.calls.count(level) for level in dict.fromkeys(self.calls)}


def run_golden(inputs, patcher, conds, sigmas, solver, noise_scale=1.0):
    guider = make_guider(patcher, *conds, text_guidance=5.0, guidance=OFFICIAL)
    noise = inputs.latent("noise", scale=1.7) * noise_scale
    result = guider.sample(noise, torch.zeros_like(noise), solver, sigmas, disable_pbar=True, seed=0)
    return patcher.model.process_latent_in(result)[0]


def error(found, want):
    return ((found - want).norm() / want.norm()).item()


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
def test_the_guided_loop_ends_where_the_official_one_does(golden, inputs, golden_patcher, conds, solver):
    sigmas = official_sigmas(solver, 10, 5.0)
    found = run_golden(inputs, golden_patcher, conds, sigmas, make_solver(f"official {solver}"))
    assert error(found, golden("sampling_a")[f"{solver}.latent"]) <= 1e-4


# Distances on made-up weights, which answer to the timestep more sharply than trained ones: the same steps with
# 1000 * sigma instead of whole timesteps (euler), and ComfyUI's own order 2 solvers.
@pytest.mark.parametrize(("sampler", "solver"), [("euler", "euler"), ("dpmpp_2m", "dpm++")])
def test_comfyui_samplers_with_their_own_timesteps_stay_near(golden, inputs, golden_patcher, conds, sampler, solver):
    sigmas = official_sigmas(solver, 10, 5.0)
    found = run_golden(inputs, golden_patcher, conds, sigmas, make_solver(sampler), 1 / float(sigmas[0]))
    distance = error(found, golden("sampling_a")[f"{solver}.latent"])
    print(f"{sampler}: {distance:.2e} from the official {solver} latent")  # noqa: T201
    assert 1e-4 < distance <= 0.05


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_official_schedules(name):
    solver, steps, shift = name.rsplit("_", 2)
    want = torch.tensor(SCHEDULES[name]["sigmas"])
    found = official_sigmas(solver, int(steps), float(shift))
    assert torch.allclose(found, want, rtol=0, atol=1e-6)
    # Upstream rounds down in float64; where 1000 * sigma is whole, float32 may land one timestep higher.
    off = (found[:-1] * 1000).floor() - torch.tensor(SCHEDULES[name]["timesteps"])
    assert off.min() >= 0 and off.max() <= 1 and off.sum() <= 2


def count(inputs, patcher, conds, solver="official unipc", steps=40, text=5.0, pose=1.0, scheduler="official"):
    counter = Counter(patcher)
    guider = make_guider(counter.model, *conds, text_guidance=text, guidance=PoseGuidance(pose, 0.1, 0.4))
    sample(guider, inputs.empty(), 0, solver, scheduler, steps)
    return counter


@pytest.mark.parametrize(
    ("steps", "text", "pose", "passes"),
    [
        (40, 5.0, 1.0, 91),
        (10, 5.0, 1.0, 22),
        (40, 5.0, 0.0, 80),
        (40, 1.0, 1.0, 51),
        (4, 1.0, 1.0, 5),
        (4, 1.0, 0.0, 4),
    ],
)
@pytest.mark.parametrize("solver", ["official unipc", "official dpm++"])
def test_forward_passes(inputs, golden_patcher, conds, solver, steps, text, pose, passes):
    assert count(inputs, golden_patcher, conds, solver, steps, text, pose).passes() == passes


def test_the_model_patch_costs_the_same_passes(inputs, golden_patcher, conds):
    counter = Counter(golden_patcher)
    patched = patch_model(counter.model, conds[2], OFFICIAL)
    ksampler(patched, conds, inputs, steps=40, sampler="euler", scheduler="simple")
    assert counter.passes() == 91


# heun evaluates each level but the first twice; dpm_2's midpoint of step i lies between i and i + 1, the last has none.
@pytest.mark.parametrize(
    ("solver", "passes"),
    [
        ("heun", [(1 if i == 0 else 2) * (3 if 4 < i < 16 else 2) for i in range(40)]),
        ("dpm_2", [3 if 8 < half_steps < 32 else 2 for half_steps in range(79)]),
    ],
)
def test_solvers_that_evaluate_twice_keep_the_window(inputs, golden_patcher, conds, solver, passes):
    """Steps 5 to 15 of 40 lie inside, with three passes; the others have two."""
    assert list(count(inputs, golden_patcher, conds, solver, scheduler="simple").per_level().values()) == passes


# ddim_uniform starts below pure noise, like a split run, and is placed by the model's own schedule.
@pytest.mark.parametrize("scheduler", [name for name in comfy.samplers.SCHEDULER_NAMES if name != "ddim_uniform"])
@pytest.mark.parametrize(("steps", "inside"), [(40, range(5, 16)), (10, range(2, 4)), (4, range(1, 2))])
def test_the_window_counts_steps_on_every_schedule(golden_patcher, scheduler, steps, inside):
    sampling = golden_patcher.get_model_object("model_sampling")
    sigmas = make_sigmas(sampling, "euler", scheduler, steps)
    found = [i for i in range(steps) if OFFICIAL.acts_at(StepPosition.at(sigmas[i : i + 1], sampling, sigmas))]
    assert len(sigmas) == steps + 1 and found == list(inside)


@pytest.mark.parametrize("rounding", [-1e-7, 0, 1e-7])
def test_a_rounded_level_stays_on_its_step(golden_patcher, rounding):
    sigmas = official_sigmas("dpm++", 40, 5.0)
    sampling = golden_patcher.get_model_object("model_sampling")
    found = [i for i in range(40) if OFFICIAL.acts_at(StepPosition.at(sigmas[i : i + 1] + rounding, sampling, sigmas))]
    assert found == list(range(5, 16))


def test_the_fit_an_empty_window_and_an_unused_pose_negative_are_reported(inputs, golden_patcher, conds, caplog):
    guider = make_guider(golden_patcher, *conds, text_guidance=5.0, guidance=PoseGuidance(1.0, 0.3, 0.4))
    with caplog.at_level("INFO"):
        sample(guider, inputs.empty(), 0, "official unipc", "official", 4)
    assert "None of the 4 steps lies between" in caplog.text and "SteadyDancer: Memory on cpu" in caplog.text
    off = PoseGuidance(0.0, 0.1, 0.4)
    make_guider(golden_patcher, *conds, 5.0, off)
    patch_model(golden_patcher, conds[2], off)
    assert caplog.text.count("Pose guidance is 0") == 2


def ksampler(model, conds, inputs, steps, sampler, scheduler, cfg=5.0, seed=0, **kwargs):
    latent = torch.zeros(1, 16, *inputs.size)
    noise = comfy.sample.prepare_noise(latent, seed)
    return comfy.sample.sample(
        model, noise, steps, cfg, sampler, scheduler, conds[0], conds[1], latent, seed=seed, disable_pbar=True, **kwargs
    )


def test_split_sampling_keeps_the_window(inputs, golden_patcher, conds):
    counter = Counter(golden_patcher)
    guider = make_guider(counter.model, *conds, text_guidance=5.0, guidance=OFFICIAL)
    sigmas = make_sigmas(golden_patcher.get_model_object("model_sampling"), "euler", "simple", 40)
    noise = comfy.sample.prepare_noise(torch.zeros(1, 16, *inputs.size), 0)
    whole = guider.sample(noise, torch.zeros_like(noise), make_solver("euler"), sigmas, disable_pbar=True, seed=0)
    asked = counter.per_level()
    counter.calls.clear()
    first = guider.sample(noise, torch.zeros_like(noise), make_solver("euler"), sigmas[:11], disable_pbar=True, seed=0)
    second = guider.sample(torch.zeros_like(noise), first, make_solver("euler"), sigmas[10:], disable_pbar=True, seed=0)
    assert counter.per_level() == asked and sum(asked.values()) == 91
    assert error(second, whole) <= 1e-5


@pytest.mark.parametrize(
    ("solver", "scheduler"), [("euler", "simple"), ("official unipc", "official"), ("official dpm++", "official")]
)
def test_one_seed_gives_one_latent_on_every_path(inputs, golden_patcher, conds, solver, scheduler):
    """The sampler, the guider in SamplerCustomAdvanced, and ComfyUI's own guider on the patched model."""
    guider = make_guider(with_shift(golden_patcher, 5.0), *conds, text_guidance=5.0, guidance=OFFICIAL)
    latent = inputs.empty()["samples"]
    ours = sample(guider, {"samples": latent}, 7, solver, scheduler, 10)["samples"]
    sigmas = make_sigmas(golden_patcher.get_model_object("model_sampling"), solver, scheduler, 10)
    stock = comfy.samplers.CFGGuider(patch_model(golden_patcher, conds[2], OFFICIAL))
    stock.set_conds(conds[0], conds[1])
    stock.set_cfg(5.0)
    noise = comfy.sample.prepare_noise(latent, 7)
    for other in (guider, stock):
        found = other.sample(noise, latent, make_solver(solver), sigmas, disable_pbar=True, seed=7)
        assert error(found, ours) <= 1e-5
    if solver == "euler":
        patched = patch_model(golden_patcher, conds[2], OFFICIAL)
        assert error(ksampler(patched, conds, inputs, 10, solver, scheduler, seed=7), ours) <= 1e-5


@pytest.mark.parametrize("name", ["dpmpp_2m", "dpmpp_sde", "uni_pc", "lcm", "euler_ancestral", "res_multistep", "ddim"])
def test_the_ksampler_family_runs(inputs, golden_patcher, conds, name):
    patched = patch_model(golden_patcher, conds[2], OFFICIAL)
    assert ksampler(patched, conds, inputs, 4, name, "simple").isfinite().all()


def test_a_batch_of_two_latents_gives_two_videos(inputs, golden_patcher, conds):
    guider = make_guider(golden_patcher, *conds, text_guidance=5.0, guidance=OFFICIAL)
    both = sample(guider, {"samples": torch.zeros(2, 16, *inputs.size)}, 0, "official unipc", "official", 10)["samples"]
    one = sample(guider, inputs.empty(), 0, "official unipc", "official", 10)["samples"]
    assert both.shape[0] == 2 and error(both[:1], one) <= 1e-4 and error(both[1:], one) > 1e-2


def with_batch_hook(patcher):
    """Return a clone with another node's batch function, and a list of which conditions each of its calls got."""
    seen, model = [], patcher.clone()

    def batch(args):
        seen.append([cond is not None for cond in args["conds"]])
        return comfy.samplers.calc_cond_batch(
            args["model"], args["conds"], args["input"], args["sigma"], args["model_options"]
        )

    model.model_options["sampler_calc_cond_batch_function"] = batch
    return model, seen


def test_other_nodes_batch_hooks_still_run(inputs, golden_patcher, conds):
    model, seen = with_batch_hook(golden_patcher)
    assert count(inputs, model, conds, steps=10).passes() == 22
    assert seen == [[True, True]] * 10


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (PoseGuidance, (1.0, 0.4, 0.4), "pose window"),
        (PoseGuidance, (1.0, 0.5, 0.1), "pose window"),
        (PoseGuidance, (1.0, -0.1, 0.4), "pose window"),
        (PoseGuidance, (1.0, 0.1, 1.1), "pose window"),
        (PoseGuidance, (1.0, 0.1, 0.4, 0), "pose_every is 0; it must be 1"),
        (PoseGuidance, (float("nan"),), "Pose guidance is nan"),
        (PoseGuidance, (float("inf"),), "Pose guidance is inf"),
        (TextGuidance, (float("nan"),), "Text guidance is nan"),
        (TextGuidance, (float("inf"),), "Text guidance is inf"),
        (TextGuidance, (5.0, -0.1), "skip_negative_after is .* it must be between 0 and 1"),
        (TextGuidance, (5.0, 1.1), "skip_negative_after is .* it must be between 0 and 1"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, values, message):
    with pytest.raises(ValueError, match=message):
        settings(*values)


def test_pose_guidance_needs_steadydancer_and_one_pose_negative_and_is_set_once(golden_patcher, conds):
    for missing in (None, [], [[conds[0][0][0], {}]]):
        with pytest.raises(ValueError, match="pose_negative"):
            make_guider(golden_patcher, conds[0], conds[1], missing, 5.0, OFFICIAL)
        with pytest.raises(ValueError, match="pose_negative"):
            patch_model(golden_patcher, missing, OFFICIAL)
    with pytest.raises(ValueError, match="Found 2 conditions"):
        patch_model(golden_patcher, conds[2] * 2, OFFICIAL)
    with pytest.raises(ValueError, match="already carries pose guidance"):
        make_guider(patch_model(golden_patcher, conds[2], OFFICIAL), *conds, 5.0, OFFICIAL)

    class Other:
        model_options, model = {}, object()

    for use in (lambda: make_guider(Other(), *conds, 5.0, OFFICIAL), lambda: patch_model(Other(), conds[2], OFFICIAL)):
        with pytest.raises(ValueError, match="The connected model is object, not SteadyDancer"):
            use()


def in_ranges(conditioning, *ranges):
    ((prompt, values),) = conditioning
    return [[prompt, {**values, "start_percent": start, "end_percent": end}] for start, end in ranges]


@pytest.mark.parametrize(("ranges", "gap"), [([(0.5, 1)], "0%"), ([(0.6, 1), (0, 0.5)], "50%"), ([(0, 0.3)], "30%")])
def test_a_pose_negative_with_a_gap_in_its_time_ranges_is_refused(golden_patcher, conds, ranges, gap):
    with pytest.raises(ValueError, match=f"timestep range that leaves a part of the run without it, from {gap} on"):
        make_guider(golden_patcher, conds[0], conds[1], in_ranges(conds[2], *ranges), 5.0, OFFICIAL)


def test_a_prompt_may_change_in_the_middle_of_the_run(inputs, golden_patcher, conds):
    """Two halves of the same condition are the condition itself."""
    halves = (0, 0.5), (0.5, 1)
    sigmas, solver = official_sigmas("unipc", 10, 5.0), make_solver("official unipc")
    whole = run_golden(inputs, golden_patcher, conds, sigmas, solver)
    parts = [in_ranges(conds[0], *halves), conds[1], in_ranges(conds[2], *halves)]
    assert error(run_golden(inputs, golden_patcher, parts, sigmas, solver), whole) <= 1e-5


@pytest.mark.parametrize(
    ("change", "frames", "message"),
    [
        (lambda cond: {**cond, "area": (4, 4, 0, 0)}, 3, "areas do not work"),
        (lambda cond: {}, 3, "Reconcile Conditions"),
        (lambda cond: cond, 5, "48x64 pixels with 9 frames"),
    ],
    ids=["an area", "a condition without a pose", "a latent of another size"],
)
def test_what_the_ksampler_cannot_sample_is_refused(inputs, golden_patcher, conds, change, frames, message):
    changed = [[[prompt, change(values)]] for ((prompt, values),) in conds[:2]]
    with pytest.raises(ValueError, match=message):
        ksampler(golden_patcher, changed, type(inputs)(frames=frames), 2, "euler", "simple")


def test_areas_that_comfyui_would_read_first_and_a_schedule_without_a_shift_are_refused(golden_patcher, conds):
    for values in ({"area": ("percentage", 0.5, 0.5, 0, 0)}, {"set_area_to_bounds": True}):
        area = [[conds[0][0][0], {**conds[0][0][1], **values}]]
        with pytest.raises(ValueError, match="areas do not work .* set_cond_area on default"):
            make_guider(golden_patcher, area, conds[1], conds[2], 5.0, OFFICIAL)
    with pytest.raises(ValueError, match="The connected model has no shift"):
        make_sigmas(comfy.model_sampling.ModelSamplingDiscrete(), "official unipc", "official", 10)


def test_the_swapped_condition_of_the_patch_has_an_identity_of_its_own(inputs, golden_patcher, conds):
    seen, model = [], golden_patcher.clone()

    def note(apply_model, args):
        seen.append(tuple(args["c"]["transformer_options"]["uuids"]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(note)
    ksampler(patch_model(model, conds[2], OFFICIAL), conds, inputs, 10, "euler", "simple")
    alone = {ids for ids in seen if len(ids) == 1}
    assert len(alone) == 1 and not any(set(*alone) & set(ids) for ids in seen if len(ids) == 2)


def test_out_of_memory_names_what_to_lower(inputs, golden_patcher, conds):
    """In the sampler, and with the guider in SamplerCustomAdvanced: the same error, with advice."""

    def too_much(apply_model, args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model = golden_patcher.clone()
    model.set_model_unet_function_wrapper(too_much)
    guider = make_guider(model, *conds, text_guidance=5.0, guidance=OFFICIAL)
    noise = torch.ones(1, 16, *inputs.size)
    for use in (
        lambda: sample(guider, {"samples": noise * 0}, 0, "euler", "simple", 2),
        lambda: guider.sample(noise, noise * 0, make_solver("euler"), official_sigmas("euler", 2, 5.0), seed=0),
    ):
        with pytest.raises(torch.OutOfMemoryError, match="SteadyDancer ran out of memory .* blocks_to_swap"):
            use()


def test_a_picture_instead_of_a_video_latent_is_refused(inputs, golden_patcher, conds):
    guider = make_guider(golden_patcher, *conds, text_guidance=5.0, guidance=OFFICIAL)
    with pytest.raises(ValueError, match="The latent is 48x64 pixels with 1 frames"):
        sample(guider, {"samples": torch.zeros(1, 4, *inputs.size[1:])}, 0, "euler", "simple", 2)
