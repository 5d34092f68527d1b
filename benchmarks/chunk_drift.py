"""How far a long video in chunks drifts, by what each chunk hands on to the next.

The bundled miniature, a dance of the drawn world that it was trained on, ground truth for every frame. Each row is one
video: metrics over all of it and, in brackets, over its last third, seams, and processor time as a ratio to "pixels".
Rows are printed as they come and kept in the output folder, so that a run that was stopped goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from comfy_client.in_process import use_comfyui

use_comfyui()

# isort: split
import comfy.utils
import cv2
import numpy as np
import torch
from node_helpers import conditioning_set_values
from PIL import Image
from torch import Tensor

from steadydancer_pack.dwpose.edit.augment import augment
from steadydancer_pack.dwpose.poses import BODY, HIPS, NECK, NOSE, SHOULDERS
from steadydancer_pack.media.frame_size import latent_frames
from steadydancer_pack.media.frames import to_float, to_uint8
from steadydancer_pack.miniature import SIDE, shipped
from steadydancer_pack.steadydancer_core.long_video import handed_latents
from steadydancer_pack.steadydancer_core.long_video.chunk_plan import (
    Chunk,
    borders,
    chunk_seed,
    cross_fade,
    plan_chunks,
)
from steadydancer_pack.steadydancer_core.long_video.color_match import match_colors
from steadydancer_pack.steadydancer_core.long_video.seams import seam_scores
from steadydancer_pack.steadydancer_core.sampling import run as sampling
from steadydancer_pack.steadydancer_core.sampling.conditions import CLIP_WIDTH, encode_known, features_output
from steadydancer_pack.training.evaluation.metrics import PCK_WITHIN, find_parts, psnr
from steadydancer_pack.training.evaluation.pairs import Pair, make_pair
from steadydancer_pack.training.evaluation.system import NEGATIVE_SEED, SETTINGS, System
from steadydancer_pack.training.evaluation.worlds import OLD
from steadydancer_pack.training.prompts import NEGATIVE, POSITIVE, prompt_vectors
from steadydancer_pack.training.world.motion import FPS
from steadydancer_pack.training.world.store import skeletons

CHUNK, STEPS, SEED = 33, 4, 3  # the miniature was trained on 33 frames
SEGMENT = 5 * FPS  # frames
TRUNK = [NOSE, NECK, *SHOULDERS, *HIPS]
Opening = Callable[[float, float], float]  # sigma and the fraction of the steps that is done -> 0 closed, 1 open
OPENINGS: dict[str, Opening] = {
    "closed": lambda _sigma, _done: 0.0,
    "1 - sigma": lambda sigma, _done: 1 - sigma,
    "by steps": lambda _sigma, done: done,
    "at half": lambda _sigma, done: float(done >= 0.5),
}
METRICS = ("identity", "color_person", "color_background", "pose_error", "psnr")


class Option(NamedTuple):
    """What a chunk starts from.

    handed: "" re-encodes the finished frames; "latents" takes the previous chunk's own for all but the first known
    one; "corrected" adds what color match and cross-fade changed of their frames. opening: how the noise mask of the
    known latents opens, "" for none. joined: known latents are decoded with those before them, not anew.
    """

    overlap: int = 5
    handed: str = ""
    opening: str = ""
    joined: bool = False


OPTIONS = {
    "pixels": Option(),
    "latents": Option(5, "latents"),
    "latents, closed": Option(5, "latents", "closed"),
    "latents, closed, joined": Option(5, "latents", "closed", True),
    "latents, 1 - sigma, joined": Option(5, "latents", "1 - sigma", True),
    "latents, by steps, joined": Option(5, "latents", "by steps", True),
    "latents, at half, joined": Option(5, "latents", "at half", True),
    "corrected, closed, joined": Option(5, "corrected", "closed", True),
    "corrected, by steps": Option(5, "corrected", "by steps"),
    "pixels, 9": Option(9),
    "latents, 9": Option(9, "latents"),
    "latents, closed, joined, 9": Option(9, "latents", "closed", True),
}


@dataclass
class Dance:
    """A photo, poses and the true answer of one dance, and what its chunks share."""

    system: System
    pair: Pair
    encoded: dict[tuple[int, int], tuple[Tensor, Tensor, float]] = field(default_factory=dict)

    @cached_property
    def skeletons(self) -> tuple[Tensor, Tensor]:
        """Pose and pose-negative frames [F, H, W, 3] in 0..1."""
        poses = self.pair.truth.poses  # not the driver's aligned ones: how well they fit is not measured here
        pose, distorted = (to_float(skeletons(clip)) for clip in (poses, augment(poses, NEGATIVE_SEED)))
        return pose, distorted

    @cached_property
    def photo(self) -> Tensor:
        return to_float(self.pair.photo[None])

    @cached_property
    def references(self) -> dict[str, Tensor]:
        vae = self.system.vae
        return {
            "reference_photo_latent": vae.encode(self.photo),
            "reference_pose_latent": vae.encode(self.skeletons[0][:1]),
        }

    def pose_latents(self, chunk: Chunk) -> tuple[Tensor, Tensor, float]:
        """Pose and pose-negative latents of a chunk and the seconds they took; options with one plan share them."""
        key = chunk.start, chunk.length
        if key not in self.encoded:
            held = [min(index, chunk.stop - 1) for index in range(chunk.start, chunk.start + chunk.length)]
            start = time.process_time()
            pose, distorted = (self.system.vae.encode(frames[held]) for frames in self.skeletons)
            self.encoded[key] = pose, distorted, time.process_time() - start
        return self.encoded[key]


class Before(NamedTuple):
    """The end of the chunk before: finished frames and the same as decoded [overlap, H, W, 3], and handed latents."""

    frames: Tensor
    decoded: Tensor
    handed: Tensor


@torch.no_grad()
def sample_video(dance: Dance, option: Option, seed: int = SEED) -> tuple[Tensor, float]:
    """Return the video [F, H, W, 3] in 0..1 and its processor time in seconds."""
    plan = plan_chunks(len(dance.pair.truth.frames), CHUNK, option.overlap)
    video, before, seconds = torch.empty(plan[-1].stop, SIDE, SIDE, 3), None, 0.0
    for chunk in plan:
        *_, shared_seconds = dance.pose_latents(chunk)
        start = time.process_time()
        latents = sample_chunk(dance, option, chunk, before, chunk_seed(seed, chunk.index))
        decoded = decode(dance, option, chunk, before, latents)
        frames = decoded
        if before is not None:
            frames = cross_fade(before.frames, match_colors(decoded, before.frames, dance.photo, 1.0))
        frames = frames.half().float()  # as finished chunks are stored
        video[chunk.start : chunk.stop] = frames
        handed = handed_latents.handed_latents(latents, option.overlap)
        before = Before(frames[-option.overlap :], decoded[-option.overlap :], handed)
        seconds += time.process_time() - start + shared_seconds
    return video, seconds


def sample_chunk(dance: Dance, option: Option, chunk: Chunk, before: Before | None, seed: int) -> Tensor:
    """Return the latents [1, 16, T, h, w] of a chunk."""
    vae, (pose, distorted, _) = dance.system.vae, dance.pose_latents(chunk)
    image = encode_known(vae, dance.photo if before is None else before.frames, chunk.length)
    known = 1 if before is None else latent_frames(option.overlap)
    if before is not None and option.handed:
        handed = before.handed[:, :, 1 - known :]
        if option.handed == "corrected":
            handed = handed + correction(dance, before)
        image = handed_latents.with_handed(image, handed, option.overlap)
    mask = torch.ones(1, 1, *image.shape[2:])
    mask[:, :, :known] = 0
    no_clip = features_output(torch.zeros(1, 1, CLIP_WIDTH))
    shared = {
        **dance.references,
        "concat_latent_image": image,
        "concat_mask": mask,
        "clip_vision_output": no_clip,
        "pose_clip_vision_output": no_clip,
    }
    text = {name: [[prompt_vectors(name)[None], {}]] for name in (POSITIVE, NEGATIVE)}
    positive, negative, pose_negative = (
        conditioning_set_values(text[name], {**shared, "pose_video_latent": latent})
        for name, latent in ((POSITIVE, pose), (NEGATIVE, pose), (POSITIVE, distorted))
    )
    model, latent = dance.system.model, {"samples": torch.zeros_like(image)}
    if before is not None and option.opening:
        model = model.clone()
        model.set_model_denoise_mask_function(mask_function(OPENINGS[option.opening]))
        latent = handed_latents.masked_latent(image, option.overlap)
    return sampling.run(model, positive, negative, pose_negative, latent, seed, dance.system.settings)[0]["samples"]


def correction(dance: Dance, before: Before) -> Tensor:
    """Return what color match and cross-fade changed, as a latent [1, 16, k, h, w]."""
    finished, decoded = (dance.system.vae.encode(frames)[:, :, 1:] for frames in (before.frames, before.decoded))
    return finished - decoded


def mask_function(opening: Opening) -> Callable:
    """Return ComfyUI's denoise mask function: 1 where all is made anew, at known latents as far as `opening` says."""

    def mask(sigma: Tensor, denoise_mask: Tensor, extra_options: dict) -> Tensor:
        sigmas = extra_options["sigmas"]
        done = float((sigmas > sigma.max() * (1 + 1e-6)).sum()) / (len(sigmas) - 1)
        return denoise_mask + (1 - denoise_mask) * opening(float(sigma.max()), done)

    return mask


