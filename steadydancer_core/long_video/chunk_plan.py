"""Which frames each chunk of a long video makes. All lengths are in frames; 4n+1 is what the causal VAE can hold."""

import hashlib
from typing import NamedTuple

from torch import Tensor, lerp

from ...media.frame_size import MIN_FRAMES, valid_length


class Chunk(NamedTuple):
    """`frames` frames of the video from `start` on, sampled as a clip of `length` frames: 4n+1 and not shorter."""

    index: int
    start: int
    frames: int
    length: int

    @property
    def stop(self) -> int:
        """The frame of the video after its last one."""
        return self.start + self.frames


def plan_chunks(frames: int, chunk_length: int, overlap: int) -> list[Chunk]:
    """Return the chunks of a video of `frames` frames. All are full but the last, which ends with the video."""
    starts = range(0, max(1, frames - overlap), chunk_length - overlap)
    counts = [min(chunk_length, frames - start) for start in starts]
    lengths = [max(MIN_FRAMES, valid_length(n + 3)) for n in counts]
    return [Chunk(i, *row) for i, row in enumerate(zip(starts, counts, lengths, strict=True))]


def choose_lengths(chunk_length: int, overlap: int, notes: list[str]) -> tuple[int, int]:
    """Return both brought down to 4n+1, with a note; ValueError where no chunk can be made of them."""
    if chunk_length < MIN_FRAMES:
        raise ValueError(
            f"chunk_length is {chunk_length} frame(s); a chunk must have at least {MIN_FRAMES}. 81 is what the model "
            "was trained on."
        )
    if overlap < 1:
        raise ValueError(f"overlap is {overlap}; a chunk must go on from at least 1 frame. 5 shows it the motion too.")
    chosen = valid_length(chunk_length), valid_length(overlap)
    if chosen[1] >= chosen[0]:
        raise ValueError(
            f"The overlap of {overlap} frames leaves nothing new in a chunk of {chunk_length}. Make overlap smaller "
            "than chunk_length by at least 4 frames; 5 and 81 are usual."
        )
    names = ("chunk_length", chunk_length, chosen[0]), ("overlap", overlap, chosen[1])
    notes += [f"{name} {asked} brought to {length} (4n+1)" for name, asked, length in names if asked != length]
    return chosen


def chunk_seed(seed: int, index: int) -> int:
    """Return the seed of a chunk's noise: `seed` itself for the first, and one that follows from both for the rest."""
    if index == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {index}".encode()).digest()[:8], "big")


def cross_fade(before: Tensor, frames: Tensor) -> Tensor:
    """Return `frames` [F, H, W, 3] whose first V blend from `before` [V, H, W, 3]: frame k holds (k + 1) / (V + 1)."""
    result, count = frames.clone(), len(before)
    for k in range(count):
        result[k] = lerp(before[k].to(frames), frames[k], (k + 1) / (count + 1))
    return result


def borders(plan: list[Chunk], overlap: int) -> tuple[list[int], int]:
    """Return the middle of each cross-fade, and how many frames it reaches to both sides."""
    return [chunk.start + overlap // 2 for chunk in plan[1:]], overlap // 2 + 1
