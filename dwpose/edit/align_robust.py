"""Alignment for the photos and videos that people have: close-ups, side views, folded arms, hidden legs, children.

The published alignment (align_official) measures a single frame. Here the scale compares how large photo and video show
the body; a part's proportion is corrected only as far as the photo truly shows it. The neck (or nose) of the anchor
frame lies on the photo's. The path along which the body moves becomes smaller with the body, not larger, or the dancer
would leave the frame of a close-up. Coordinates are metric: y in frame heights, x times width / height.
"""

import math
from typing import NamedTuple

import numpy as np

from ..poses import BODY, LEFT_HIP, LEFT_SHOULDER, NECK, NOSE, RIGHT_HIP, RIGHT_SHOULDER, Track
from ..skeleton import CHAIN, Aspects, metric, scale_limbs
from .proportions import body_size, canonical, part_lengths, stand_in

# How far a part may differ from the body's scale: people's proportions. Below the lower bound the photo shows the part
# foreshortened, above the upper one it is not what it seems.
LIMITS = {"neck": (0.75, 1.6), "head": (0.75, 1.6)}
LIMB_LIMITS = (0.8, 1.25)
LARGEST_DISPROPORTION = 1.4  # a part that exceeds the body's scale by more proves that the scale is too small
SCALE_FROM = ("torso", "shoulders", "neck", "head", "upper_leg", "upper_arm", "lower_leg", "lower_arm")
ANCHOR_JOINTS = (NECK, NOSE, RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP, *range(BODY.stop))
MEASURED = "measured"
AS_THE_BODY = "body scale used"  # how the reason ends where photo and video give a part no ratio of its own
ANCHOR_FRAMES = 8  # the video's size is the median over this many frames from the anchor on

# Part of the skeleton's chain: the parts whose ratio it takes, where that is not its own.
CHAIN_PARTS = dict.fromkeys(("face_right", "face_left", "face"), ("head",)) | {"hand": ("upper_arm", "lower_arm")}


class PartRatio(NamedTuple):
    """One row of the table: lengths as fractions of the frame height (NaN: not seen), and the ratio that is used."""

    part: str
    photo: float
    video: float
    ratio: float
    reason: str


def robust_ratios(photo: Track, driver: Track, aspects: Aspects, anchor: int) -> list[PartRatio]:
    """Return a row for each part, the first ("body") being the whole's scale; ValueError without a common part."""
    photo_aspect, video_aspect = aspects
    lengths = part_lengths(metric(driver.points, video_aspect), driver.visible)
    size = _around(body_size(lengths), anchor)
    usual = canonical(lengths)
    # As usual in this clip, but never shorter than seen at the anchor.
    seen = {part: _around(length[anchor : anchor + ANCHOR_FRAMES], 0) for part, length in lengths.items()}
    video = {part: float(np.fmax(usual[part] * size, seen[part])) for part in usual}
    shown = part_lengths(metric(photo.points[:1], photo_aspect), photo.visible[:1])
    shown = {part: float(length[0]) for part, length in shown.items()}
    scale, reason = _body_scale({part: _ratio(shown[part], video[part]) for part in video})
    rows = [_part_ratio(part, shown[part], video[part], scale) for part in SCALE_FROM]
    return [PartRatio("body", size * scale, size, scale, reason), *rows]


def _around(values: np.ndarray, anchor: int) -> float:
    """Return the median around the anchor frame; where nothing is known there, of the next frames that know it."""
    for near in (values[anchor : anchor + ANCHOR_FRAMES], values[anchor:], values):
        known = near[np.isfinite(near)][:ANCHOR_FRAMES]
        if len(known):
            return float(np.median(known))
    return math.nan


def _ratio(photo: float, video: float) -> float:
    """Return how much longer a part is in the photo; NaN if the video has no length for it."""
    return photo / video if video else math.nan


def _body_scale(ratios: dict[str, float]) -> tuple[float, str]:
    """Return the body's scale and where it is from: the first known part that no other proves to be foreshortened."""
    known = {part: ratios[part] for part in SCALE_FROM if math.isfinite(ratios[part])}
    if not any(known.values()):
        raise ValueError(
            "Photo and driving video show no common part of the body: no limb is seen in both. Take a photo in which "
            "at least head and shoulders are seen, or another anchor frame."
        )
    first, largest = next(iter(known)), max(known, key=known.__getitem__)
    least = known[largest] / LARGEST_DISPROPORTION
    if known[first] >= least:
        return known[first], f"measured on the {words(first)}"
    return least, f"{words(first)} looks foreshortened in the photo; measured on the {words(largest)}"


def _part_ratio(part: str, photo: float, video: float, scale: float) -> PartRatio:
    low, high = LIMITS.get(part, LIMB_LIMITS)
    proportion = _ratio(photo, video) / scale
    if math.isnan(proportion):
        return PartRatio(part, photo, video, scale, f"not visible in both: {AS_THE_BODY}")
    if proportion < low:
        return PartRatio(part, photo, video, scale, f"looks foreshortened in the photo: {AS_THE_BODY}")
    if proportion > high:
        return PartRatio(part, photo, video, scale * high, f"limited to {high} of the body scale")
    return PartRatio(part, photo, video, photo / video, MEASURED)


def align_robust(driver: Track, photo: Track, rows: list[PartRatio], aspects: Aspects, anchor: int) -> Track:
    """Return `driver` with the proportions of `rows`, its neck at frame `anchor` on the photo's.

    Where either shows no neck, the next joint of ANCHOR_JOINTS that both show. In fractions of the photo's frame.
    """
    photo_aspect, video_aspect = aspects
    used = {row.part: row.ratio for row in rows}
    ratios = {part: float(np.mean([used[p] for p in CHAIN_PARTS.get(part, (part,))])) for _, _, part in CHAIN}
    points = stand_in(metric(driver.points, video_aspect), driver.visible)
    target = stand_in(metric(photo.points[:1], photo_aspect), photo.visible[:1])[0]
    path = points[:, [NECK]]
    moved = scale_limbs(points, ratios) - path + min(1.0, used["body"]) * (path - path[anchor])
    both = photo.visible[0] & driver.visible[anchor]
    joint = next((joint for joint in ANCHOR_JOINTS if both[joint]), NECK)
    return Track(driver.identity, (moved + target[joint] - moved[anchor, joint]) / (photo_aspect, 1), driver.scores)


def anchor_frame(driver: Track, wanted: int) -> int:
    """Return the first frame from `wanted` on that shows the neck, else any joint; ValueError if there is none."""
    for shown in (driver.visible[wanted:, NECK], driver.present[wanted:]):
        if shown.any():
            return wanted + int(np.argmax(shown))
    raise ValueError(
        f"Nobody is seen in the driving poses from frame {wanted} on. Choose an earlier anchor frame or another person."
    )


def words(part: str) -> str:
    """Return the name of a part as text."""
    return part.replace("_", " ")
