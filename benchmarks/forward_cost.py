"""What a SteadyDancer pass costs against a plain Wan 2.1 I2V pass in the same ComfyUI; the pose stage's share of it.

Two ways. Operations: every matrix product and convolution of the 14B model, counted on tensors without data: exact, and
the same on every machine. Two of 23 latent frames are extra tokens: layers cost 23/21 = 1.095 of the plain pass, while
attention grows with the square, 1.200, so the ratio rises with the size of the frame. Time: a smaller model of the same
proportions on this processor, 21 latent frames, the same weights in the blocks, both kinds of pass in turn; one row of
medians and their ratio, one of minima, which a busy machine disturbs least. The pose stage is equally large in every
model, so its share of the smaller model's time is far above that of the 14B model's.
"""

import statistics
import sys
from collections.abc import Callable

from comfy_client.in_process import use_comfyui

use_comfyui()

# isort: split
import comfy.ops
import torch
from comfy.ldm.modules.attention import attention_pytorch
from comfy.ldm.wan.model import WanModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import timed
from steadydancer_pack.steadydancer_core.model.transformer import SteadyDancerWanModel

FRAMES, TEXT_DIM, ROUNDS = 21, 4096, 15
WHOLE = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}
SMALL = {"dim": 1280, "ffn_dim": 3456, "num_heads": 10, "num_layers": 10}
SMALL_SIZE = 96, 64
SIZES = ((480, 832), (576, 1024), (720, 1280), (256, 448), SMALL_SIZE)
# The attention that a GPU would use; ComfyUI has another default on a processor.
OPTIONS = {"optimized_attention_override": lambda _func, *args, **kwargs: attention_pytorch(*args, **kwargs)}


def make_pair(sizes: dict[str, int], device: str) -> tuple[WanModel, SteadyDancerWanModel]:
    """Return a plain Wan I2V and a SteadyDancer network; on the CPU with random weights that keep the variance."""
    shared = {"text_dim": TEXT_DIM, "operations": comfy.ops.disable_weight_init, "device": device, **sizes}
    shared["dtype"] = torch.float32
    plain = WanModel(model_type="i2v", in_dim=36, **shared)
    ours = SteadyDancerWanModel(**shared)
    ours.blocks = plain.blocks
    for network in (plain, ours) if device != "meta" else ():
        generator = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            torch.nn.init.normal_(parameter, std=fan_in**-0.5, generator=generator)
    return plain.eval(), ours.eval()


def make_inputs(height: int, width: int, device: str) -> tuple[tuple, dict]:
    """Return a pass's inputs for a clip of `height` x `width` pixels: those of both kinds, and the pose's."""
    size = FRAMES, height // 8, width // 8

    def latent(channels: int, frames: int = FRAMES) -> torch.Tensor:
        return torch.randn(1, channels, frames, *size[1:], device=device)

    text, clip = torch.randn(1, 512, TEXT_DIM, device=device), torch.randn(1, 257, 1280, device=device)
    both = latent(36), torch.full((1,), 500.0, device=device), text, clip
    return both, {"pose_latents": latent(16), "ref_x": latent(36, 1), "ref_c": latent(16, 1), "clip_fea_c": clip}


def passes(sizes: dict[str, int], height: int, width: int, device: str) -> tuple[Callable, Callable, Callable]:
    """Return calls of a plain pass, of one of ours, and of our pose stage, at the model's `sizes`."""
    plain, ours = make_pair(sizes, device)
    both, pose = make_inputs(height, width, device)
    return (
        lambda: plain(*both, transformer_options=dict(OPTIONS)),
        lambda: ours(*both, transformer_options=dict(OPTIONS), **pose),
        lambda: ours.modulate(both[0], pose["pose_latents"]),
    )


@torch.no_grad()
def flops(run: Callable) -> int:
    """Return the floating point operations of the matrix products and convolutions of `run`."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def line(name: str, plain: float, ours: float, pose: float, scale: float, unit: str) -> str:
    return (
        f"| {name} | {plain / scale:.2f} {unit} | {ours / scale:.2f} {unit} | {ours / plain:.3f} | "
        f"{100 * pose / ours:.2g} % |\n"
    )


def main() -> None:
    sys.stdout.write("| Pass | Wan 2.1 I2V | SteadyDancer | Ratio | Pose stage |\n|---|---|---|---|---|\n")
    for height, width in SIZES:
        name = f"14B, {width}x{height}, 81 frames, operations"
        sys.stdout.write(line(name, *map(flops, passes(WHOLE, height, width, "meta")), 1e12, "TFLOP"))
    height, width = SMALL_SIZE
    name = f"dim {SMALL['dim']}, {SMALL['num_layers']} blocks, {width}x{height}, 81 frames"
    counts = map(flops, passes(SMALL, height, width, "meta"))
    sys.stdout.write(line(f"{name}, operations", *counts, 1e12, "TFLOP"))
    runs = passes(SMALL, height, width, "cpu")
    with torch.no_grad():
        rounds = [[timed(run)[0] for run in runs] for _ in range(ROUNDS + 1)][1:]
    times = list(zip(*rounds, strict=True))
    sys.stdout.write(line(f"{name}, median time", *map(statistics.median, times), 1, "s"))
    sys.stdout.write(line(f"{name}, least time", *map(min, times), 1, "s"))


if __name__ == "__main__":
    main()
