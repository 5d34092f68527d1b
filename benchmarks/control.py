"""What Pose Strength and NAG do on the shipped miniature: distance to the pose by strength, and the direction of NAG.

    python -m benchmarks.control [--pairs 16]

Distance: of head, hands and feet to where the ground truth has them from its second frame on, mean in percent of the
person's height, where one that is not found or farther counts as 20; PCK: share found within 10. NAG:
cosine between what it changes of the velocity at text guidance 1 and what the negative prompt changes of it under text
guidance, v_pos - v_neg, at every step of a run.
"""

import argparse
import logging
import statistics
import sys
from dataclasses import replace

from comfy_client.in_process import use_comfyui

use_comfyui()

# isort: split
import comfy.utils
import numpy as np
import torch
from comfy.patcher_extension import WrappersMP

from steadydancer_pack.miniature import shipped
from steadydancer_pack.steadydancer_core.model.block_attention import Nag
from steadydancer_pack.steadydancer_core.sampling.nag import NagSettings
from steadydancer_pack.steadydancer_core.sampling.pose_strength import PoseStrength, Strength, patch_strength
from steadydancer_pack.training.evaluation.metrics import find_parts, metrics
from steadydancer_pack.training.evaluation.pairs import FRAMES, Pair, make_pairs
from steadydancer_pack.training.evaluation.system import Conditions, System, aligned
from steadydancer_pack.training.evaluation.worlds import OLD

FARTHEST = 20.0  # percent of the person's height
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
KINDS = ("build", "place", "start")
ROWS = {f"pose {scale:g}": PoseStrength(pose=Strength(scale)) for scale in SCALES} | {
    f"{part} {scale:g}": PoseStrength(**{part: Strength(scale)})
    for part in ("spatial", "temporal", "alignment", "reference_image")
    for scale in (0.5, 1.5)
}
ROWS["pose 1 until 0.7"] = PoseStrength(pose=Strength(1.0, 0.0, 0.7))


def distance(pair: Pair, frames: np.ndarray) -> float:
    """Return the mean distance of the parts that the ground truth shows, in percent of the person's height."""
    found, shown = find_parts(frames), find_parts(pair.truth.frames)
    apart = np.concatenate([np.linalg.norm(found[part] - shown[part], axis=1)[1:] for part in shown])
    is_shown = np.concatenate([np.asarray(np.isfinite(places).all(axis=1))[1:] for places in shown.values()])
    return float(np.nan_to_num(100 * apart / pair.height, nan=FARTHEST).clip(max=FARTHEST)[is_shown].mean())


def strengths(system: System, pairs: list[Pair], prepared: list[Conditions]) -> None:
    plain = system.model
    sys.stdout.write("| strength | distance, % | PCK | passes |\n|---|---|---|---|\n")
    for name, strength in ROWS.items():
        system.model = patch_strength(plain, strength)
        clips = list(zip(pairs, system.sample(prepared), strict=True))
        apart = statistics.fmean(distance(pair, clip) for pair, clip in clips)
        pck = statistics.fmean(metrics(pair, clip)["pck_all"] for pair, clip in clips)
        sys.stdout.write(f"| {name} | {apart:.2f} | {pck:.3f} | {system.passes} |\n")
        sys.stdout.flush()
    system.model = plain


def directions(system: System, prepared: list[Conditions], scales: tuple[float, ...] = (1.0, 3.0, 10.0)) -> None:
    found = {scale: [] for scale in scales}
    usual = NagSettings()
    for conditions in prepared:
        negative = conditions[1][0][0]

        def measure(executor, x, t, concat, text, control, options, /, negative=negative, **kwargs):
            plain = executor(x, t, concat, text, control, options, **kwargs)
            away = plain - executor(x, t, concat, negative.to(text), control, options, **kwargs)
            for scale in scales:
                nag = Nag(negative[:1], tuple(range(len(x))), scale, usual.tau, usual.alpha)
                change = executor(x, t, concat, text, control, options, **kwargs, nag=nag) - plain
                pairs = zip(away.flatten(1), change.flatten(1), strict=True)
                found[scale] += [float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs]
            return plain

        measured = system.model.clone()
        measured.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "measure", measure)
        plain, system.model = system.model, measured
        system.sample([conditions])
        system.model = plain
    for scale, cosines in found.items():
        sys.stdout.write(
            f"NAG scale {scale:g}: mean cosine {statistics.fmean(cosines):.3f}, least {min(cosines):.3f}\n"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control", description=__doc__)
    parser.add_argument("--pairs", type=int, default=16, help="number of photos with a dance")
    parser.add_argument("--only", choices=("strengths", "directions"))
    options = parser.parse_args()
    comfy.utils.PROGRESS_BAR_ENABLED = False
    logging.disable(logging.WARNING)
    model, vae = (shipped(f"steadydancer_miniature{name}.safetensors") for name in ("", "_vae"))
    system = System(model, vae)
    pairs = make_pairs(options.pairs, FRAMES, OLD.size, KINDS, OLD)
    prepared = system.prepare(pairs, [aligned(pair) for pair in pairs])
    if options.only != "strengths":
        system.settings = replace(system.settings, pose=replace(system.settings.pose, scale=0.0))
        directions(system, prepared)
        system.settings = replace(system.settings, pose=replace(system.settings.pose, scale=1.0))
    if options.only != "directions":
        strengths(system, pairs, prepared)


if __name__ == "__main__":
    main()
