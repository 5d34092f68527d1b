"""The two shortcuts of guidance: which branches they leave out, in every solver, and what they put in their place."""

import comfy.sample
import pytest
import torch

from steadydancer_pack.steadydancer_core.sampling.guidance import (
    CACHED,
    PoseGuidance,
    cache_difference,
    cached_difference,
)
from steadydancer_pack.steadydancer_core.sampling.guidance_patch import patch_model
from steadydancer_pack.steadydancer_core.sampling.run import make_guider, sample
from steadydancer_pack.steadydancer_core.sampling.schedule import make_sigmas, make_solver, official_sigmas
from steadydancer_pack.steadydancer_core.sampling.step_position import StepPosition
from steadydancer_pack.tests.comfy.test_sampling import Counter, error, ksampler, with_batch_hook

OFFICIAL = PoseGuidance(1.0, 0.1, 0.4)
OFF = PoseGuidance(0.0)
EVERY_SECOND = PoseGuidance(1.0, 0.1, 0.4, every=2)


@pytest.fixture
def guided(inputs, conds):
    def run(model, solver="euler", steps=20, pose=OFF, text=5.0, after=1.0, scheduler="simple"):
        guider = make_guider(model, *conds, text, pose, skip_negative_after=after)
        return sample(guider, inputs.empty(), 0, solver, scheduler, steps)["samples"], guider.log

    return run


class Stub(Counter):
    """Counts what is asked of the model, and answers at once: half of the latent."""

    def __call__(self, apply_model, args):
        super().__call__(lambda x, timestep, **c: x, args)
        return args["input"] / 2


@pytest.fixture
def levels(golden_patcher, guided):
    """Return a function: settings of a run -> passes at each of its noise levels, in the order asked."""

    def count(solver="euler", **settings):
        counter = Stub(golden_patcher)
        guided(counter.model, solver, **settings)
        return list(counter.per_level().values())

    return count


def test_the_negative_prompt_is_left_out_from_the_point_on(levels):
    """heun asks each level twice but the first; dpm_2 asks a midpoint, 9.5 lies before the half."""
    assert levels(after=0.5) == [2] * 10 + [1] * 10
    assert levels(after=0.5, scheduler="official", solver="official unipc") == [2] * 10 + [1] * 10
    assert levels(after=1.0) == [2] * 20
    assert levels(after=0.0) == [2] + [1] * 19  # one difference must be known
    assert levels("heun", after=0.5) == [2] + [4] * 9 + [2] * 10
    assert levels("dpm_2", after=0.5) == [2] * 20 + [1] * 19
    assert levels(after=0.5, text=1.0) == [1] * 20  # there is no negative to leave out


def test_text_guidance_0_computes_the_negative_and_not_the_positive(levels, guided, golden_patcher, conds, inputs):
    """v = v_neg outside the window; v_neg + s_pose (v_pos - v_posenegative) inside.

    Steps 2 and 3 of 10 lie inside and know a difference; outside v_neg is all there is and is not made of one.
    """
    assert levels(text=0.0) == [1] * 20
    assert levels(text=0.0, pose=OFFICIAL, steps=10) == [1, 1, 3, 3, 1, 1, 1, 1, 1, 1]
    assert levels(text=0.0, pose=OFFICIAL, steps=10, after=0.2) == [1, 1, 3, 2, 1, 1, 1, 1, 1, 1]
    found, _ = guided(golden_patcher, text=0.0, steps=4)
    assert error(found, ksampler(golden_patcher, conds, inputs, 4, "euler", "simple", cfg=0.0)) <= 1e-6
    full, _ = guided(golden_patcher, text=0.0, pose=OFFICIAL, steps=10)
    short, _ = guided(golden_patcher, text=0.0, pose=OFFICIAL, steps=10, after=0.2)
    assert 0 < error(short, full) < 0.01


# Of 20 steps 3 to 7 lie inside, of 40 steps 5 to 15.
@pytest.mark.parametrize(
    ("every", "steps", "computed"),
    [(1, 20, [3, 4, 5, 6, 7]), (2, 20, [3, 5, 7]), (3, 40, [5, 8, 11, 14]), (100, 20, [3])],
)
def test_the_pose_term_is_computed_on_every_kth_step_from_the_first_inside(levels, every, steps, computed):
    found = levels(pose=PoseGuidance(1.0, 0.1, 0.4, every), steps=steps)
    assert found == [3 if step in computed else 2 for step in range(steps)]


def test_solvers_that_ask_twice_compute_the_pose_by_step(levels):
    assert levels("heun", pose=EVERY_SECOND) == [2] + [6 if step in (3, 5, 7) else 4 for step in range(1, 20)]
    # dpm_2's midpoint 2.5 lies inside already, and nothing is kept yet
    places = [step + half for step in range(20) for half in (0, 0.5)][:-1]
    computed = (2.5, 3, 3.5, 5, 5.5, 7, 7.5)
    assert levels("dpm_2", pose=EVERY_SECOND) == [3 if place in computed else 2 for place in places]


def test_the_log_tells_acting_and_computing_steps_apart(golden_patcher, guided):
    _, log = guided(golden_patcher, pose=EVERY_SECOND, after=0.5)
    assert log.pose_steps == {3, 4, 5, 6, 7} and log.computed["pose_negative"] == {3, 5, 7}
    assert log.computed["negative"] == set(range(10)) and log.passes == 20 + 10 + 3


