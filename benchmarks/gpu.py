"""SteadyDancer-14B on a graphics card with made-up weights: the questions in order of value, until the clock runs out.

    python -m benchmarks.gpu                      # rows that would begin after 8 minutes are skipped
    python -m benchmarks.gpu --small              # little models on whatever is there: proves that the program works
    python -m benchmarks.gpu --pack [--training] [--have PIP_LIST] [--archive FILE.tar.xz]    # what must travel

The packages that rows (6), (9) and (10) need besides are not packed: without them these rows fail, the others run.
Seconds of a step are medians over the steps of a run behind its first, which loads the model; a step is one pass, at
text guidance 1 and without pose guidance. Peaks are those of PyTorch's allocator. EasyCache reuses what changes little:
with made-up weights the number of passes it saves says nothing of real ones. ComfyUI's older way of streaming weights
is measured, because its dynamic VRAM is set up by its server only. It has not run on a graphics card yet.
"""

import argparse
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import blocks_to_swap, gpu_pack
from benchmarks.harness import CONFIG_14B, conditions, fill, made_up_model, noise, scaled, timed, timed_steps
from comfy_client.in_process import use_comfyui

COMFYUI = use_comfyui(cpu=not torch.cuda.is_available())

# isort: split
import comfy.model_management
import comfy.sd
import comfy.utils
from comfy.samplers import CFGGuider

from steadydancer_pack.media.byte_size import GB
from steadydancer_pack.miniature.weights import steadydancer_shapes
from steadydancer_pack.steadydancer_core.memory.fit import gather
from steadydancer_pack.steadydancer_core.memory.residency import swap_blocks
from steadydancer_pack.steadydancer_core.model.model_base import SteadyDancer
from steadydancer_pack.steadydancer_core.sampling import run as sampling
from steadydancer_pack.steadydancer_core.sampling.conditions import reconcile
from steadydancer_pack.steadydancer_core.sampling.guidance import PoseGuidance
from steadydancer_pack.steadydancer_core.sampling.presets import PRESETS
from steadydancer_pack.steadydancer_core.weights import convrot, detection
from steadydancer_pack.steadydancer_core.weights.convert_plan import WEIGHT_ONLY, target_dtype
from steadydancer_pack.training.vae_file import stock_vae

SECONDS, STEPS, CACHED_STEPS = 480, 4, 12
NAMES = "Wan 2.1 I2V", "SteadyDancer"  # of the two models in Bench.fp8
FP8 = torch.float8_e4m3fn
TRAINING = "steadydancer_pack.training.gpu_run", "torch.utils.tensorboard"
Size = tuple[int, int, int]  # latent frames, rows, columns


def as_note(entry: dict) -> torch.Tensor:
    return torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)


def quantized_state(config: dict[str, int], kind: str) -> dict[str, torch.Tensor]:
    """Return made-up weights, the matrices of the blocks in `kind`: "fp8" or "int8", as the converter stores them."""
    values = noise().clamp(-4, 4)
    half, stored = values.half(), (values.to(FP8) if kind == "fp8" else (values * 31).to(torch.int8))
    weights = {}
    for name, shape in steadydancer_shapes(**config).items():
        if target_dtype(name, shape, (FP8, torch.float16)) != FP8:
            weights[name] = scaled(fill(half, shape), name, shape)
            continue
        layer, rows, columns = name.removesuffix(".weight"), *shape
        weights[name] = fill(stored, shape).clone()
        if kind == "fp8":
            weights[f"{layer}.weight_scale"] = torch.tensor(columns**-0.5)
            weights[f"{layer}.comfy_quant"] = as_note(WEIGHT_ONLY[FP8])
        else:
            weights[f"{layer}.weight_scale"] = torch.full((rows, 1), columns**-0.5 / 31)
            weights[f"{layer}.comfy_quant"] = as_note(convrot.note(columns))
    return weights


