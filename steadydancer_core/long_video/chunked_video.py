"""A long video in chunks: what each chunk is sampled from, and how its frames join the video before it.

Each chunk after the first starts from the last `overlap` frames of the video so far, as stock image-to-video does from
a photo: they are given (mask 0), the rest is to be made (mask 1). Photo and first pose, as latents and as CLIP
features, are those of the whole video. The known frames come back re-made: colors are matched there, and the old frames
fade into the new ones.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from node_helpers import conditioning_set_values
from torch import Tensor

from ...media.frame_size import crop_fraction, latent_frames
from ...media.frame_source import FrameSource
from ...media.frames import crop, fit_image, size_of
from ...media.log import logger
from ..sampling import conditions
from ..sampling.display import NO_DISPLAY, Display
from ..sampling.frame_prompts import check_prompts, fit_prompts
from .chunk_plan import Chunk, choose_lengths, chunk_seed, cross_fade, plan_chunks
from .color_match import match_colors
from .handed_latents import CELL
from .transition import transition_frames

TILE, TILE_OVERLAP = 256, 64  # pixels
MOST_ENDS = 8  # of chunks that an error lists


class Sources(NamedTuple):
    """What the video is made of: two text conditionings, photo [B, H, W, C], pose frames [F, H, W, C] in 0..1.

    transition: a finished clip [F, H, W, C] whose last `overlap` frames are those that the first chunk starts from.
    """

    positive: list
    negative: list
    photo: Tensor
    pose: FrameSource
    pose_negative: FrameSource | None = None
    transition: FrameSource | None = None


@dataclass(frozen=True)
class VideoSettings:
    """Sizes in pixels (0 follows the photo), lengths in frames; `seed` is that of the first chunk's noise."""

    seed: int
    width: int = 0
    height: int = 0
    chunk_length: int = 81
    overlap: int = 5
    tiled_vae: bool = False


class ChunkInputs(NamedTuple):
    """What one chunk is sampled from."""

    positive: list
    negative: list
    pose_negative: list | None
    latent: dict


def plan_video(vae, clip_vision, sources: Sources, settings: VideoSettings, notes: list[str]) -> "ChunkedVideo":
    """Bring photo and lengths to what the model takes; ValueError, before encoding, for what cannot work.

    notes: gets what was decided; all of them are logged.
    """
    conditions.check_vae(vae)
    photo, total = conditions.first_image(sources.photo, notes), len(sources.pose)
    # The length that choose_frame would choose drops the tail of the dance; here the last chunk holds it.
    frame = conditions.choose_frame(photo, sources.pose, settings.width, settings.height, conditions.MIN_FRAMES, notes)
    lengths = choose_lengths(settings.chunk_length, settings.overlap, notes)
    conditions.check_poses(photo, sources.pose, sources.pose_negative, total)
    transition = None
    if sources.transition is not None:
        transition = transition_frames(sources.transition, lengths[1], frame.width, frame.height)
    kept = crop_fraction(size_of(photo), frame.width, frame.height)
    clip = conditions.clip_pair(clip_vision, (None, None), crop(photo, kept), crop(sources.pose[:1], kept), notes)
    notes += [note for prompt in sources[:2] for note in check_prompts(prompt, total)]
    for note in notes:
        logger.warning("%s", note)
    chosen = VideoSettings(settings.seed, frame.width, frame.height, *lengths, settings.tiled_vae)
    return ChunkedVideo(vae, sources._replace(photo=photo), clip, chosen, transition)


