"""The official solvers on sigmas from other nodes: repeats, runs that stop early, levels that make no step."""

import math

import pytest
import torch

from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.run import make_guider
from steadydancer_pack.steadydancer_core.sampling.schedule import OFFICIAL_SOLVERS, make_solver

solvers = pytest.mark.parametrize("solver", OFFICIAL_SOLVERS)


@pytest.fixture
def run(quick_model, conds, inputs):
    """Return a function from solver and sigmas to the latent and the run's log."""

    def sample(solver, sigmas):
        guider = make_guider(quick_model, *conds, 5.0, PoseGuidance(1.0, 0.3, 0.9))
        noise = inputs.latent("noise")
        found = guider.sample(
            noise, torch.zeros_like(noise), make_solver(solver), torch.tensor(sigmas), disable_pbar=True, seed=0
        )
        return found, guider.log

    return sample


@solvers
@pytest.mark.parametrize(
    ("sigmas", "distinct"),
    [
        ([1.0, 0.9, 0.9, 0.5, 0.2, 0.0], [1.0, 0.9, 0.5, 0.2, 0.0]),
        ([1.0, 1.0, 0.5, 0.2, 0.0], [1.0, 0.5, 0.2, 0.0]),
        ([0.9, 0.5, 0.5, 0.5, 0.2, 0.2, 0.0, 0.0], [0.9, 0.5, 0.2, 0.0]),
        ([0.9, 0.6, 0.6, 0.3], [0.9, 0.6, 0.3]),
        ([0.5, 0.5], [0.5]),
        ([1.0, 0.9, 0.5, 0.5 - 6e-8, 0.2, 0.0], [1.0, 0.9, 0.5, 0.2, 0.0]),
    ],
)
def test_a_step_of_length_0_is_no_step(run, solver, sigmas, distinct):
    found, log = run(solver, sigmas)
    want, want_log = run(solver, distinct)
    assert torch.equal(found, want) and found.isfinite().all()
    assert (log.levels, log.pose_steps, log.passes) == (want_log.levels, want_log.pose_steps, want_log.passes)


@solvers
@pytest.mark.parametrize("sigmas", [[0.9, 0.6, 0.3], [1.02, 0.9, 0.5, 0.0], [0.5], [0.0], []])
def test_a_run_may_stop_early_or_make_no_step(run, solver, sigmas):
    found, log = run(solver, sigmas)
    assert found.isfinite().all() and log.steps == max(0, len(sigmas) - 1)


@solvers
@pytest.mark.parametrize(
    ("sigmas", "listed"),
    [
        ([0.0, 0.5, 1.0], "0, 0.5, 1"),
        ([0.8, 0.5, 0.8, 0.0], "0.8, 0.5, 0.8, 0"),
        ([0.9, 0.0, 0.5, 0.0], "0.9, 0, 0.5, 0"),
        ([0.9, math.nan, 0.0], "0.9, nan, 0"),
        ([math.nan], "nan"),
        ([math.inf, 0.5, 0.0], "inf, 0.5, 0"),
        ([14.6, 3.0, 0.5, 0.0], "14.6, 3, 0.5, 0"),
        ([0.9, 0.5, -0.1], "0.9, 0.5, -0.1"),
        ([0.5 + step / 100 for step in range(12)], "0.57, 0.58, 0.59, ..."),
    ],
)
def test_sigmas_that_do_not_fall_from_1_to_0_are_refused(run, solver, sigmas, listed):
    with pytest.raises(ValueError, match=f"need sigmas that fall from 1 towards 0; these are .*{listed}. Take"):
        run(solver, sigmas)


@solvers
@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 1.0]])
def test_a_first_sigma_without_a_step_is_refused(run, solver, sigmas):
    with pytest.raises(ValueError, match="These sigmas stay at 1 and make no step"):
        run(solver, sigmas)
