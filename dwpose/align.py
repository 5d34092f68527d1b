"""From the skeletons of a driving video to skeletons that fit the photo: everybody in it, each to their own person.

Modes: `robust` (align_robust) for any photo and video, `official` (align_official) for the published numbers.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .align_official import align_official, official_ratios
from .align_robust import PartRatio, align_robust, anchor_frame, robust_ratios
from .corrections import Corrections, correct
from .draw import OVERSAMPLING, draw_person, shrink
from .pick import main_person
from .poses import BODY, PoseClip, Track
from .skeleton import Aspects

MODES = ("robust", "official")


@dataclass(frozen=True)
class Request:
    """What to do: size is the model's frame (width, height); anchor the driving frame that meets the photo."""

    size: tuple[int, int]
    mode: str = "robust"
    anchor: int = 0
    corrections: Corrections = field(default_factory=Corrections)


class Alignment(NamedTuple):
    """The aligned clip, the frame in which each person meets the photo, the ratios of each person, and remarks."""

    clip: PoseClip
    anchors: list[int]
    tables: list[list[PartRatio]]
    notes: list[str]


def align(photo: PoseClip, clip: PoseClip, request: Request) -> Alignment:
    """Return `clip` aligned to the people of `photo` (of several frames the first), in a frame of `request.size`.

    Raises ValueError for an unknown mode, an anchor outside the clip, a photo or clip without people, or people who
    show no common part of the body.
    """
    _check(photo, clip, request)
    pairs, notes = pair_people(photo, clip, request.anchor)
    aspects = request.size[0] / request.size[1], clip.width / clip.height
    people = [_align_person(person, driver, aspects, request) for person, driver in pairs]
    tracks, anchors, tables = zip(*people, strict=True)
    width, height = request.size
    return Alignment(PoseClip(width, height, clip.frames, tracks), list(anchors), list(tables), notes)


def _check(photo: PoseClip, clip: PoseClip, request: Request) -> None:
    if request.mode not in MODES:
        raise ValueError(f"Unknown alignment '{request.mode}'. Choose one of {', '.join(MODES)}.")
    if not photo.frames or not photo.present[0]:
        raise ValueError(
            "No person was found in the photo, so there is nothing to align to. Take a photo that shows at least head "
            "and shoulders, or another pose detector."
        )
    if not clip.present.any():
        raise ValueError("The driving poses hold no person in any frame. Look at the preview of Extract Poses.")
    if not 0 <= request.anchor < clip.frames:
        raise ValueError(
            f"Anchor frame {request.anchor} does not exist: the driving poses have frames 0 to {clip.frames - 1}."
        )


def pair_people(photo: PoseClip, clip: PoseClip, anchor: int) -> tuple[list[tuple[Track, Track]], list[str]]:
    """Return (person of the photo, driver) for everybody who has a partner, and remarks on those who have none.

    Several people in both go from left to right as they stand in photo and anchor frame; where either has only one
    person, the main person of the other is the partner.
    """
    people = [track for track in photo.tracks if track.present[0]]
    drivers = [track for track in clip.tracks if track.present[anchor:].any()] or list(clip.tracks)
    count = min(len(people), len(drivers))
    people = _chosen(people, photo, count, 0)
    drivers = _chosen(drivers, clip, count, anchor)
    left = {"photo": len(photo.tracks) - count, "driving video": len(clip.tracks) - count}
    notes = [f"{n} more in the {place} left out: nobody to pair with." for place, n in left.items() if n]
    return list(zip(people, drivers, strict=True)), notes


def _chosen(tracks: list[Track], clip: PoseClip, count: int, anchor: int) -> list[Track]:
    """Return the `count` main tracks, from left to right."""
    rest, chosen = list(tracks), []
    while len(chosen) < count:
        main = main_person(clip.with_tracks(rest))
        rest = [track for track in rest if track is not main]
        chosen.append(main)
    return sorted(chosen, key=lambda track: _left_to_right(track, anchor))


def _left_to_right(track: Track, anchor: int) -> float:
    frame = anchor_frame(track, anchor if track.present[anchor:].any() else 0)
    return float(track.points[frame, BODY][track.visible[frame, BODY], 0].mean())


def _align_person(photo: Track, driver: Track, aspects: Aspects, request: Request):
    """Return (aligned track, its anchor frame, its table of ratios)."""
    if request.mode == "official":
        anchor, table = request.anchor, _official_table(photo, driver, aspects, request.anchor)
        aligned = align_official(driver, photo, aspects, anchor)
        _warn_official(table)
    else:
        anchor = anchor_frame(driver, request.anchor)
        table = robust_ratios(photo, driver, aspects, anchor)
        aligned = align_robust(driver, photo, table, aspects, anchor)
    return correct(aligned, request.corrections, aspects[0], anchor), anchor, table


def _official_table(photo: Track, driver: Track, aspects: Aspects, anchor: int) -> list[PartRatio]:
    bodies = photo.points[0, BODY] * (aspects[0], 1), driver.points[anchor, BODY] * (aspects[1], 1)
    ratios = official_ratios(*bodies)
    return [PartRatio(part, math.nan, math.nan, ratio, "as published") for part, ratio in ratios.items()]


def _warn_official(table: list[PartRatio]) -> None:
    wrong = [row.part for row in table if not math.isfinite(row.ratio)]
    if wrong:
        logging.warning("Align Poses: the official alignment scales %s to infinity; use robust.", ", ".join(wrong))


HEADINGS = f"{'part':<11} {'photo':>7} {'video':>7} {'ratio':>6}"


def table_text(tables: Sequence[list[PartRatio]]) -> str:
    """Return the ratios as text: lengths in % of the frame's height, '-' where the part is not seen."""
    blocks = ["\n".join([HEADINGS, *map(_row_text, rows)]) for rows in tables]
    if len(blocks) > 1:
        blocks = [f"Person {number} from the left\n{block}" for number, block in enumerate(blocks, 1)]
    return "\n\n".join(blocks)


def _row_text(row: PartRatio) -> str:
    name = row.part.replace("_", " ")
    return f"{name:<11} {_percent(row.photo):>7} {_percent(row.video):>7} {row.ratio:>6.2f}  {row.reason}"


def _percent(length: float) -> str:
    return f"{length:.1%}" if math.isfinite(length) else "-"


def overlay(photo: np.ndarray, alignment: Alignment, opacity: float = 0.8) -> np.ndarray:
    """Return the photo, uint8 [H, W, 3] RGB, and over it each person's skeleton in their anchor frame."""
    height, width = photo.shape[:2]
    canvas = np.zeros((height * OVERSAMPLING, width * OVERSAMPLING, 3), np.uint8)
    for track, anchor in zip(alignment.clip.tracks, alignment.anchors, strict=True):
        draw_person(canvas, track, anchor)
    skeleton = shrink(canvas)
    cover = opacity * (skeleton.max(axis=2, keepdims=True) > 0)
    return np.rint(photo * (1 - cover) + skeleton * cover).astype(np.uint8)