class ChunkedVideo:
    """The chunks of a video with one photo, first pose and CLIP features. Nothing of it changes from chunk to chunk.

    transition: the frames [overlap, height, width, 3] that the first chunk starts from, None for the photo.
    """

    def __init__(
        self,
        vae,
        sources: Sources,
        clip: conditions.ClipPair,
        settings: VideoSettings,
        transition: Tensor | None = None,
    ):
        self.vae, self.sources, self.clip, self.settings, self.transition = vae, sources, clip, settings, transition
        self.codec = TiledVae(vae) if settings.tiled_vae else vae
        self.crop_fraction = crop_fraction(size_of(sources.photo), settings.width, settings.height)
        self.photo = self.fit(sources.photo)
        self.chunks = plan_chunks(len(sources.pose), settings.chunk_length, settings.overlap)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width of the video."""
        height, width = self.photo.shape[1:3]
        return self.chunks[-1].stop, height, width

    def describe(self) -> str:
        """Return size, length and number of chunks in words."""
        frames, height, width = self.shape
        return (
            f"{width}x{height}, {frames} frames in {len(self.chunks)} chunk(s) of up to {self.settings.chunk_length}, "
            f"overlap {self.settings.overlap}"
        )

    def fit(self, images: Tensor) -> Tensor:
        """Return `images` at the size of the video [F, height, width, 3], in register with the photo."""
        return fit_image(images, self.settings.width, self.settings.height, self.crop_fraction)

    def seed_of(self, chunk: Chunk) -> int:
        """Return the seed of the chunk's noise."""
        return chunk_seed(self.settings.seed, chunk.index)

    def next_chunk(self, done: int) -> Chunk | None:
        """Return the chunk that goes on from the first `done` frames, None if those are all of them.

        ValueError where no chunk ends after `done` frames.
        """
        ends = [0, *(chunk.stop for chunk in self.chunks)]
        if done not in ends:
            listed = ", ".join(map(str, ends[1 : MOST_ENDS + 1])) + (", ..." if len(ends) > MOST_ENDS + 1 else "")
            raise ValueError(
                f"The video so far has {done} frames, but the chunks of this plan end after {listed}. Connect the "
                "video of 'Join Chunks' as it is, made with the same 'Plan Chunks'. Cut it, or change its frame rate, "
                "only behind the last 'Join Chunks'."
            )
        place = ends.index(done)
        return self.chunks[place] if place < len(self.chunks) else None

    @cached_property
    def references(self) -> dict[str, Tensor]:
        """Photo and first pose as latents [1, 16, 1, h, w], the same for every chunk."""
        return {
            "reference_photo_latent": self.codec.encode(self.photo),
            "reference_pose_latent": self.codec.encode(self.fit(self.sources.pose[:1])),
        }

    def inputs(self, chunk: Chunk, before: Tensor | None, display: Display = NO_DISPLAY) -> ChunkInputs:
        """Return what `chunk` is sampled from, given the `before` [overlap, H, W, 3] of it that are done."""
        if len(self.chunks) > 1:
            display.start_chunk(chunk.index + 1, len(self.chunks))
        display.say("encoding")
        known, pose = self.photo if before is None else before, self.fit(held(self.sources.pose, chunk))
        shared, pose_latent = conditions.encode_shared(self.codec, known, pose, self.clip, display)
        shared |= self.references
        posed = shared | {"pose_video_latent": pose_latent}
        known_latents = 0 if before is None else latent_frames(len(known))
        positive, negative = (
            fit_prompts(prompt, held_frames(chunk), pose_latent, known_latents)
            for prompt in (self.sources.positive, self.sources.negative)
        )
        conds = [conditioning_set_values(cond, posed) for cond in (positive, negative)]
        pose_negative = None
        if self.sources.pose_negative is not None:
            distorted = self.codec.encode(self.fit(held(self.sources.pose_negative, chunk)))
            pose_negative = conditioning_set_values(positive, shared | {"pose_video_latent": distorted})
        return ChunkInputs(*conds, pose_negative, conditions.empty_latent(pose_latent))

    def join(self, chunk: Chunk, before: Tensor | None, frames: Tensor, colour_match: float, remedy: str) -> Tensor:
        """Return the frames of `chunk` [frames, H, W, 3] that follow on `before` [overlap, H, W, 3].

        frames: as decoded, [length, H, W, 3] in 0..1; colour_match in 0..1; remedy: what to do about NaN.
        """
        frames = frames[: chunk.frames]
        check_finite(frames, chunk, remedy)
        if before is None:
            return frames
        photo = self.photo.clamp(0, 1).to(frames)
        return cross_fade(before, match_colors(frames, before.to(frames), photo, colour_match))


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


def held(clip: FrameSource, chunk: Chunk) -> Tensor:
    """Return the frames of `clip` that the chunk samples."""
    return clip[held_frames(chunk)]


def held_frames(chunk: Chunk) -> list[int]:
    """Return the frames of the video that the chunk samples; beyond the end its last one is held."""
    return [min(index, chunk.stop - 1) for index in range(chunk.start, chunk.start + chunk.length)]


def check_finite(values: Tensor, chunk: Chunk, remedy: str) -> None:
    """Raise ValueError, with what to do about it, unless all values of the chunk are numbers."""
    if not values.isfinite().all():
        raise ValueError(
            f"Chunk {chunk.index + 1} holds values that are not numbers (NaN), so it and all that follow would be "
            f"black. {remedy}"
        )
