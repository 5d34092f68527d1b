"""Steps, shift, window and scale of pose guidance on the same pairs and noise: what the shipped settings rest on."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from ...media.log import logger
from ...steadydancer_core.sampling.guidance import PoseGuidance
from .choices import SCALES, SHIFTS, STEPS, WINDOWS
from .kept import Rows
from .metrics import means, metrics
from .pairs import Pair
from .system import SETTINGS, System, aligned

HEAD = ("steps", "shift", "window", "scale", "passes", "first frame, dB", "moving, dB", "PCK@0.1", "hands")


def sweep(
    system: System,
    pairs: list[Pair],
    steps: Sequence[int] = STEPS,
    shifts: Sequence[float] = SHIFTS,
    windows: Sequence[tuple[float, float]] = WINDOWS,
    scales: Sequence[float] = SCALES,
) -> list[list[str]]:
    """Return a line for each combination, in the columns of HEAD; every pair is encoded once."""
    prepared, lines = system.prepare(pairs, [aligned(pair) for pair in pairs]), []
    for window, scale, shift, count in itertools.product(windows, scales, shifts, steps):
        system.settings = replace(SETTINGS, steps=count, shift=shift, pose=PoseGuidance(scale, *window))
        rows: Rows = [metrics(pair, clip) for pair, clip in zip(pairs, system.sample(prepared), strict=True)]
        found = means(rows)
        numbers = [f"{found['first_frame_psnr']:.2f}", f"{found['moving_psnr']:.2f}"]
        numbers += [f"{found[name]:.3f}" for name in ("pck_all", "pck_hands")]
        settings = [f"{count}", f"{shift:g}", f"{window[0]:g}-{window[1]:g}", f"{scale:g}", f"{system.passes}"]
        lines.append([*settings, *numbers])
        logger.info("%s", dict(zip(HEAD, lines[-1], strict=True)))
    return lines
