"""From the skeletons of a driving video to skeletons that fit the photo: everybody in it, each to their own person.

Modes: `robust` (align_robust) for any photo and video, `official` (align_official) for the published numbers.
"""

import math
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..bright_skeleton import draw_bright
from ..poses import PoseClip, Track
from ..skeleton import Aspects
from .align_official import align_official, ratios_at
from .align_robust import AS_THE_BODY, MEASURED, PartRatio, align_robust, anchor_frame, robust_ratios, words
from .anchor import (
    ANCHORS,
    AT_HEAD,
    AT_NECK,
    FIRST,
    MEETINGS,
    WHOLE_BODY,
    anchor_remarks,
    meet_at_head,
    whole_body_frame,
    whole_body_note,
)
from .corrections import Corrections, correct
from .pairing import Pair, check_people, pair_people

MODES = ("robust", "official")
AS_PUBLISHED = "as published"


@dataclass(frozen=True)
class Request:
    """What to do. size: the model's frame (width, height); anchor: the driving frame that meets the photo.

    anchor_rule: one of ANCHORS; "whole body" takes the best frame from the anchor on. meet_at: one of MEETINGS.
    """

    size: tuple[int, int]
    mode: str = "robust"
    anchor: int = 0
    corrections: Corrections = field(default_factory=Corrections)
    anchor_rule: str = FIRST
    meet_at: str = AT_NECK


AlignedPerson = tuple[Track, int, list[PartRatio], list[str]]  # anchor frame, ratios, remarks


class Alignment(NamedTuple):
    """The aligned clip, the frame in which each person meets the photo, the ratios of each person, and remarks.

    uncorrected: the clip before the corrections; it holds the very same tracks if there are none.
    """

    clip: PoseClip
    anchors: list[int]
    tables: list[list[PartRatio]]
    notes: list[str]
    uncorrected: PoseClip


def align(photo: PoseClip, clip: PoseClip, request: Request) -> Alignment:
    """Return `clip` aligned to the people of `photo` (of several frames the first), in a frame of `request.size`.

    Of several people those who cannot be aligned are left out, with a remark. Raises ValueError for an unknown mode, an
    anchor outside the clip, or where nobody can be aligned: see `_align_person`.
    """
    choices = (
        ("alignment", request.mode, MODES),
        ("anchor", request.anchor_rule, ANCHORS),
        ("place to meet", request.meet_at, MEETINGS),
    )
    for what, value, known in choices:
        if value not in known:
            raise ValueError(f"Unknown {what} '{value}'. Choose one of {', '.join(known)}.")
    check_people(photo, clip)
    if not 0 <= request.anchor < clip.frames:
        raise ValueError(
            f"Anchor frame {request.anchor} does not exist: the driving poses have frames 0 to {clip.frames - 1}."
        )
    pairs, notes = pair_people(photo, clip, request.anchor)
    aspects = request.size[0] / request.size[1], clip.width / clip.height
    people, left_out = _align_people(pairs, aspects, request)
    tracks, anchors, tables, remarks = zip(*people, strict=True)
    notes += [*left_out, *chain.from_iterable(remarks)]
    corrected = [
        correct(track, request.corrections, aspects[0], anchor) for track, anchor in zip(tracks, anchors, strict=True)
    ]
    aligned, uncorrected = (PoseClip(*request.size, clip.frames, tuple(group)) for group in (corrected, tracks))
    return Alignment(aligned, list(anchors), list(tables), notes, uncorrected)


def _align_people(pairs: list[Pair], aspects: Aspects, request: Request) -> tuple[list[AlignedPerson], list[str]]:
    """Return those who can be aligned, and why each other is left out; ValueError if that is everybody."""
    people, left_out = [], []
    for photo, driver in pairs:
        try:
            people.append(_align_person(photo, driver, aspects, request))
        except ValueError as error:
            if len(pairs) == 1:
                raise
            left_out.append(f"Person {driver.number} left out. {error}")
    if not people:
        raise ValueError("\n".join(left_out))
    return people, left_out


