"""What a guided run computes, logged where the branches are computed: for reports and pictures of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import comfy.patcher_extension

BRANCHES = ("positive", "negative", "pose_negative")
LOG = "steadydancer_run_log"
COMPILED = "torch.compile"  # ComfyUI's key of the wrapper that compiles the model


def _steps_by_branch() -> dict[str, set[int]]:
    return {name: set() for name in BRANCHES}


@dataclass
class RunLog:
    """What a run computed; steps count from 0. calls: one entry each, in passes of one condition.

    pose_steps: where the pose term acts; computed, reused: the steps of each branch, or of its last difference.
    """

    calls: list[int] = field(default_factory=list)
    pose_steps: set[int] = field(default_factory=set)
    computed: dict[str, set[int]] = field(default_factory=_steps_by_branch)
    reused: dict[str, set[int]] = field(default_factory=_steps_by_branch)
    levels: tuple[float, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of the run, 0 before it."""
        return max(0, len(self.levels) - 1)

    @property
    def passes(self) -> int:
        """Forward passes so far: one computes one condition for the whole latent, or for one context window."""
        return sum(self.calls)


def counted(options: dict, log: RunLog, step: int, samples: int) -> dict:
    """Return `options` under which each call of the network at `step` is logged; samples: videos in the batch."""

    def count(executor, x, t, context, image, extra, transformer_options, /, **kwargs):
        log.calls.append(x.shape[0] // samples)
        for place in transformer_options.get("cond_or_uncond", ()):
            if place < len(BRANCHES):  # other nodes' hooks may compute more
                log.computed[BRANCHES[place]].add(step)
        return executor(x, t, context, image, extra, transformer_options, **kwargs)

    transformer_options = comfy.patcher_extension.copy_nested_dicts(options.get("transformer_options", {}))
    comfy.patcher_extension.add_wrapper_with_key(_innermost(transformer_options), LOG, count, transformer_options)
    return {**options, "transformer_options": transformer_options}


def _innermost(transformer_options: dict) -> str:
    """Return the kind of wrapper that sees what is computed; both kinds have six positional arguments.

    Caches answer as DIFFUSION_MODEL wrappers. Without any, and under torch.compile, APPLY_MODEL is as good.
    """
    kinds = comfy.patcher_extension.WrappersMP
    wrappers = transformer_options.get("wrappers", {})
    compiled = COMPILED in wrappers.get(kinds.APPLY_MODEL, {})
    return kinds.DIFFUSION_MODEL if wrappers.get(kinds.DIFFUSION_MODEL) and not compiled else kinds.APPLY_MODEL


def name_steps(steps: Iterable[int]) -> str:
    """Return steps, which are counted from 0, as an artist counts them: 'step 2', 'steps 6 to 16', 'steps 4, 6, 8'."""
    numbers = [step + 1 for step in sorted(steps)]
    if len(numbers) == 1:
        return f"step {numbers[0]}"
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"steps {numbers[0]} to {numbers[-1]}"
    return "steps " + ", ".join(map(str, numbers))