def decode(dance: Dance, option: Option, chunk: Chunk, before: Before | None, latents: Tensor) -> Tensor:
    """Return the frames [frames, H, W, 3] of a chunk's latents."""
    if before is not None and option.joined:
        frames = handed_latents.decode_behind(dance.system.vae, before.handed, latents, option.overlap)
    else:
        frames = dance.system.vae.decode(latents)[0]
    return frames[: chunk.frames]


def segment_metrics(pair: Pair, video: np.ndarray) -> list[dict[str, float]]:
    """Return METRICS of each segment of a video, uint8 [F, H, W, 3], against its ground truth.

    identity: correlation of the crop of head and trunk, 1 is the ground truth's. color_person, color_background:
    distance in Lab of the mean color within the person's box and outside. pose_error: mean distance of head, hands and
    feet in % of the person's height; one that is not found, or is farther than PCK allows, counts as that far.
    """
    truth = pair.truth.frames
    found, shown = find_parts(video), find_parts(truth)
    worst = PCK_WITHIN * pair.height
    away = [np.linalg.norm(found[part] - where, axis=1) for part, where in shown.items()]
    away = [np.where(np.isnan(gap), worst, gap.clip(max=worst)) for gap in away]
    seen = [np.isfinite(where).all(axis=1) for where in shown.values()]
    pose = np.where(np.stack(seen), np.stack(away), np.nan) / pair.height * 100
    rows = [frame_metrics(*frames, *box) for *frames, box in zip(video, truth, boxes(pair), strict=True)]
    names = METRICS[:3]
    out = []
    for start in range(0, len(video), SEGMENT):
        part = slice(start, start + SEGMENT)
        values = {name: float(np.mean([row[name] for row in rows[part]])) for name in names}
        out.append(values | {"pose_error": float(np.nanmean(pose[:, part])), "psnr": psnr(video[part], truth[part])})
    return out


