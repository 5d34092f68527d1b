"""The official noise schedules and solvers: UniPC and DPM++ of order 2, and plain Euler, for flow prediction.

Source: SteadyDancer wan/utils/fm_solvers{,_unipc}.py; UniPC arXiv:2302.04867 (B(h) = expm1, "bh2"), DPM-Solver++ 2M
arXiv:2211.01095. A flow latent is x = (1 - sigma) x0 + sigma noise, so alpha = 1 - sigma, lambda = log(alpha / sigma).

Differences from upstream: the model hands over its denoised latent x0, as ComfyUI's models do; a schedule may stop
before sigma 0 (split sampling), and only a step that ends at 0 falls back to order 1. Like upstream, and unlike
ComfyUI's samplers, these solvers start from unscaled noise and show the model whole timesteps.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import comfy.samplers
import torch
from comfy.samplers import KSAMPLER
from torch import Tensor
from tqdm.auto import trange

from ..model.transformer import WHOLE_TIMESTEPS

TRAIN_TIMESTEPS = 1000
# Noise before the shift at the first step: UniPC starts one training timestep below pure noise.
FIRST_NOISE = {"unipc": 1 - 1 / TRAIN_TIMESTEPS, "dpm++": 1.0, "euler": 1 - 1 / TRAIN_TIMESTEPS}
OFFICIAL_SOLVERS = tuple(f"official {name}" for name in FIRST_NOISE)
OFFICIAL_SCHEDULE = "official"
MOST_LISTED = 10  # sigmas in an error
SAME_SIGMA = 1e-6  # relative: nearer neighbors are the same level, rounded; stock schedules keep 4e-6 with 2,500 steps


def official_sigmas(solver: str, steps: int, shift: float) -> Tensor:
    """Return the sigmas [steps + 1] of `solver` ("unipc", "dpm++" or "euler"), falling from about 1 to 0."""
    noise = torch.linspace(FIRST_NOISE[solver], 0, steps + 1, dtype=torch.float64, device="cpu")
    return (shift * noise / (1 + (shift - 1) * noise)).float()


def make_sigmas(model_sampling, solver: str, scheduler: str, steps: int) -> Tensor:
    """Return sigmas [steps + 1] of a ComfyUI scheduler or the official one; ValueError for that without a shift."""
    if scheduler != OFFICIAL_SCHEDULE:
        return comfy.samplers.calculate_sigmas(model_sampling, scheduler, steps)
    if not hasattr(model_sampling, "shift"):
        raise ValueError(
            "The connected model has no shift, which the official schedule needs. Connect the SteadyDancer model; "
            "the node to change its shift is 'ModelSamplingSD3'."
        )
    name = solver.removeprefix("official ")
    return official_sigmas(name if name in FIRST_NOISE else "unipc", steps, model_sampling.shift)


def make_solver(name: str) -> KSAMPLER:
    """Return the SAMPLER called `name`: one of OFFICIAL_SOLVERS or any ComfyUI sampler."""
    if name in OFFICIAL_SOLVERS:
        return OfficialSolver(SOLVERS[name.removeprefix("official ")])
    return comfy.samplers.sampler_object(name)


class OfficialSolver(KSAMPLER):
    """A SAMPLER that starts and speaks to the model as the official loop does."""

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, *args, **kwargs):
        options = extra_args["model_options"].setdefault("transformer_options", {})
        options[WHOLE_TIMESTEPS] = True
        options["sample_sigmas"] = sigmas = distinct_sigmas(sigmas)
        if sigmas[0] > 0 and (latent_image is None or torch.count_nonzero(latent_image) == 0):
            noise = noise / sigmas[0]  # ComfyUI scales it by the first sigma, upstream does not
        return super().sample(model_wrap, sigmas, extra_args, callback, noise, latent_image, *args, **kwargs)


def distinct_sigmas(sigmas: Tensor) -> Tensor:
    """Return `sigmas` [steps + 1] without repeats; ValueError unless they fall, from at most 1 to 0 or above."""
    levels: list[float] = []
    for level in sigmas.tolist():
        if not levels or not math.isclose(level, levels[-1], rel_tol=SAME_SIGMA):
            levels.append(level)
    if levels == [1.0]:
        raise ValueError("These sigmas stay at 1 and make no step. Split them later, or take more steps.")
    falling = math.isfinite(levels[0]) and all(before > after for before, after in pairwise(levels))
    if not falling or levels[-1] < 0 or max(levels[1:] or levels) >= 1:
        listed = ", ".join(f"{level:.4g}" for level in levels[:MOST_LISTED])
        if len(levels) > MOST_LISTED:
            listed += ", ..."
        raise ValueError(
            f"The official solvers need sigmas that fall from 1 towards 0; these are {listed}. Take them from "
            "'SteadyDancer Solver and Schedule', or choose a sampler of ComfyUI's, such as euler."
        )
    return sigmas.new_tensor(levels)


def sample_euler(model, x, sigmas, extra_args=None, callback=None, disable=None) -> Tensor:
    """Order 1 in sigma: x moves along the velocity of each step's start."""
    evaluate = _evaluator(model, sigmas, extra_args, callback)
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = evaluate(x, i)
        x = denoised + sigmas[i + 1] / sigmas[i] * (x - denoised)
    return x


