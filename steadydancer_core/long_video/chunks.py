"""A video of any length, chunk after chunk, at the device memory of one chunk; chunked_video.py has one chunk.

A video of one chunk is that of Reconcile Conditions, SteadyDancer Sampler and VAE Decode, rounded to half precision as
the store of finished chunks does it, whether chunks are kept or not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...media.disk_cache import DiskCache
from ...media.frame_files import FrameFiles
from ...media.frame_source import FrameSource
from ..memory.fit import explain_out_of_memory
from ..sampling import run as sampling
from ..sampling.display import NO_DISPLAY, Display
from ..sampling.guidance_checks import check_model
from ..sampling.presets import Settings
from ..sampling.run_log import RunLog
from .chunk_plan import Chunk, borders
from .chunk_store import KeptChunks
from .chunked_video import ChunkedVideo, Sources, VideoSettings, check_finite, held, plan_video
from .handed_latents import check_overlap, decode_behind, handed_latents, handed_shape, start_from
from .run_manifest import Manifest, make_manifest
from .seams import describe, seam_scores

OTHER_MODEL_PRECISION = "Load the model with another weight precision, or take the LoRAs off one by one."
FRAMES, LATENTS = "frames", "latents"
OTHER_VAE_PRECISION = "The latent is sound, so it is the VAE: start ComfyUI with --fp32-vae."


@dataclass(frozen=True)
class ChunkSettings:
    """How the video is made; sizes in pixels (0 follows the photo), lengths in frames, colour_match in 0..1."""

    run: Settings
    seed: int
    width: int = 0
    height: int = 0
    chunk_length: int = 81
    overlap: int = 5
    colour_match: float = 1.0
    tiled_vae: bool = False
    run_name: str = ""  # vouches that what has no value to compare stays the same
    lora_files: tuple[str, ...] = ()  # names for the manifest; they change no frame
    continue_from: str = FRAMES  # what a chunk starts from: FRAMES, encoded again, or LATENTS of the chunk before


class LongVideo(NamedTuple):
    """The frames [F, H, W, 3] in 0..1, how they were made and how they meet in words, and the logs of this run."""

    frames: FrameSource
    report: str
    logs: list[RunLog]


def make_long_video(
    model: ModelPatcher,
    vae,
    clip_vision,
    sources: Sources,
    settings: ChunkSettings,
    cache: DiskCache,
    display: Display = NO_DISPLAY,
    folder: Path | None = None,
) -> LongVideo:
    """Return a video as long as the pose frames, by chunks in `cache`; ValueError before encoding if it cannot work.

    folder: made to keep the video's frames in, instead of memory.
    """
    maker = prepare(model, vae, clip_vision, sources, settings, display)
    (total, height, width), overlap = maker.video.shape, maker.settings.overlap
    device = comfy.model_management.intermediate_device()
    if folder is None:
        video = torch.empty(total, height, width, 3, dtype=torch.float32, device=device)
    else:
        check = comfy.model_management.throw_exception_if_processing_interrupted
        video = FrameFiles(folder, height, width, 0 if cache.is_on else total, check)
    kept, before, handed = KeptChunks(cache, maker.run_manifest, maker.notes), maker.video.transition, None
    for chunk in maker.plan:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with explain_out_of_memory(kept.advice()):
            frames, *rest = kept.get_or_compute(
                partial(maker.chunk_key_fields, chunk, before, handed),
                maker.shapes(chunk),
                partial(maker.make, chunk, before, handed),
            )
        if isinstance(video, FrameFiles):
            is_last = chunk.stop == total
            video.add(frames, chunk.frames if is_last else chunk.frames - overlap, kept.file)
        else:
            video[chunk.start : chunk.stop] = frames.to(video)
        before = frames[-overlap:].to(device, torch.float32, copy=True)
        handed = rest[0].to(device, torch.float32) if rest else None
    return LongVideo(video, _report(maker, kept, video), [done.log for done in maker.done])


def prepare(
    model: ModelPatcher, vae, clip_vision, sources: Sources, settings: ChunkSettings, display: Display = NO_DISPLAY
) -> "ChunkMaker":
    """Check everything, bring photo and lengths to what the model takes, and return what makes the chunks."""
    notes: list[str] = []
    check_model(model)
    if settings.run.pose.scale == 0 and sources.pose_negative is not None:
        notes.append("pose guidance is 0, so the connected pose-negative is not used")
        sources = sources._replace(pose_negative=None)
    if settings.run.pose.scale != 0 and sources.pose_negative is None:
        raise ValueError(
            "Pose guidance is on, but nothing is connected to pose_negative_frames or negative_poses. Connect the "
            "distorted skeleton, or set pose guidance to 0."
        )
    lengths = settings.chunk_length, settings.overlap
    wanted = VideoSettings(settings.seed, settings.width, settings.height, *lengths, settings.tiled_vae)
    video = plan_video(vae, clip_vision, sources, wanted, notes)
    if settings.continue_from == LATENTS and len(video.chunks) > 1:
        check_overlap(video.settings.overlap)
    return ChunkMaker(model, video, replace(settings, **vars(video.settings)), notes, display)


class ChunkMaker:
    """Samples one chunk of a video after another; done: a report for each chunk that was sampled."""

    def __init__(
        self, model: ModelPatcher, video: ChunkedVideo, settings: ChunkSettings, notes: list[str], display: Display
    ):
        self.model, self.video, self.settings, self.notes, self.display = model, video, settings, notes, display
        self.plan = video.chunks
        self.done: list[sampling.RunReport] = []

    def shapes(self, chunk: Chunk) -> list[tuple[int, ...]]:
        """Return the shapes of what `make` returns."""
        _, height, width = self.video.shape
        shapes: list[tuple[int, ...]] = [(chunk.frames, height, width, 3)]
        if self.settings.continue_from == LATENTS:
            shapes.append(handed_shape(chunk.length, self.settings.overlap, height, width))
        return shapes

    def make(self, chunk: Chunk, before: Tensor | None, handed: Tensor | None) -> list[Tensor]:
        """Return the frames of `chunk` [frames, H, W, 3], and what it hands on where latents are handed on.

        before: its first [overlap, H, W, 3], where they are done; handed: what the chunk before has handed on.
        """
        video, settings = self.video, self.settings
        given = video.inputs(chunk, before, self.display)
        if handed is not None:
            given = start_from(handed, settings.overlap, *given[:3])
        model = with_progress(self.model, chunk.index, len(self.plan))
        result, report = sampling.run(model, *given, video.seed_of(chunk), settings.run, self.display)
        check_finite(result["samples"], chunk, OTHER_MODEL_PRECISION)
        self.done.append(report)
        self.display.say("decoding")
        latents = result["samples"]
        if handed is None:
            frames = video.codec.decode(latents).reshape(chunk.length, *video.photo.shape[1:])
        else:
            frames = decode_behind(video.codec, handed, latents, settings.overlap)
        frames = video.join(chunk, before, frames, settings.colour_match, OTHER_VAE_PRECISION)
        if settings.continue_from == LATENTS:
            return [frames, handed_latents(latents, settings.overlap)]
        return [frames]

    def chunk_key_fields(self, chunk: Chunk, before: Tensor | None, handed: Tensor | None) -> dict:
        """Return what makes this chunk differ from others of the run."""
        sources = self.video.sources
        return {
            "seed": self.video.seed_of(chunk),
            "frames": chunk.frames,
            "before": before,
            "handed": handed,
            "pose": held(sources.pose, chunk),
            "pose_negative": None if sources.pose_negative is None else held(sources.pose_negative, chunk),
        }

    def run_manifest(self) -> Manifest:
        """Return what all chunks of the run have in common."""
        settings, sources = vars(self.settings).copy(), self.video.sources
        run, run_name, lora_files = (settings.pop(name) for name in ("run", "run_name", "lora_files"))
        inputs = {
            "photo": sources.photo,
            "first_pose": sources.pose[:1],
            "clip_features": [output.penultimate_hidden_states for output in self.video.clip],
            "positive": sources.positive,
            "negative": sources.negative,
        }
        return make_manifest(self.model, self.video.vae, run, settings, inputs, run_name, lora_files)


def with_progress(model: ModelPatcher, done: int, total: int) -> ModelPatcher:
    """Return a clone of `model` whose run shows as number `done`, from 0, of `total` runs on one progress bar."""

    def shifted(executor, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, *args, **kwargs):
        def report(shown: Callable, step, x0, x, steps):
            return shown(done * steps + step, x0, x, total * steps)

        passed = None if callback is None else partial(report, callback)
        return executor(noise, latent_image, sampler, sigmas, denoise_mask, passed, *args, **kwargs)

    clone = model.clone()
    clone.add_wrapper(WrappersMP.OUTER_SAMPLE, shifted)
    return clone


def _report(maker: ChunkMaker, kept: KeptChunks, video: FrameSource) -> str:
    places, reach = borders(maker.plan, maker.settings.overlap)
    lines = [maker.video.describe()]
    if kept.found:
        lines.append(f"{kept.found} of {len(maker.plan)} chunks were finished before and taken from disk")
    lines += [
        *[f"Each chunk that was sampled: {report}" for report in dict.fromkeys(done.text for done in maker.done)],
        *maker.notes,
        describe(seam_scores(video, places, reach)),
    ]
    return "\n".join(lines)
