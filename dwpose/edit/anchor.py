"""When and where a dance meets the photo: the anchor frame, and what of the body comes to lie on the photo's there.

The first frame of somebody who walks in shows half a body. Metric coordinates: y in frame heights, x times the aspect.
"""

import math

import numpy as np

from ..poses import LEFT_ANKLE, LEFT_EAR, NECK, NOSE, RIGHT_EYE, Track
from ..skeleton import metric
from .align_robust import ANCHOR_FRAMES
from .proportions import body_sizes

FIRST, WHOLE_BODY = ANCHORS = "first", "whole body"
AT_NECK, AT_HEAD = MEETINGS = "neck", "head"

JOINTS = slice(NOSE, LEFT_ANKLE + 1)  # nose, neck, arms and legs
HEAD = np.r_[NOSE, RIGHT_EYE : LEFT_EAR + 1]
ENOUGH_FRAMES, ENOUGH_FRACTION = 3, 0.25  # frames with the most joints; a fraction of short clips
MISSING_JOINTS = 4  # fewer than in the median frame, from which on the anchor frame deserves a remark
SIZE_CHANGE = 1.5  # times smaller or larger than in the median frame, for the same


def whole_body_frame(driver: Track, aspect: float, first: int) -> int:
    """Return the frame from `first` on, where the person must be seen, with the most complete and most usual body."""
    joints = _joints(driver)
    shown = np.sort(joints[first:][driver.present[first:]])
    whole = _measured(driver, first) & (joints >= shown[-min(ENOUGH_FRAMES, math.ceil(ENOUGH_FRACTION * len(shown)))])
    if driver.visible[whole, NECK].any():
        whole &= driver.visible[:, NECK]
    necks, sizes = metric(driver.points[:, NECK], aspect), body_sizes(driver, aspect)
    known = whole & (sizes > 0)
    if not known.any():
        return int(whole.argmax())
    size = np.median(sizes[known])
    off = np.linalg.norm(necks[known] - np.median(necks[known], axis=0), axis=1) / size
    return int(np.flatnonzero(known)[(off + np.abs(np.log(sizes[known] / size))).argmin()])


def whole_body_note(driver: Track, anchor: int) -> str:
    """Return which frame was chosen, and how much of the body it shows."""
    joints, most = _joints(driver)[anchor], JOINTS.stop - JOINTS.start
    body = "a whole body" if joints == most else f"the most complete body, {joints} of {most} joints,"
    return f"Person {driver.number}: frame {anchor} meets the photo, {body} near the median of the clip."


def anchor_remarks(driver: Track, aspect: float, anchor: int) -> list[str]:
    """Return what speaks against the anchor frame: half a body, or one much smaller or larger than usual."""
    joints, sizes, frames = _joints(driver), body_sizes(driver, aspect), _measured(driver, 0)
    usual = int(np.median(joints[frames]))
    if usual - joints[anchor] >= MISSING_JOINTS:
        found = f"shows {joints[anchor]} joints, {usual} in the median frame"
    else:
        known, near = sizes[frames & (sizes > 0)], sizes[anchor : anchor + ANCHOR_FRAMES]
        near = near[near > 0]
        if not len(known) or not len(near):
            return []
        change = np.median(near) / np.median(known)
        if 1 / SIZE_CHANGE <= change <= SIZE_CHANGE:
            return []
        found = f"is {change:.2g} times as large as in the median frame"
    return [f"Person {driver.number} {found} in frame {anchor}, which meets the photo. Set anchor to '{WHOLE_BODY}'."]


def meet_at_head(aligned: Track, photo: Track, anchor: int) -> Track | None:
    """Return the track moved so that in frame `anchor` the shared head joints lie on the photo's; None without."""
    shared = HEAD[photo.visible[0, HEAD] & aligned.visible[anchor, HEAD]]
    if not len(shared):
        return None
    shift = (photo.points[0, shared] - aligned.points[anchor, shared]).mean(axis=0)
    return Track(aligned.identity, aligned.points + shift, aligned.scores)


def _joints(driver: Track) -> np.ndarray:
    """Return the number of seen joints [F]."""
    return driver.visible[:, JOINTS].sum(axis=1)


def _measured(driver: Track, first: int) -> np.ndarray:
    """Return bool [F]: the frames from `first` on that show the person and do not repeat the frame before."""
    moved = (np.diff(driver.points, axis=0) != 0).any(axis=(1, 2))
    appeared = (np.diff(driver.visible, axis=0) != 0).any(axis=1)
    frames = driver.present.copy()
    frames[first + 1 :] &= (moved | appeared)[first:]
    frames[:first] = False
    return frames
