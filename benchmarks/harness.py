"""What the measurements share: a clock, a fresh process, a made-up model and its conditions."""

import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.miniature.weights import Shape, steadydancer_shapes

CONFIG_14B = {"dim": 5120, "ffn_dim": 13824, "layers": 40, "text_dim": 4096}
Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def in_fresh_process(benchmark: str, *arguments: str) -> dict:
    """Return the JSON in the last line that `python -m benchmarks.BENCHMARK` prints, run as a process of its own."""
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments]
    lines = subprocess.run(command, cwd=PACK, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return json.loads(lines[-1])


def noise() -> torch.Tensor:
    """Return 16 million numbers of made-up weights, repeated as often as a tensor needs."""
    return torch.randn(1 << 24, generator=torch.Generator().manual_seed(0))


def fill(values: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Return a tensor of `shape` with these values, repeated as often as it needs; a view where once is enough."""
    count = math.prod(shape)
    if count > len(values):
        values = values.repeat(-(-count // len(values)))
    return values[:count].reshape(shape)


def scaled(values: torch.Tensor, name: str, shape: Shape) -> torch.Tensor:
    """Return noise as values of the weight `name`: matrices keep the variance, norms stay near 1, the rest near 0."""
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.01 * values
    return values * (math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.01)


def made_up_model(config: dict[str, int], **options):
    """Return a MODEL of made-up weights in float16. options: model_options of ComfyUI's loader."""
    import comfy.sd

    from steadydancer_pack.steadydancer_core.weights import detection

    detection.register()
    values, weights = noise().half(), {}
    for name, shape in steadydancer_shapes(**config).items():
        weights[name] = scaled(fill(values, shape), name, shape)
    return comfy.sd.load_diffusion_model_state_dict(weights, model_options=options)


def timed_steps(guider, latent: torch.Tensor, steps: int) -> tuple[list[float], torch.Tensor]:
    """Return the seconds of each euler step but the first, which loads the model, and the latent at the end."""
    from steadydancer_pack.steadydancer_core.sampling.schedule import make_sigmas, make_solver

    times: list[float] = []

    def stepped(*_) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    sigmas = make_sigmas(guider.model_patcher.get_model_object("model_sampling"), "euler", "simple", steps)
    found = guider.sample(noise, latent, make_solver("euler"), sigmas, callback=stepped, disable_pbar=True, seed=0)
    return [after - before for before, after in itertools.pairwise(times)], found


def conditions(size: tuple[int, int, int], text_dim: int) -> list:
    """Return one made-up conditioning for a clip of `size`: latent frames, rows, columns."""
    import comfy.clip_vision

    torch.manual_seed(0)
    features = comfy.clip_vision.Output()
    features["penultimate_hidden_states"] = torch.randn(1, 257, 1280)
    latent = torch.randn(1, 16, *size)
    mask = torch.ones(1, 1, *size)
    mask[:, :, 0] = 0
    values = {
        "concat_latent_image": latent,
        "concat_mask": mask,
        "pose_video_latent": latent,
        "reference_pose_latent": latent[:, :, :1],
        "clip_vision_output": features,
        "pose_clip_vision_output": features,
    }
    return [[torch.randn(1, 512, text_dim), values]]
