"""How large a body and its parts are, from a skeleton seen under any angle.

Every length in a picture is a lower bound, so sizes are taken where they look largest, left and right together, and
from seen joints only. Coordinates are metric: y in frame heights, x times width / height.
"""

import math
from itertools import chain

import numpy as np

from ..poses import BODY, LEFT_HIP, LEFT_SHOULDER, NECK, NOSE, RIGHT_HIP, RIGHT_SHOULDER, Track
from ..skeleton import CHAIN, LIMB_PATHS, metric

PATHS = LIMB_PATHS | {"head": [(0, 14, 16), (0, 15, 17)]}

# The torso over the part in people whose part is long: the least torso that a seen part proves. Between the
# extremes of adults' segment lengths (Drillis and Contini 1966: torso .288 of the height, upper arm .186, lower arm
# .146, upper leg .245, lower leg .246, shoulders .23) and of children's larger heads.
PROVEN_TORSO = {
    "torso": 1.0,
    "shoulders": 1.1,
    "neck": 1.6,
    "upper_arm": 1.3,
    "lower_arm": 1.6,
    "upper_leg": 1.0,
    "lower_leg": 1.0,
}

# The joints that place an unseen neck, the best last.
STAND_INS = ((RIGHT_HIP, LEFT_HIP), (NOSE,), (RIGHT_SHOULDER, LEFT_SHOULDER))
BEST = 0.875  # quantile: the median of the best quarter, those frames in which a part looks longest
ENOUGH_FRAMES = 5
USUAL_SIZE = 0.25  # of the frame's height, where the body's is unknown


def part_lengths(points: np.ndarray, visible: np.ndarray) -> dict[str, np.ndarray]:
    """Return each part's length [F] from metric points [F, 134, 2]: the longer side's; NaN where none is seen."""
    body, seen = points[:, BODY], visible[:, BODY]
    lengths = {}
    for part, paths in PATHS.items():
        sides = []
        for path in paths:
            length = np.linalg.norm(np.diff(body[:, path], axis=1), axis=2).sum(axis=1)
            sides.append(np.where(seen[:, path].all(axis=1) & (length > 0), length, np.nan))
        lengths[part] = np.fmax.reduce(sides)  # fmax ignores NaN
    hips = (body[:, RIGHT_HIP] + body[:, LEFT_HIP]) / 2
    shown = seen[:, NECK] & seen[:, RIGHT_HIP] & seen[:, LEFT_HIP]
    lengths["torso"] = np.where(shown, np.linalg.norm(body[:, NECK] - hips, axis=1), np.nan)
    return lengths


def body_size(lengths: dict[str, np.ndarray]) -> np.ndarray:
    """Return the length [F] that the torso has at least, judged by every part that is seen; NaN where none is."""
    return np.fmax.reduce([factor * lengths[part] for part, factor in PROVEN_TORSO.items()])


def body_sizes(track: Track, aspect: float) -> np.ndarray:
    """Return the `body_size` [F] of a track in frame heights; aspect: width / height of the frame."""
    return body_size(part_lengths(metric(track.points, aspect), track.visible))


def typical_size(track: Track, aspect: float) -> float:
    """Return the median body size in frame heights, USUAL_SIZE where there is none. aspect: width / height."""
    sizes = body_sizes(track, aspect)
    return USUAL_SIZE if np.isnan(sizes).all() else float(np.nanmedian(sizes)) or USUAL_SIZE


def canonical(lengths: dict[str, np.ndarray]) -> dict[str, float]:
    """Return each part's true length over the body size, from all frames of a clip; NaN for a part never seen.

    Where the torso is seen at its full length only those frames count: elsewhere the body size is a guess.
    """
    size = body_size(lengths)
    upright = lengths["torso"] >= size
    frames = upright if upright.sum() >= ENOUGH_FRAMES else np.isfinite(size)
    with np.errstate(divide="ignore", invalid="ignore"):  # a body of size 0 has no proportions: NaN
        relative = {part: length / size for part, length in lengths.items()}
    usual = {}
    for part, values in relative.items():
        known = np.isfinite(values)
        shown = values[known & frames] if (known & frames).any() else values[known]
        usual[part] = float(np.quantile(shown, BEST)) if len(shown) else math.nan
    return usual


def stand_in(points: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return points in which every unseen joint that carries others lies where its limb can still be scaled about it.

    An unseen neck keeps its offset from shoulders, else nose, else hips, as in the frames that show both; else it goes
    straight to where it is seen again. Every other unseen joint lies on its parent. Unseen points stay unseen.
    """
    points = points.copy()
    for stand_ins in STAND_INS:
        _replace_neck(points, visible, stand_ins)
    placed = np.any(visible[:, [NECK, *chain.from_iterable(STAND_INS)]], axis=1)
    points[:, NECK] = _between(points[:, NECK], placed)
    for children, parent, _ in CHAIN:
        hidden = ~visible[:, children]
        points[:, children] = np.where(hidden[..., None], points[:, [parent]], points[:, children])
    return points


def _replace_neck(points: np.ndarray, visible: np.ndarray, stand_ins: tuple[int, ...]) -> None:
    """Put an unseen neck at the mean of where these joints place it, by their offsets in frames that show both."""
    weights = (visible[:, stand_ins] & ~visible[:, [NECK]]).astype(float)
    usable = weights.any(axis=1)
    necks = []
    for joint in stand_ins:
        both = visible[:, joint] & visible[:, NECK]
        necks.append(points[:, joint] + _between((points[:, NECK] - points[:, joint]) * both.any(), both))
    total = (weights[..., None] * np.stack(necks, axis=1)).sum(axis=1)
    points[usable, NECK] = total[usable] / weights[usable].sum(axis=1, keepdims=True)


def _between(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return values [F, 2] with those of unknown frames on the line between the known ones; as they are if none is."""
    frames = np.flatnonzero(known)
    if not len(frames):
        return values
    return np.stack([np.interp(np.arange(len(values)), frames, column[frames]) for column in values.T], axis=1)
