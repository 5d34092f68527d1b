"""Does the 14B model fit this machine? From the header of its file, by the same sums as the VRAM Check."""

from collections import Counter
from dataclasses import dataclass
from math import prod

from ..media.byte_size import size_text
from ..media.frame_size import latent_frames
from ..steadydancer_core.memory.fit import MAX_BRANCHES
from ..steadydancer_core.memory.vram_report import Facts, judge, what_to_lower
from ..steadydancer_core.memory.vram_report import verdict as fit_verdict
from ..steadydancer_core.model.memory_estimate import activation_bytes
from ..steadydancer_core.model.pose_modulation import LATENT_CHANNELS
from ..steadydancer_core.weights.weight_formats import Contents, block_numbers, size_of
from .findings import NOTE, OK, WARNING, Finding

SIZES = ((1024, 576), (832, 480))  # that of Reconcile Conditions by itself, then the smaller usual one
LENGTH = 81
PIXELS_PER_CELL = 8
IN_BLOCKS, PARAMETERS = "blocks.", ("weight", "bias")


@dataclass(frozen=True)
class Machine:
    """Memory in bytes. free: what a run can have on the device; reserve: what ComfyUI leaves alone of it.

    itemsize: bytes of the compute dtype; ahead: layers that stream while one computes; streams: weights can lie
    elsewhere than on the device.
    """

    device: str
    total: int
    free: int
    reserve: int
    ram: int
    itemsize: int = 2
    ahead: int = 2
    streams: bool = True


def check_memory(contents: Contents, machine: Machine) -> Finding:
    """Return whether 81 frames by the model in a file fit, with which blocks_to_swap, and at which size."""
    runs = [(size, facts_of(contents, machine, *size)) for size in SIZES]
    size, facts = next(((size, facts) for size, facts in runs if judge(facts).swap is not None), runs[-1])
    fit = judge(facts)
    sentence = fit_verdict(facts, fit).split(". ")[0].rstrip(".")
    what = f"{contents.title}, {LENGTH} frames of {size[0]}x{size[1]}: {sentence}."
    if fit.swap is None:
        return Finding(WARNING, what, what_to_lower())
    if facts.streams and fit.streamed > machine.ram:
        what += f" {size_text(fit.streamed)} would be streamed, and the machine has {size_text(machine.ram)} of RAM."
        return Finding(WARNING, what, "Use an fp8 or GGUF file, or a smaller one of those.")
    fixes = []
    if fit.swap:
        fixes.append(f"if memory runs out, set blocks_to_swap of Load SteadyDancer Model to {fit.swap}")
    if size != SIZES[0]:
        fixes.append(f"set width and height of Reconcile Conditions to {size[0]} and {size[1]}")
    if not fixes:
        return Finding(OK, what)
    fix = "; ".join(fixes)
    return Finding(NOTE, what, f"{fix[0].upper()}{fix[1:]}.")


def check_device(machine: Machine, gpu: str | None) -> Finding:
    """Return what ComfyUI computes on. gpu: the card's name, None for the CPU."""
    ram = f"{size_text(machine.ram)} of RAM"
    if gpu is None:
        what = f"ComfyUI computes on the CPU ({ram}); the 14B model is made for a graphics card."
        fix = "With a card: start ComfyUI without --cpu, with a build of PyTorch for that card."
        return Finding(NOTE, what, fix)
    return Finding(OK, f"{gpu}: {size_text(machine.free)} of {size_text(machine.total)} can be had; {ram}.")


def facts_of(contents: Contents, machine: Machine, width: int, height: int) -> Facts:
    """Return what the VRAM Check would know of a run at this size in pixels, were the model loaded."""
    official = {ours: contents.tensors[name] for name, ours in contents.official.items()}
    blocks = sum(tensor.nbytes for name, tensor in official.items() if name.startswith(IN_BLOCKS))
    dim, ffn_dim = official["head.modulation"].shape[-1], official["blocks.0.ffn.0.weight"].shape[0]
    cells = height // PIXELS_PER_CELL, width // PIXELS_PER_CELL
    latent = (1, LATENT_CHANNELS, latent_frames(LENGTH), *cells)
    return Facts(
        device=machine.device,
        model=size_of(contents),
        blocks=blocks,
        count=len(block_numbers(official)),
        swap=0,
        buffer=_buffer(official, machine),
        branch=activation_bytes(latent, dim, ffn_dim, machine.itemsize),
        branches=MAX_BRANCHES,
        free=machine.free,
        total=machine.total,
        reserve=machine.reserve,
        streams=machine.streams,
    )


def _buffer(official: dict, machine: Machine) -> int:
    """Return the bytes that a block's largest layer takes while it streams: in use, on its way, and cast if packed."""
    stored, numbers = Counter(), Counter()
    for name, tensor in official.items():
        if name.startswith(IN_BLOCKS):
            layer, _, kind = name.rpartition(".")
            stored[layer] += tensor.nbytes
            if kind in PARAMETERS:
                numbers[layer] += prod(tensor.shape)
    [(layer, size)] = stored.most_common(1)
    cast = numbers[layer] * machine.itemsize
    return size * (1 + machine.ahead) + (cast if cast > size else 0)
