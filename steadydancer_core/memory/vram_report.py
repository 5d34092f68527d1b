"""Does it fit? Judged from plain numbers, so it can be known, and tested, without the device."""

from dataclasses import dataclass

from ...media.byte_size import size_text

MAX_TOGETHER = 2  # prompt and negative prompt; the pose-negative is a call of its own
BATCH_HEADROOM = 1.5  # ComfyUI runs branches together only while this multiple of their memory is free
LOWER = (
    "width and height",
    "the length, or the window of 'Long Video (Windows)'",
    "the bytes on the device, with a higher blocks_to_swap",
    "the precision, with an fp8 or GGUF file",
    "the decoder's need, with 'VAE Decode (Tiled)'",
)


@dataclass(frozen=True)
class Facts:
    """Sizes in bytes that the verdict is made from.

    blocks: weights of the `count` transformer blocks; swap: blocks_to_swap as set; buffer: of the layers that stream;
    branch: activations of one guidance branch; branches: the most in a step; free: for the run, with what ComfyUI can
    move away; reserve: what it leaves free; streams: weights can lie elsewhere; decode: VAE Decode, 0 if unknown; clip:
    a clip sampled in windows as a whole, 0 without windows.
    """

    device: str
    model: int
    blocks: int
    count: int
    swap: int
    buffer: int
    branch: int
    branches: int
    free: int
    total: int
    reserve: int
    streams: bool = True
    decode: int = 0
    clip: int = 0

    @property
    def usable(self) -> int:
        """Memory for weights and activations."""
        return self.free - self.reserve - self.clip

    def weights(self, swap: int) -> int:
        """Return the bytes on the device for weights, streaming buffers included, with `swap` blocks kept off."""
        return max(self.model - self.blocks * swap // self.count, self.buffer) if swap else self.model

    def left(self, swap: int) -> int:
        """Return the bytes for activations with `swap` blocks kept off; below 0 if not even the weights fit."""
        return self.usable - (self.weights(swap) if self.streams else 0)


@dataclass(frozen=True)
class Fit:
    """The verdict; sizes in bytes.

    swap: the smallest blocks_to_swap that fits, None without one; missing: by how much the largest is too small.
    resident, streamed: weights on and off the device; together: branches in one batch.
    """

    swap: int | None
    resident: int
    streamed: int
    together: int
    missing: int


def judge(facts: Facts) -> Fit:
    """Return how `facts` fit the device. One branch at a time has to fit: ComfyUI splits a batch that is too large."""
    choices = range(facts.count + 1) if facts.streams else (0,)
    swap = next((n for n in choices if facts.left(n) >= facts.branch), None)
    resident = facts.model
    if facts.streams:  # ComfyUI streams on its own what does not fit, also with a lower blocks_to_swap
        resident = min(facts.weights(facts.swap), facts.usable - facts.branch)
        resident = max(0, resident - (facts.buffer if resident < facts.model else 0))
    missing = 0 if swap is not None else facts.branch - facts.left(choices[-1])
    left = facts.usable - (resident if facts.streams else 0)
    together = max(1, min(facts.branches, MAX_TOGETHER, int(left / (BATCH_HEADROOM * max(1, facts.branch)))))
    return Fit(swap, resident, facts.model - resident, together, missing)


def describe(facts: Facts) -> str:
    """Return the report: a line for weights, activations, device and decoder each, and the verdict."""
    fit = judge(facts)
    lines = [
        f"Weights: {size_text(facts.model)} in {facts.count} blocks; with blocks_to_swap {facts.swap} "
        f"{size_text(fit.resident)} stay on the device and {size_text(fit.streamed)} are streamed.",
        f"Activations: {size_text(facts.branch)} for each of {facts.branches} guidance branches; "
        f"{fit.together} at a time.",
        f"Device {facts.device}: {size_text(facts.free)} of {size_text(facts.total)} can be had, "
        f"{size_text(facts.reserve)} of it stay reserved.",
    ]
    if facts.clip:
        lines.append(f"Whole clip: {size_text(facts.clip)} beside the window; it grows with the length.")
    if facts.decode:
        tiled = "" if facts.decode <= facts.free - facts.reserve else " That is too much: use 'VAE Decode (Tiled)'."
        lines.append(f"VAE Decode: {size_text(facts.decode)} after sampling.{tiled}")
    return "\n".join([*lines, verdict(facts, fit)])


def verdict(facts: Facts, fit: Fit) -> str:
    """Return what to do, in one sentence or two."""
    if fit.swap is None:
        swapped = f" even with blocks_to_swap {facts.count}" if facts.streams else ""
        return f"Does not fit{swapped}: {size_text(fit.missing)} are missing. {what_to_lower()}"
    if not facts.streams:
        return "Fits. Weights are not streamed on this device, so blocks_to_swap changes nothing."
    if fit.swap == 0:
        return "Fits whole: leave blocks_to_swap at 0."
    if facts.swap >= fit.swap:
        return f"Fits with blocks_to_swap {facts.swap}; {fit.swap} would be enough."
    if facts.swap == 0:
        return f"Does not fit whole: ComfyUI streams weights by itself, or set blocks_to_swap to {fit.swap}."
    return f"Fits with blocks_to_swap {fit.swap}; {facts.swap} is not enough, so ComfyUI streams more by itself."


def what_to_lower() -> str:
    """Return what makes a run smaller, the most effective first."""
    return "Lower, in this order: " + "; ".join(f"{i}. {what}" for i, what in enumerate(LOWER, 1)) + "."