def _align_person(photo: Track, driver: Track, aspects: Aspects, request: Request) -> AlignedPerson:
    """Return one person aligned, uncorrected; ValueError without a common part, or with nobody in the anchor frame."""
    anchor = request.anchor
    if request.mode != "official" or request.anchor_rule != FIRST:
        anchor = anchor_frame(driver, anchor)
    if request.anchor_rule != FIRST:
        anchor = whole_body_frame(driver, aspects[1], request.anchor)
    if request.mode == "official":
        table = _official_table(photo, driver, aspects, anchor)
        aligned = align_official(driver, photo, aspects, anchor)
    else:
        table = robust_ratios(photo, driver, aspects, anchor)
        aligned = align_robust(driver, photo, table, aspects, anchor)
    notes = _anchor_notes(driver, aspects[1], anchor, request)
    infinite = ", ".join(words(row.part) for row in table if not math.isfinite(row.ratio))
    if infinite:
        notes.append(f"Person {driver.number}: official alignment scales {infinite} to infinity. Use robust.")
    if request.meet_at == AT_HEAD:
        heads = meet_at_head(aligned, photo, anchor)
        if heads is None:
            hidden = f"no joint of the head is seen in both photo and frame {anchor}"
            notes.append(f"Person {driver.number}: {hidden}, so they meet as with '{AT_NECK}'.")
        aligned = heads or aligned
    return aligned, anchor, table, notes


def _official_table(photo: Track, driver: Track, aspects: Aspects, anchor: int) -> list[PartRatio]:
    if not driver.present[anchor]:
        raise ValueError(
            f"Person {driver.number} is not seen in frame {anchor} of the driving poses, and official alignment looks "
            f"at no other. Set anchor to '{WHOLE_BODY}' or mode to robust. In Align Poses another anchor_frame will do."
        )
    ratios = ratios_at(photo, driver, aspects, anchor)
    return [PartRatio(part, math.nan, math.nan, ratio, AS_PUBLISHED) for part, ratio in ratios.items()]


def _anchor_notes(driver: Track, aspect: float, anchor: int, request: Request) -> list[str]:
    """Return what the user should know of the frame that meets the photo."""
    if request.anchor_rule != FIRST:
        return [whole_body_note(driver, anchor)]
    notes = anchor_remarks(driver, aspect, anchor)
    if anchor != request.anchor:
        moved = f"shows no neck in frame {request.anchor}: frame {anchor} meets the photo instead."
        notes.insert(0, f"Person {driver.number} {moved}")
    return notes


COLUMNS = ("part", "photo", "video", "ratio")


def report_text(alignment: Alignment) -> str:
    """Return the ratios of each person, lengths in % of the frame's height, '-' where not seen; then the remarks."""
    blocks = []
    for track, rows in zip(alignment.clip.tracks, alignment.tables, strict=True):
        lines = [_columns(*COLUMNS), *(f"{_columns(*row_cells(row))}  {row.reason}" for row in rows)]
        if len(alignment.tables) > 1:
            lines.insert(0, f"Person {track.number}")
        blocks.append("\n".join(lines))
    if alignment.notes:
        blocks.append("\n".join(alignment.notes))
    return "\n\n".join(blocks)


def remarks_text(alignment: Alignment) -> str:
    """Return where each ratio is from that was not measured; then the remarks."""
    lines = []
    for track, rows in zip(alignment.clip.tracks, alignment.tables, strict=True):
        whose = f"Person {track.number}, " if len(alignment.tables) > 1 else ""
        unmeasured = [row for row in rows if row.reason not in (MEASURED, AS_PUBLISHED)]
        lines += [f"{whose}{words(row.part)}: {row.reason}" for row in unmeasured]
    return "\n".join([*lines, *alignment.notes])


def row_cells(row: PartRatio) -> tuple[str, str, str, str]:
    """Return a row as text for COLUMNS: the part, its lengths in % of the frame's height, '-' where not seen, ratio."""
    return words(row.part), _percent(row.photo), _percent(row.video), f"{row.ratio:.2f}"


def follows_body(row: PartRatio) -> bool:
    """Return whether the part has no ratio of its own and takes the body's."""
    return row.reason.endswith(AS_THE_BODY)


def _columns(part: str, photo: str, video: str, ratio: str) -> str:
    return f"{part:<11} {photo:>7} {video:>7} {ratio:>6}"


def _percent(length: float) -> str:
    return f"{length:.1%}" if math.isfinite(length) else "-"


def overlay(photo: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Return the photo, uint8 [H, W, 3] RGB, and over it each person's skeleton in their anchor frame."""
    picture = photo.copy()
    for track, anchor in zip(alignment.clip.tracks, alignment.anchors, strict=True):
        draw_bright(picture, track, anchor)
    return picture