def plain_wan(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights without SteadyDancer's own: Wan 2.1 image-to-video."""
    own = ("condition_embedding_", "patch_embedding_fuse", "patch_embedding_ref_c")
    return {name: weight for name, weight in weights.items() if not name.startswith(own)}


@dataclass
class Bench:
    """What the rows share: sizes, and models that several of them use."""

    small: bool
    sizes: dict[str, Size] = field(init=False)
    config: dict[str, int] = field(init=False)

    def __post_init__(self):
        whole = {"480x832x81": (21, 60, 104), "576x1024x81": (21, 72, 128)}
        self.sizes = {"480x832x81": (3, 8, 6), "576x1024x81": (3, 8, 12)} if self.small else whole
        self.config = blocks_to_swap.SMALL if self.small else CONFIG_14B

    @cached_property
    def fp8(self):
        """Plain Wan and SteadyDancer in scaled fp8, on the same weights."""
        weights = quantized_state(self.config, "fp8")
        states = plain_wan(weights), weights
        return [comfy.sd.load_diffusion_model_state_dict(dict(state)) for state in states]

    @cached_property
    def vae(self):
        """A Wan 2.1 VAE with made-up weights."""
        network = stock_vae(8 if self.small else 96)
        values = noise()
        weights = {}
        for name, tensor in network.state_dict().items():
            flat = fill(values, tensor.shape)
            weights[name] = torch.ones_like(tensor) if name.endswith("gamma") else scaled(flat, name, tensor.shape)
        return comfy.sd.VAE(sd=weights)

    def conds(self, size: Size) -> list:
        return conditions(size, self.config["text_dim"])

    def step(self, model, size: Size, steps: int = STEPS) -> float:
        """Return the median seconds of a step."""
        return statistics.median(self.steps(model, size, steps))

    def steps(self, model, size: Size, steps: int) -> list[float]:
        conds = self.conds(size)
        if isinstance(model.model, SteadyDancer):
            guider = sampling.make_guider(model, conds, conds, None, 1.0, PoseGuidance(0.0))
        else:
            guider = CFGGuider(model)
            guider.set_conds(conds, conds)
            guider.set_cfg(1.0)
        return timed_steps(guider, torch.zeros(1, 16, *size), steps)[0]


def fp8_pass(bench: Bench) -> Iterator[str]:
    plain, ours = (bench.step(model, bench.sizes["480x832x81"]) for model in bench.fp8)
    yield f"Wan 2.1 I2V {plain:.3f} s, SteadyDancer {ours:.3f} s, ratio {ours / plain:.3f}"


def peaks(bench: Bench) -> Iterator[str]:
    model, size = bench.fp8[1], bench.sizes["480x832x81"]
    layers = bench.config["layers"]
    for blocks in (0, layers // 2, layers):
        resident, peak, step, _ = blocks_to_swap.measure(model, bench.conds(size), blocks)
        facts = gather(swap_blocks(model, blocks), (1, 16, *size), branches=1)
        estimate = facts.weights(blocks) + facts.branch
        yield (
            f"blocks_to_swap {blocks}: resident {resident / GB:.2f} GB, peak {peak / GB:.2f} GB, estimate "
            f"{estimate / GB:.2f} GB, step {step:.3f} s"
        )


def pixels(size: Size, seed: int) -> torch.Tensor:
    """Return the frames [F, H, W, 3] of a clip of noise."""
    frames, rows, columns = size
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(frames * 4 - 3, rows * 8, columns * 8, 3, generator=generator)


def fast_4(bench: Bench) -> Iterator[str]:
    size, vae, model = bench.sizes["480x832x81"], bench.vae, bench.fp8[1]
    photo, pose, negative = pixels((1, *size[1:]), 0), pixels(size, 1), pixels(size, 2)
    text = [[torch.randn(1, 512, bench.config["text_dim"]), {}]]
    before, found = timed(lambda: reconcile(text, text, vae, photo, pose, negative))
    during, (latent, _) = timed(lambda: sampling.run(model, *found[:4], 0, PRESETS["Fast 4"]))
    after, _ = timed(lambda: vae.decode(latent["samples"]))
    total = before + during + after
    yield f"{total:.1f} s: conditions {before:.1f}, loading and four steps {during:.1f}, decoding {after:.1f}"


def vae_times(bench: Bench) -> Iterator[str]:
    values = pixels(bench.sizes["480x832x81"], 0)
    for name, work in (("encode", bench.vae.encode), ("decode", bench.vae.decode)):
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        seconds, values = timed(partial(work, values))
        peak = torch.cuda.max_memory_allocated() / GB if torch.cuda.is_available() else 0.0
        yield f"{name}: {seconds:.2f} s, peak {peak:.2f} GB, in {bench.vae.vae_dtype}"


def fp16_pass(bench: Bench) -> Iterator[str]:
    yield f"{bench.step(made_up_model(bench.config, dtype=torch.float16), bench.sizes['480x832x81']):.3f} s"


def easycache(bench: Bench) -> Iterator[str]:
    from comfy_extras.nodes_easycache import EasyCacheNode

    for name, model in zip(NAMES, bench.fp8, strict=True):
        cached = EasyCacheNode.execute(model, 0.2, 0.15, 0.95, False).args[0]
        size = bench.sizes["480x832x81"]
        plain, fast = (sum(bench.steps(one, size, CACHED_STEPS)) for one in (model, cached))
        yield f"{name}, {CACHED_STEPS - 1} steps: plain {plain:.2f} s, EasyCache {fast:.2f} s"


def compiled(bench: Bench) -> Iterator[str]:
    from comfy_extras.nodes_torch_compile import TorchCompileModel

    backend = "inductor" if torch.cuda.is_available() else "eager"
    for name, model in zip(NAMES, bench.fp8, strict=True):
        model = TorchCompileModel.execute(model, backend).args[0]
        yield f"{name}, {backend}: {bench.step(model, bench.sizes['480x832x81']):.3f} s a step"


def large_pass(bench: Bench) -> Iterator[str]:
    yield f"{bench.step(bench.fp8[1], bench.sizes['576x1024x81']):.3f} s"


def int8_pass(bench: Bench) -> Iterator[str]:
    model = comfy.sd.load_diffusion_model_state_dict(quantized_state(bench.config, "int8"))
    yield f"{bench.step(model, bench.sizes['480x832x81']):.3f} s"


def pose_stage(_: Bench) -> Iterator[str]:
    from comfy_api.latest import InputImpl

    from steadydancer_pack.dwpose.detect.blazepose import BlazePose
    from steadydancer_pack.dwpose.track.extract import extract
    from steadydancer_pack.media.video_stream import open_video
    from steadydancer_pack.miniature import shipped

    for provider in ("CPU", "CUDA") if torch.cuda.is_available() else ("CPU",):
        stream = open_video(InputImpl.VideoFromFile(str(shipped("steadydancer_sample_dance.mp4"))))
        detector = BlazePose(provider)
        seconds, clip = timed(partial(extract, iter(stream), detector))
        yield f"{detector.name}: {1000 * seconds / clip.frames:.1f} ms a frame, {clip.frames} frames"


ROWS: dict[str, Callable[[Bench], Iterator[str]]] = {
    "An fp8 pass, 480x832x81": fp8_pass,
    "Peak memory and estimate, fp8, 480x832x81": peaks,
    "Fast 4 from photo to frames, fp8, 480x832x81": fast_4,
    "VAE, 480x832x81": vae_times,
    "An fp16 pass, 480x832x81": fp16_pass,
    "EasyCache, fp8, 480x832x81": easycache,
    "An fp8 pass, 576x1024x81": large_pass,
    "A pass in INT8 ConvRot, 480x832x81": int8_pass,
    "Pose stage, bundled detector": pose_stage,
    "torch.compile, fp8, 480x832x81": compiled,  # last: compiling takes minutes
}
# They import packages for video, pictures and ONNX Runtime that the others do without.
MORE_PACKAGES = easycache, pose_stage, compiled


@torch.inference_mode()
def measure(bench: Bench, rows: Collection[Callable] = tuple(ROWS.values())) -> int:
    """Print what each of these rows finds as soon as it is known; 1 if one failed."""
    started, failed = time.perf_counter(), 0
    detection.register()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    sys.stdout.write(f"{device}, PyTorch {torch.__version__}{', little models' if bench.small else ''}\n")
    for number, (title, row) in enumerate(ROWS.items(), 1):
        if row not in rows:
            continue
        elapsed = time.perf_counter() - started
        if elapsed > SECONDS:
            sys.stdout.write(f"({number}) {title}: skipped after {elapsed:.0f} s\n")
            continue
        sys.stdout.write(f"({number}) {title}, after {elapsed:.0f} s\n")
        try:
            for line in row(bench):
                sys.stdout.write(f"    {line}\n")
                sys.stdout.flush()
        except (RuntimeError, ValueError, ImportError, MemoryError) as error:  # the next row may still work
            failed = 1
            sys.stdout.write(f"    failed: {type(error).__name__}: {str(error)[:300]}\n")
        comfy.model_management.unload_all_models()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--small", action="store_true", help="little models on any device")
    parser.add_argument("--pack", action="store_true", help="list what must travel to another machine, with sizes")
    parser.add_argument("--have", type=Path, help="with --pack: what `pip list` prints there")
    parser.add_argument("--training", action="store_true", help="with --pack: also for `python -m training gpu`")
    parser.add_argument("--archive", type=Path, help="with --pack: write it to this .tar.xz")
    options = parser.parse_args()
    comfy.utils.PROGRESS_BAR_ENABLED = False
    logging.disable(logging.WARNING)
    if options.pack:  # what a rehearsal imports is what must travel
        if options.training:
            for module in TRAINING:
                import_module(module)
        failed = measure(Bench(small=True), [row for row in ROWS.values() if row not in MORE_PACKAGES])
        return gpu_pack.report(COMFYUI, options.have, options.archive) or failed
    if not options.small and not torch.cuda.is_available():
        sys.stderr.write("No graphics card was found; --small runs without one.\n")
        return 1
    return measure(Bench(options.small))


if __name__ == "__main__":
    sys.exit(main())