def boxes(pair: Pair) -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Return for each frame the rows and columns of the person and of head and trunk, in the ground truth."""
    (track,) = pair.truth.poses.tracks
    body, out = track.points[:, BODY] * SIDE, []
    for points, scores in zip(body, track.scores[:, BODY], strict=True):
        person, trunk = points[scores > 0], points[TRUNK][scores[TRUNK] > 0]
        out.append((_around(person), _around(trunk)))
    return out


def _around(points: np.ndarray) -> tuple[slice, slice]:
    margin = 0.05 * SIDE
    low, high = (points.min(axis=0) - margin).clip(0), (points.max(axis=0) + margin).clip(0, SIDE)
    return slice(int(low[1]), int(high[1]) + 1), slice(int(low[0]), int(high[0]) + 1)


def frame_metrics(
    found: np.ndarray, truth: np.ndarray, person: tuple[slice, slice], trunk: tuple[slice, slice]
) -> dict[str, float]:
    """Return the first three METRICS of one frame, uint8 [H, W, 3]."""
    crops = [frame[trunk].reshape(-1, 3).astype(float) for frame in (found, truth)]
    a, b = (crop - crop.mean(axis=0) for crop in crops)
    outside = np.ones((SIDE, SIDE), bool)
    outside[person] = False
    lab = [cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for frame in (found, truth)]
    means = [np.stack([frame[where].mean(axis=0) for where in (~outside, outside)]) for frame in lab]
    gaps = np.linalg.norm(means[0] - means[1], axis=1).tolist()
    identity = float((a * b).sum() / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-9))
    return dict(zip(METRICS[:3], [identity, *gaps], strict=True))


def measure(dance: Dance, name: str, picture: Path) -> dict:
    """Return the row of an option and a dance; write a frame of each segment, ground truth above, as a picture."""
    option = OPTIONS[name]
    video, seconds = sample_video(dance, option)
    frames = to_uint8(video)
    places, reach = borders(plan_chunks(len(frames), CHUNK, option.overlap), option.overlap)
    seams = seam_scores(video, places, reach)
    strips = [np.concatenate(list(clip[SEGMENT - 1 :: SEGMENT]), axis=1) for clip in (dance.pair.truth.frames, frames)]
    Image.fromarray(np.concatenate(strips)).save(picture)
    return {
        "segments": segment_metrics(dance.pair, frames),
        "seam_jump": float(np.mean([seam.jump for seam in seams])),
        "seam_color": float(np.mean([seam.color for seam in seams])),
        "visible": sum(seam.visible for seam in seams),
        "seams": len(seams),
        "seconds": seconds,
    }


def table_row(name: str, row: dict, pixels: dict | None) -> str:
    """Return a row as Markdown: each metric over the whole video (and over its last third), seams, time."""
    segments = row["segments"]
    cells = [name]
    for metric in METRICS:
        values = [segment[metric] for segment in segments]
        digits = 3 if metric == "identity" else 1
        cells.append(f"{np.mean(values):.{digits}f} ({np.mean(values[-max(1, len(values) // 3) :]):.{digits}f})")
    cells += [f"{row['seam_jump']:.2f}", f"{row['visible']} of {row['seams']}"]
    cells.append(f"{row['seconds'] / pixels['seconds']:.2f}" if pixels else "-")
    return f"| {' | '.join(cells)} |\n"


def kept_row(folder: Path, dance: Dance, name: str) -> dict:
    """Return the row from the folder, or measure it and keep it there."""
    file = folder / f"{name}, {dance.pair.name}, {len(dance.pair.truth.frames)}.json"
    if not file.exists():
        row = measure(dance, name, file.with_suffix(".png"))
        file.write_text(json.dumps(row), "utf-8")
    return json.loads(file.read_text("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for rows and pictures")
    parser.add_argument("--seconds", type=int, default=60, help="length of each video")
    parser.add_argument("--dances", type=int, nargs="+", default=[4], help="numbers of the dances")
    parser.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS), metavar="NAME")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    comfy.utils.PROGRESS_BAR_ENABLED = False
    torch.set_num_threads(1)  # the processor time is that of one core
    files = shipped("steadydancer_miniature.safetensors"), shipped("steadydancer_miniature_vae.safetensors")
    system = System(*files, replace(SETTINGS, steps=STEPS, solver="official euler"))
    names = ["option", *METRICS, "seam jump", "visible seams", "time"]
    for number in options.dances:
        dance, pixels = Dance(system, make_pair(number, "place", options.seconds * FPS, SIDE, OLD)), None
        sys.stdout.write(f"Dance {number}, {options.seconds} s\n| {' | '.join(names)} |\n{'|---' * len(names)}|\n")
        for name in options.options:
            row = kept_row(options.output, dance, name)
            pixels = row if name == "pixels" else pixels
            sys.stdout.write(table_row(name, row, pixels))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