def test_the_model_patch_does_as_the_guider(golden_patcher, conds, inputs, guided):
    counter = Counter(golden_patcher)
    patched = patch_model(counter.model, conds[2], EVERY_SECOND)
    found = ksampler(patched, conds, inputs, 10, "euler", "simple")
    want, log = guided(golden_patcher, pose=EVERY_SECOND, steps=10)
    assert counter.passes() == log.passes == 10 + 10 + 1
    assert error(found, want) <= 1e-5


def test_a_cached_difference_is_that_of_velocities():
    """Denoised is x - sigma v, so a difference of denoised latents shrinks with sigma while the velocities' stays."""
    options = {}
    cache_difference(options, "negative", torch.tensor([2.0, -4.0]), 0.8)
    assert torch.allclose(cached_difference(options, "negative", 0.2), torch.tensor([0.5, -1.0]))
    assert torch.allclose(options[CACHED]["negative"], torch.tensor([2.5, -5.0]))
    cache_difference(options, "negative", torch.tensor([0.0, 0.0]), 0.0)
    assert torch.allclose(options[CACHED]["negative"], torch.tensor([2.5, -5.0]))


def constant_model(patcher):
    """A model whose velocity is 3 for the first condition's text and 1 for the others, whatever else it gets."""

    def velocities(apply_model, args):
        v = torch.tensor([3.0 if index == 0 else 1.0 for index in args["cond_or_uncond"]]).view(-1, 1, 1, 1, 1)
        return args["input"] - args["timestep"].view(-1, 1, 1, 1, 1) * v

    model = patcher.clone()
    model.set_model_unet_function_wrapper(velocities)
    return model


@pytest.mark.parametrize("solver", ["euler", "official unipc", "heun", "dpmpp_2m"])
def test_nothing_is_lost_where_the_difference_does_not_change(golden_patcher, guided, solver):
    """v_pos 3, v_neg 1, s_text 5: v is 11 at every step, kept or computed, and x ends at noise - 11 sigma_0."""
    model = constant_model(golden_patcher)
    full, _ = guided(model, solver, steps=8, scheduler="official")
    short, log = guided(model, solver, steps=8, scheduler="official", after=0.25)
    assert log.reused["negative"] == set(range(2, 8)) and error(short, full) <= 1e-5
    first = float(official_sigmas("unipc", 8, 5.0)[0])
    noise = comfy.sample.prepare_noise(full, 0) * (1 if solver.startswith("official") else first)
    end = golden_patcher.model.process_latent_in(full)
    assert torch.allclose(end, noise - 11 * first, atol=1e-3)


def test_the_cached_difference_is_nearer_than_no_term(golden_patcher, guided):
    """On the golden model, against the same run without shortcuts: skipping v_neg, or every second pose term."""
    full, _ = guided(golden_patcher, "official unipc", 10, OFFICIAL, scheduler="official")
    kept, _ = guided(golden_patcher, "official unipc", 10, OFFICIAL, after=0.5, scheduler="official")
    no_text, _ = guided(golden_patcher, "official unipc", 10, OFFICIAL, text=1.0, scheduler="official")
    every, _ = guided(golden_patcher, "official unipc", 10, EVERY_SECOND, scheduler="official")
    no_pose, _ = guided(golden_patcher, "official unipc", 10, OFF, scheduler="official")
    assert 0 < error(kept, full) < 0.5 * error(no_text, full)
    assert 0 < error(every, full) < 0.5 * error(no_pose, full)


def test_a_run_keeps_nothing_for_the_next(golden_patcher, conds, inputs):
    guider = make_guider(golden_patcher, *conds, 5.0, EVERY_SECOND, skip_negative_after=0.0)
    first = sample(guider, inputs.empty(), 0, "euler", "simple", 4)["samples"]
    passes = guider.log.passes
    sample(guider, inputs.empty(), 1, "euler", "simple", 4)
    assert torch.equal(sample(guider, inputs.empty(), 0, "euler", "simple", 4)["samples"], first)
    assert guider.log.passes == passes == 4 + 1 + 1 and CACHED not in golden_patcher.model_options


def test_a_split_run_computes_the_negative_once_more(golden_patcher, conds, inputs):
    counter = Counter(golden_patcher)
    guider = make_guider(counter.model, *conds, 5.0, OFF, skip_negative_after=0.5)
    sigmas = make_sigmas(golden_patcher.get_model_object("model_sampling"), "euler", "simple", 20)
    noise = comfy.sample.prepare_noise(inputs.empty()["samples"], 0)
    half = guider.sample(noise, torch.zeros_like(noise), make_solver("euler"), sigmas[:16], disable_pbar=True, seed=0)
    assert counter.passes() == 2 * 10 + 5
    counter.calls.clear()
    guider.sample(torch.zeros_like(noise), half, make_solver("euler"), sigmas[15:], disable_pbar=True, seed=0)
    assert list(counter.per_level().values()) == [2, 1, 1, 1, 1]


def test_another_nodes_batch_hook_is_not_asked_for_what_is_kept(golden_patcher, guided):
    model, seen = with_batch_hook(golden_patcher)
    found, log = guided(model, steps=10, pose=EVERY_SECOND, after=0.5)
    assert seen == [[True, True]] * 5 + [[True, False]] * 5 and log.passes == 10 + 5 + 1
    assert error(found, guided(golden_patcher, steps=10, pose=EVERY_SECOND, after=0.5)[0]) <= 1e-5


def test_a_position_without_a_known_run_is_placed_by_the_model(golden_patcher):
    sampling = golden_patcher.get_model_object("model_sampling")
    half = StepPosition.at(sampling.percent_to_sigma(0.5) * torch.ones(1), sampling)
    assert half.has_reached(0.5) and not half.is_after(0.5) and half.step == 0
    assert half.is_after(0.4) and not half.has_reached(0.6)