def sample_dpmpp(model, x, sigmas, extra_args=None, callback=None, disable=None) -> Tensor:
    """DPM-Solver++ 2M, midpoint."""
    evaluate, levels, history = _evaluator(model, sigmas, extra_args, callback), sigmas.tolist(), []
    for i in trange(len(sigmas) - 1, disable=disable):
        history = [*history[-1:], evaluate(x, i)]
        x = _predict(x, levels, i, history)
    return x


def sample_unipc(model, x, sigmas, extra_args=None, callback=None, disable=None) -> Tensor:
    """UniPC of order 2: each step's model output first corrects the step before, then predicts the next."""
    evaluate, levels, history, start = _evaluator(model, sigmas, extra_args, callback), sigmas.tolist(), [], x
    for i in trange(len(sigmas) - 1, disable=disable):
        denoised = evaluate(x, i)
        if i > 0:
            x = _correct(start, levels, i - 1, history, denoised)
        history, start = [*history[-1:], denoised], x
        x = _predict(x, levels, i, history)
    return x


SOLVERS: dict[str, Callable] = {"unipc": sample_unipc, "dpm++": sample_dpmpp, "euler": sample_euler}


def _evaluator(model, sigmas: Tensor, extra_args: dict | None, callback) -> Callable[[Tensor, int], Tensor]:
    """Return a function (x, i) -> denoised that reports each evaluation to ComfyUI's progress and preview."""

    def evaluate(x: Tensor, i: int) -> Tensor:
        denoised = model(x, sigmas[i] * x.new_ones(x.shape[0]), **(extra_args or {}))
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        return denoised

    return evaluate


def _log_snr(sigma: float) -> float:
    if sigma <= 0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1 else -math.inf


def _is_second_order(levels: list[float], i: int, history: list[Tensor]) -> bool:
    return len(history) == 2 and levels[i + 1] > 0


def _exponential_step(x: Tensor, levels: list[float], i: int, denoised: Tensor) -> tuple[Tensor, float, float]:
    """Return the order 1 result of step i, its length h in log-SNR, and the factor alpha * expm1(-h)."""
    h = _log_snr(levels[i + 1]) - _log_snr(levels[i])
    gain = (1 - levels[i + 1]) * math.expm1(-h)
    return levels[i + 1] / levels[i] * x - gain * denoised, h, gain


def _slope(levels: list[float], i: int, h: float, history: list[Tensor]) -> tuple[Tensor, float]:
    """Return the last two outputs' backward difference per h, and the place of the earlier one in units of h."""
    place = (_log_snr(levels[i - 1]) - _log_snr(levels[i])) / h
    return (history[0] - history[1]) / place, place


def _predict(x: Tensor, levels: list[float], i: int, history: list[Tensor]) -> Tensor:
    """Return x at level i + 1; `history` ends with the output at level i."""
    first, h, gain = _exponential_step(x, levels, i, history[-1])
    if not _is_second_order(levels, i, history):
        return first
    return first - 0.5 * gain * _slope(levels, i, h, history)[0]


def _correct(start: Tensor, levels: list[float], i: int, history: list[Tensor], denoised: Tensor) -> Tensor:
    """Return x at level i + 1 again, now that its model output `denoised` is known (UniC); `start` is x at level i."""
    first, h, gain = _exponential_step(start, levels, i, history[-1])
    change = denoised - history[-1]
    if not _is_second_order(levels, i, history):
        return first - 0.5 * gain * change
    slope, place = _slope(levels, i, h, history)
    back, forward = _corrector_weights(h, place)
    return first - gain * (back * slope + forward * change)


def _corrector_weights(h: float, place: float) -> tuple[float, float]:
    """Solve [[1, 1], [place, 1]] w = b of UniPC's order conditions, b from the phi functions of -h over expm1(-h)."""
    step = math.expm1(-h)
    phi_2 = step / -h - 1
    phi_3 = phi_2 / -h - 0.5
    b1, b2 = phi_2 / step, 2 * phi_3 / step
    back = (b1 - b2) / (1 - place)
    return back, b1 - back
