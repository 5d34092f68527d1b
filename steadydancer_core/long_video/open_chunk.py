"""The loop over the chunks of a long video one turn at a time, for a graph that samples and decodes in between."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...media.frames import size_of, to_rgb
from .chunk_plan import Chunk, borders
from .chunk_store import as_stored
from .chunked_video import ChunkedVideo
from .seams import describe, seam_scores

REMEDY = (
    "Load the model with another weight precision, or take the LoRAs off one by one. If the latent is sound, start "
    "ComfyUI with --fp32-vae."
)


class OpenChunk(NamedTuple):
    """The chunk to be made, None where the video is complete, and the video so far [F, H, W, 3], F = 0 at first."""

    video: ChunkedVideo
    chunk: Chunk | None
    done: Tensor

    @property
    def before(self) -> Tensor | None:
        """The frames [overlap, H, W, 3] that the chunk starts from; at first those of the transition, if any."""
        return self.done[-self.video.settings.overlap :] if len(self.done) else self.video.transition

    def join(self, frames: Tensor, colour_match: float) -> Tensor:
        """Return the video with this chunk [F, H, W, 3], a complete one as it is.

        frames: the chunk as decoded, [length, H, W, C] in 0..1; ValueError for those that are not this chunk's.
        """
        if self.chunk is None:
            return self.done
        _, height, width = self.video.shape
        frames = to_rgb(frames).float()
        if frames.shape[:3] != (self.chunk.length, height, width):
            found = size_of(frames)
            raise ValueError(
                f"Found {len(frames)} frames of {found[0]}x{found[1]}, but chunk {self.chunk.index + 1} has "
                f"{self.chunk.length} frames of {width}x{height}. Connect to frames what 'VAE Decode' makes of the "
                "latent that was sampled for this chunk, uncut and at its size."
            )
        joined = as_stored(self.video.join(self.chunk, self.before, frames, colour_match, REMEDY))
        return torch.cat([self.done[: self.chunk.start].to(joined), joined])

    def report(self, frames: Tensor) -> str:
        """Return how far the video `frames` [F, H, W, 3] has come, and how visible its seams are."""
        total, chunks = self.video.shape[0], self.video.chunks
        made = [chunk for chunk in chunks if chunk.stop <= len(frames)]
        places, reach = borders(made, self.video.settings.overlap)
        lines = [f"{len(made)} of {len(chunks)} chunks, {len(frames)} of {total} frames"]
        if len(made) < len(chunks):
            lines.append("The video is not complete: connect it to one more Next Chunk.")
        return "\n".join([*lines, describe(seam_scores(frames, places, reach))])


def open_chunk(video: ChunkedVideo, done: Tensor | None) -> OpenChunk:
    """Return the chunk that goes on from the frames `done` [F, H, W, C]; ValueError for those of another video."""
    if done is None or len(done) == 0:
        return OpenChunk(video, video.chunks[0], video.photo[:0])
    done = to_rgb(done).float()
    found, (_, height, width) = size_of(done), video.shape
    if found != (width, height):
        raise ValueError(
            f"The video so far is {found[0]}x{found[1]}, but this plan makes {width}x{height}. Connect the video of "
            "'Join Chunks' as it is, made with the same 'Plan Chunks'. Change its size only behind the last one."
        )
    return OpenChunk(video, video.next_chunk(len(done)), done)
