"""A video of any length, chunk after chunk, at the device memory of one chunk.

Each chunk after the first starts from the last `overlap` frames of the video so far, as stock image-to-video does from
a photo: they are given (mask 0), the rest is to be made (mask 1). Photo and first pose, as latents and as CLIP
features, are those of the whole video. The known frames come back re-made: colors are matched there, and the old frames
fade into the new ones. A video of one chunk is that of Reconcile Conditions, SteadyDancer Sampler and VAE Decode,
rounded to half precision as the store of finished chunks does it, whether chunks are kept or not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import comfy.model_management
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from node_helpers import conditioning_set_values
from torch import Tensor

from ...media.disk_cache import DiskCache
from ...media.frame_files import FrameFiles
from ...media.frame_size import crop_fraction, latent_frames
from ...media.frame_source import FrameSource
from ...media.frames import crop, fit_image, size_of
from ...media.log import logger
from ..memory.fit import explain_out_of_memory
from ..sampling import conditions
from ..sampling import run as sampling
from ..sampling.display import NO_DISPLAY, Display
from ..sampling.frame_prompts import check_prompts, fit_prompts
from ..sampling.guidance_checks import check_model
from ..sampling.presets import Settings
from ..sampling.run_log import RunLog
from .chunk_plan import Chunk, borders, choose_lengths, chunk_seed, cross_fade, plan_chunks
from .chunk_store import KeptChunks
from .color_match import match_colors
from .run_manifest import Manifest, make_manifest
from .seams import describe, seam_scores

OTHER_MODEL_PRECISION = "Load the model with another weight precision, or take the LoRAs off one by one."
OTHER_VAE_PRECISION = "The latent is sound, so it is the VAE: start ComfyUI with --fp32-vae."
TILE, TILE_OVERLAP, CELL = 256, 64, 8  # pixels; a latent cell is CELL pixels wide


class Sources(NamedTuple):
    """What the video is made of: two text conditionings, photo [B, H, W, C], pose frames [F, H, W, C] in 0..1."""

    positive: list
    negative: list
    photo: Tensor
    pose: FrameSource
    pose_negative: FrameSource | None = None


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
    height, width = maker.photo.shape[1:3]
    total, overlap = maker.plan[-1].stop, maker.settings.overlap
    device = comfy.model_management.intermediate_device()
    if folder is None:
        video = torch.empty(total, height, width, 3, dtype=torch.float32, device=device)
    else:
        check = comfy.model_management.throw_exception_if_processing_interrupted
        video = FrameFiles(folder, height, width, 0 if cache.is_on else total, check)
    kept, before = KeptChunks(cache, maker.run_manifest, maker.notes), None
    for chunk in maker.plan:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with explain_out_of_memory(kept.advice()):
            frames = kept.get_or_compute(
                partial(maker.chunk_key_fields, chunk, before),
                (chunk.frames, height, width, 3),
                partial(maker.make, chunk, before),
            )
        if isinstance(video, FrameFiles):
            is_last = chunk.stop == total
            video.add(frames, chunk.frames if is_last else chunk.frames - overlap, kept.file)
        else:
            video[chunk.start : chunk.stop] = frames.to(video)
        before = frames[-overlap:].to(device, torch.float32, copy=True)
    return LongVideo(video, _report(maker, kept, video), [done.log for done in maker.done])


def prepare(
    model: ModelPatcher, vae, clip_vision, sources: Sources, settings: ChunkSettings, display: Display = NO_DISPLAY
) -> "ChunkMaker":
    """Check everything, bring photo and lengths to what the model takes, and return what makes the chunks."""
    notes: list[str] = []
    check_model(model)
    conditions.check_vae(vae)
    photo, total = conditions.first_image(sources.photo, notes), len(sources.pose)
    # The length that choose_frame would choose drops the tail of the dance; here the last chunk holds it.
    frame = conditions.choose_frame(photo, sources.pose, settings.width, settings.height, conditions.MIN_FRAMES, notes)
    chunk_length, overlap = choose_lengths(settings.chunk_length, settings.overlap, notes)
    pose_negative = sources.pose_negative
    if settings.run.pose.scale == 0 and pose_negative is not None:
        notes.append("pose guidance is 0, so the connected pose-negative is not used")
        pose_negative = None
    if settings.run.pose.scale != 0 and pose_negative is None:
        raise ValueError(
            "Pose guidance is on, but nothing is connected to pose_negative_frames or negative_poses. Connect the "
            "distorted skeleton, or set pose guidance to 0."
        )
    conditions.check_poses(photo, sources.pose, pose_negative, total)
    kept = crop_fraction(size_of(photo), frame.width, frame.height)
    clip = conditions.clip_pair(clip_vision, (None, None), crop(photo, kept), crop(sources.pose[:1], kept), notes)
    notes += [note for prompt in sources[:2] for note in check_prompts(prompt, total)]
    for note in notes:
        logger.warning("%s", note)
    sources = sources._replace(photo=photo, pose_negative=pose_negative)
    settings = replace(settings, width=frame.width, height=frame.height, chunk_length=chunk_length, overlap=overlap)
    return ChunkMaker(model, vae, sources, clip, settings, notes, display)


class ChunkMaker:
    """Samples one chunk after another with one photo, first pose and CLIP features; done: a report for each chunk."""

    def __init__(
        self, model: ModelPatcher, vae, sources: Sources, clip: conditions.ClipPair, settings: ChunkSettings,
        notes: list[str], display: Display,
    ):  # fmt: skip
        self.model, self.vae, self.sources, self.clip, self.settings = model, vae, sources, clip, settings
        self.codec = TiledVae(vae) if settings.tiled_vae else vae
        self.crop_fraction = crop_fraction(size_of(sources.photo), settings.width, settings.height)
        self.photo = self.fit(sources.photo)
        self.plan = plan_chunks(len(sources.pose), settings.chunk_length, settings.overlap)
        self.notes, self.display, self.done = notes, display, []

    def fit(self, images: Tensor) -> Tensor:
        """Return `images` at the size of the video [F, height, width, 3], in register with the photo."""
        return fit_image(images, self.settings.width, self.settings.height, self.crop_fraction)

    @cached_property
    def references(self) -> dict[str, Tensor]:
        """Photo and first pose as latents [1, 16, 1, h, w], the same for every chunk."""
        return {
            "reference_photo_latent": self.codec.encode(self.photo),
            "reference_pose_latent": self.codec.encode(self.fit(self.sources.pose[:1])),
        }

    def make(self, chunk: Chunk, before: Tensor | None) -> Tensor:
        """Return the frames of `chunk` [frames, H, W, 3], given the `before` [overlap, H, W, 3] of it that are done."""
        if len(self.plan) > 1:
            self.display.start_chunk(chunk.index + 1, len(self.plan))
        self.display.say("encoding")
        *conds, latent = self._conditions(chunk, self.photo if before is None else before)
        seed = chunk_seed(self.settings.seed, chunk.index)
        model = with_progress(self.model, chunk.index, len(self.plan))
        result, report = sampling.run(model, *conds, latent, seed, self.settings.run, self.display)
        _check_finite(result["samples"], chunk, OTHER_MODEL_PRECISION)
        self.done.append(report)
        self.display.say("decoding")
        frames = self.codec.decode(result["samples"]).reshape(chunk.length, *self.photo.shape[1:])[: chunk.frames]
        _check_finite(frames, chunk, OTHER_VAE_PRECISION)
        if before is None:
            return frames
        photo = self.photo.clamp(0, 1).to(frames)
        return cross_fade(before, match_colors(frames, before.to(frames), photo, self.settings.colour_match))

    def chunk_key_fields(self, chunk: Chunk, before: Tensor | None) -> dict:
        """Return what makes this chunk differ from others of the run."""
        pose_negative = self.sources.pose_negative
        return {
            "seed": chunk_seed(self.settings.seed, chunk.index),
            "frames": chunk.frames,
            "before": before,
            "pose": _held(self.sources.pose, chunk),
            "pose_negative": None if pose_negative is None else _held(pose_negative, chunk),
        }

    def run_manifest(self) -> Manifest:
        """Return what all chunks of the run have in common."""
        settings, sources = vars(self.settings).copy(), self.sources
        run, run_name, lora_files = (settings.pop(name) for name in ("run", "run_name", "lora_files"))
        inputs = {
            "photo": sources.photo,
            "first_pose": sources.pose[:1],
            "clip_features": [output.penultimate_hidden_states for output in self.clip],
            "positive": sources.positive,
            "negative": sources.negative,
        }
        return make_manifest(self.model, self.vae, run, settings, inputs, run_name, lora_files)

    def _conditions(self, chunk: Chunk, known: Tensor) -> tuple:
        """Return positive, negative, pose-negative and the empty latent of a chunk that starts with `known`."""
        pose = self.fit(_held(self.sources.pose, chunk))
        shared, pose_latent = conditions.encode_shared(self.codec, known, pose, self.clip, self.display)
        shared |= self.references
        posed = shared | {"pose_video_latent": pose_latent}
        known_latents = latent_frames(len(known)) if chunk.index else 0
        positive, negative = (
            fit_prompts(prompt, _held_frames(chunk), pose_latent, known_latents)
            for prompt in (self.sources.positive, self.sources.negative)
        )
        conds = [conditioning_set_values(cond, posed) for cond in (positive, negative)]
        pose_negative = None
        if self.sources.pose_negative is not None:
            distorted = self.codec.encode(self.fit(_held(self.sources.pose_negative, chunk)))
            pose_negative = conditioning_set_values(positive, shared | {"pose_video_latent": distorted})
        return *conds, pose_negative, conditions.empty_latent(pose_latent)


class TiledVae:
    """Encodes and decodes in tiles of the picture, each over the whole clip, for less memory."""

    def __init__(self, vae):
        self.vae = vae

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the latent [1, 16, T, h, w] of pixels [F, H, W, 3] in 0..1."""
        return self.vae.encode_tiled(pixels, tile_x=TILE, tile_y=TILE, overlap=TILE_OVERLAP)

    def decode(self, latent: Tensor) -> Tensor:
        """Return the pixels [1, F, H, W, 3] in 0..1 of a latent [1, 16, T, h, w]."""
        tile = TILE // CELL
        return self.vae.decode_tiled(latent, tile_x=tile, tile_y=tile, overlap=TILE_OVERLAP // CELL)


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


def _held(clip: FrameSource, chunk: Chunk) -> Tensor:
    """Return the frames of `clip` that the chunk samples."""
    return clip[_held_frames(chunk)]


def _held_frames(chunk: Chunk) -> list[int]:
    """Return the frames of the video that the chunk samples; beyond the end its last one is held."""
    return [min(index, chunk.stop - 1) for index in range(chunk.start, chunk.start + chunk.length)]


def _check_finite(values: Tensor, chunk: Chunk, remedy: str) -> None:
    if not values.isfinite().all():
        raise ValueError(
            f"Chunk {chunk.index + 1} holds values that are not numbers (NaN), so it and all that follow would be "
            f"black. {remedy}"
        )


def _report(maker: ChunkMaker, kept: KeptChunks, video: FrameSource) -> str:
    count, settings = len(maker.plan), maker.settings
    frames, height, width = video.shape[:3]
    places, reach = borders(maker.plan, settings.overlap)
    lines = [
        f"{width}x{height}, {frames} frames in {count} chunk(s) of up to {settings.chunk_length}, "
        f"overlap {settings.overlap}",
    ]
    if kept.found:
        lines.append(f"{kept.found} of {count} chunks were finished before and taken from disk")
    lines += [
        *[f"Each chunk that was sampled: {report}" for report in dict.fromkeys(done.text for done in maker.done)],
        *maker.notes,
        describe(seam_scores(video, places, reach)),
    ]
    return "\n".join(lines)
