"""Prompts for stretches of a video: the prompt of each frame, and its share of each latent frame.

A conditioning with such prompts is a list, as ComfyUI combines them: the prompt of all other frames, then one for each
choice of frames, marked with FRAMES; where two choices overlap, the later one holds. Fitted to a clip, each has its
share of every latent frame as ComfyUI's mask, so that the velocity of a latent frame is that of its prompt. A prompt
without a share is left out, and one that has the whole clip costs what it costs alone. Where a clip begins with frames
that it shares with the one before, it takes the prompt that it goes on with: prompts blend where the clips do.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...media.frame_size import FRAMES_PER_LATENT
from ..model.pose_windows import PROMPT_NUMBERS

FRAMES = "steadydancer_prompt_frames"  # (number of the prompt from 1, its ranges)
RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+)?)?", re.ASCII)
LAST = 1 << 30  # the frame after an open end
MOST_RANGES, MOST_DIGITS = 1000, 9
HOW_TO = "Write ranges such as '41-58, 90-97'; frames count from 0, and '120-' lasts to the end."

Range = tuple[int, int]  # first frame, frame after the last


def parse_frames(text: str) -> tuple[Range, ...]:
    """Return the ranges in `text`, such as '41-58, 90, 120-'; ValueError for what is none."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST_RANGES:
        raise ValueError(f"frames lists {len(parts)} ranges; at most {MOST_RANGES} are possible.")
    return tuple(_parse_range(part) for part in parts)


def _parse_range(part: str) -> Range:
    found = RANGE.fullmatch(part)
    if not found or any(len(number) > MOST_DIGITS for number in found.groups("")):
        raise ValueError(f"frames has '{part[:40]}', which is no range of frames. {HOW_TO}")
    first = int(found[1])
    last = int(found[2]) if found[2] else LAST - 1 if "-" in part else first
    if last < first:
        raise ValueError(f"frames has '{part}', which ends before it begins. {HOW_TO}")
    return first, last + 1


def add_prompt(conditioning: list, prompt: list, ranges: tuple[Range, ...]) -> list:
    """Return `conditioning` with `prompt` in the frames of `ranges` in its place; unchanged without ranges."""
    if not ranges:
        return conditioning
    if any(FRAMES in values for _, values in prompt):
        raise ValueError(
            "The conditioning for the frames has frames of its own already. Connect a plain prompt there, and chain "
            "these nodes through the input conditioning."
        )
    number = 1 + max((values[FRAMES][0] for _, values in conditioning if FRAMES in values), default=0)
    return [*conditioning, *([embedding, {**values, FRAMES: (number, ranges)}] for embedding, values in prompt)]


def check_prompts(conditioning: list, frames: int) -> list[str]:
    """Return a note for each prompt that has no frame in a video of `frames` frames.

    ValueError where a prompt has a mask or an area beside frames.
    """
    chosen = {values[FRAMES] for _, values in conditioning if FRAMES in values}
    if chosen and any("mask" in values or "area" in values for _, values in conditioning):
        raise ValueError(
            "Prompt for Frames does not go together with a mask or an area. Take 'Conditioning (Set Mask)' and "
            "'Conditioning (Set Area)' out, or the frames."
        )
    numbers = _numbers(conditioning, range(frames))
    return [
        f"the prompt for frames {', '.join(_range_text(*one) for one in ranges)} is not used: none of the {frames} "
        "frames is left to it"
        for number, ranges in sorted(chosen)
        if not (numbers == number).any()
    ]


def _range_text(first: int, stop: int) -> str:
    return f"{first}-" if stop == LAST else f"{first}-{stop - 1}"


def fit_prompts(conditioning: list, frames: Sequence[int], latent: Tensor, shared: int = 0) -> list:
    """Return the prompts of a clip of the video's `frames`, 4n+1, whose `latent` is [B, 16, T, h, w].

    shared: latent frames at the start that the clip before has too.
    """
    if not any(FRAMES in values for _, values in conditioning):
        return conditioning
    numbers = _lead_on(_per_latent(_numbers(conditioning, frames)), shared)
    fitted = []
    for embedding, values in conditioning:
        share = _share(values, numbers)
        if (share == 1).all():
            fitted.append([embedding, values])
        elif share.any():
            fitted.append([embedding, {**values, "mask": _mask(share, latent), PROMPT_NUMBERS: numbers}])
    return fitted


def prompts_of_window(conds: list[dict[str, Any]], window, shared: int) -> tuple[list[dict], list[Tensor | None]]:
    """Return the processed conditions that have a share of a context window, and the mask of each, None for all of it.

    shared: latent frames at the start that the window before has too.
    """
    found, masks = [], []
    for cond in conds:
        if PROMPT_NUMBERS not in cond:
            found.append(cond)
            masks.append(None)
            continue
        share = _share(cond, _lead_on(cond[PROMPT_NUMBERS][window.index_list], shared))
        if not share.any():
            continue
        before = share[:1] if getattr(window, "causal_anchor_index", None) is not None else share[:0]
        found.append({name: value for name, value in cond.items() if name not in ("mask", PROMPT_NUMBERS)})
        masks.append(None if (share == 1).all() else _mask(torch.cat([before, share]), cond["mask"]))
    return found, masks


def _numbers(conditioning: list, frames: Sequence[int]) -> Tensor:
    """Return the number of the prompt of each frame [F], 0 for that of all other frames."""
    places = torch.tensor(list(frames), dtype=torch.int64, device="cpu")
    numbers = torch.zeros_like(places)
    for number, ranges in sorted({values[FRAMES] for _, values in conditioning if FRAMES in values}):
        for first, stop in ranges:
            numbers[(places >= first) & (places < stop)] = number
    return numbers


def _per_latent(numbers: Tensor) -> Tensor:
    """Return the numbers [F] as [T, 4]: latent frame 0 is one frame, every later one is four."""
    return torch.cat([numbers[:1].repeat(FRAMES_PER_LATENT), numbers[1:]]).reshape(-1, FRAMES_PER_LATENT)


def _lead_on(numbers: Tensor, shared: int) -> Tensor:
    """Return the numbers [T, 4] with the first frame's after the `shared` ones in those, unless they change twice."""
    row = numbers.flatten()
    count = shared * FRAMES_PER_LATENT
    if not 0 < count < len(row) or (row[: count + 1].diff() != 0).sum() > 1:
        return numbers
    return torch.cat([row[count].expand(shared, FRAMES_PER_LATENT), numbers[shared:]])


def _share(values: dict[str, Any], numbers: Tensor) -> Tensor:
    """Return the share of a prompt in each latent frame [T], 0..1."""
    number, _ = values.get(FRAMES, (0, ()))
    return (numbers == number).float().mean(dim=1)


def _mask(share: Tensor, like: Tensor) -> Tensor:
    """Return the mask [1, T, h, w] of the shares [T]."""
    rows, columns = like.shape[-2:]
    return share.to(like.device)[None, :, None, None].repeat(1, 1, rows, columns)
