"""Single-frame errors of a detector, found and put back on the joint's path.

A measurement is an outlier if its joint rests or follows a smooth path without it. To each measurement's nearest seen
neighbors, four before and four after where there are as many, a polynomial is fitted without the measurement itself.
With y [n, 2] the neighbors' positions relative to the measurement, t their distances in frames, Q [n, p] an orthonormal
basis of the polynomials of p coefficients at these times, and w [n] the weights that evaluate the fit at the
measurement:

    d = |w y|                        how far the measurement lies off its neighbors' path
    s = |y - Q Q' y| / sqrt(n - p)   how much the neighbors disagree on that path
    r = max(mean|t| / 2.5, 1)        how far away they are; 1 for four frames on each side, more at gaps and ends
    f = r sqrt(1 + |w|^2)            how little they prove

d / (s sqrt(1 + |w|^2)) is the studentized deleted residual (Belsley, Kuh and Welsch 1980) with both axes pooled. The
measurement is an outlier if

- d > 4 f s: the frames on both sides agree with each other and with the frames beyond them. A sine of 5 frames reaches
  1.2 instead of 4, a swing whose neighboring frames are at 0.4 of its peak 2.8, an error on a resting joint any number;
- d / f is more than six times that of its neighbors (root mean square, without the largest): they are not off their own
  neighbors' paths as well, as they are where a joint moves too fast for the frame rate;
- d > 0.02 body sizes, or 0.01 frame heights where that is less: below it is jitter, which is for smoothing to remove;
- it is farther than d r / 4 from the parabola through the three frames before or after it: a joint that starts or stops
  abruptly continues one of the two.

Where its score is lower than its neighbors', the first three bounds fall with the ratio of the scores, to half at most.
Outliers near each other hide one another, so each is also tested without one other, and both count if both are found
that way. Two frames in a row that are off together are a movement and stay. Those that stand out most are replaced
first, then the rest is tested again. Lengths are metric: y in frame heights, x times width / height.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..poses import Track
from ..skeleton import metric
from .proportions import typical_size

SIDE = 4  # neighbors on each side; one side makes up for what the other lacks
WINDOW = 2 * SIDE
REACH = 12  # frames; neighbors farther away are no evidence
DEGREE = 5  # of the polynomial, at most; two degrees of freedom are always left
END_DEGREE = 2  # with all neighbors on one side, at most; one more for each on the other side
AMPLIFICATION = 4.0  # |w|^2 at most
USUAL_DISTANCE = 2.5  # mean |t| of four frames on each side
RATIO, NEIGHBORS_RATIO = 4.0, 6.0
BODY_SIZES, FRAME_HEIGHTS = 0.02, 0.01
LEAST_TRUST = 0.5
CONTINUES = 0.25  # of d: nearer than that to one side's parabola, a measurement continues it
ROUNDS = 4
NEGLIGIBLE = 1e-9  # frame heights; keeps the ratio finite on paths without any noise
AT_ONCE = 25_000  # measurements; where all jump about they take 30 MB


class _Measurements(NamedTuple):
    """M seen positions, joint by joint in the order of time. keys: joint * span + frame, so that joints never mix."""

    keys: np.ndarray  # [M], ascending
    frames: np.ndarray  # [M]
    joints: np.ndarray  # [M]
    points: np.ndarray  # [M, 2]
    scores: np.ndarray  # [M]

    def at(self, rows: np.ndarray) -> "_Measurements":
        return _Measurements(*(array[rows] for array in self))


class _Evidence(NamedTuple):
    """What its neighbors say of each of M measurements."""

    offset: np.ndarray  # [M, 2], from the measurement to its neighbors' path
    roughness: np.ndarray  # [M], s; infinite where there are too few neighbors
    remoteness: np.ndarray  # [M], r
    factor: np.ndarray  # [M], f
    trust: np.ndarray  # [M], the measurement's score over the neighbors', 0.5 to 1
    score: np.ndarray  # [M], the neighbors' mean

    @property
    def distance(self) -> np.ndarray:
        return np.linalg.norm(self.offset, axis=1)


def without_outliers(track: Track, measured: np.ndarray, aspect: float) -> tuple[Track, np.ndarray]:
    """Return the track with its outliers on their neighbors' path, itself without any; bool [F, 134]: which they are.

    An outlier gets its neighbors' mean score. measured: bool [F, 134], the points to use. aspect: width / height.
    """
    points, scores, found = metric(track.points, aspect), track.scores.copy(), np.zeros_like(measured)
    least = min(BODY_SIZES * typical_size(track, aspect), FRAME_HEIGHTS)
    step = max(1, AT_ONCE // max(len(measured), 1))
    for start in range(0, measured.shape[1], step):
        part = slice(start, start + step)
        found[:, part] = _find(points[:, part], scores[:, part], measured[:, part], least)
        joints = start + np.flatnonzero(found[:, part].any(axis=0))
        if not len(joints):
            continue
        outliers = _measured(points, scores, found, joints)
        evidence = _examine(outliers, _measured(points, scores, measured & ~found, joints))
        where = outliers.frames, outliers.joints
        found[where] = np.isfinite(evidence.roughness)  # another outlier may have been the last neighbor needed
        points[where] += evidence.offset
        scores[where] = np.where(found[where], evidence.score, outliers.scores)
    points = np.where(found[..., None], points / (aspect, 1), track.points)
    return (replace(track, points=points, scores=scores) if found.any() else track), found


def _find(points, scores, seen, least: float) -> np.ndarray:
    """Return bool [F, K]: the outliers, which are off by at least `least`."""
    from scipy.ndimage import maximum_filter1d

    found, cleared, joints = np.zeros_like(seen), np.zeros_like(seen), np.arange(seen.shape[1])
    for _ in range(ROUNDS):
        here = _measured(points, scores, seen & ~found, joints)
        where = here.frames, here.joints
        ratios = _ratios(here, _off_parabola(points, seen & ~found)[where], least) * ~cleared[where]
        chosen = (ratios > 0) & (ratios >= maximum_filter1d(ratios, 2 * WINDOW + 1))
        joints = np.unique(here.joints[chosen])
        if not len(joints):
            break
        confirmed = chosen.copy()
        confirmed[chosen] = _alone(here.at(chosen), here.at(~chosen & np.isin(here.joints, joints)))
        found[where] |= confirmed
        cleared[where] |= chosen & ~confirmed
        cleared[1:] |= found[:-1]
        cleared[:-1] |= found[1:]
    return found


def _alone(suspects: _Measurements, others: _Measurements) -> np.ndarray:
    """Return bool [M]: the suspects that are much farther off their path than their neighbors among the others."""
    own, theirs = _examine(suspects, others), _examine(others, others)
    squares = np.where(np.isfinite(theirs.roughness), (theirs.distance / theirs.factor) ** 2, np.nan)
    neighbors = _neighbors(suspects.keys, others.keys, 0)
    squares = np.where(neighbors >= 0, squares[neighbors], np.nan)
    count = np.isfinite(squares).sum(axis=1) - 1
    total = np.nansum(squares, axis=1) - np.nan_to_num(squares).max(axis=1)
    usual = np.sqrt(np.where(count > 0, total, np.inf) / np.maximum(count, 1))
    return np.isfinite(own.roughness) & (own.distance / own.factor > own.trust * NEIGHBORS_RATIO * usual)


def _measured(points, scores, seen, joints: np.ndarray) -> _Measurements:
    """Return the seen positions of these joints."""
    rows, frames = np.nonzero(seen.T[joints])
    columns = joints[rows]
    keys = columns * (len(seen) + REACH + 1) + frames
    return _Measurements(keys, frames, columns, points[frames, columns], scores[frames, columns])


def _examine(queries: _Measurements, known: _Measurements, skip: int = 0) -> _Evidence:
    """Return what its neighbors among `known` say of each query; skip: the neighbor to leave out, counted from it."""
    neighbors = _neighbors(queries.keys, known.keys, skip)
    used = neighbors >= 0
    times = np.where(used, known.keys[neighbors] - queries.keys[:, None], 0)
    numbers = times @ (2 * REACH + 1) ** np.arange(WINDOW)  # one for each pattern; sorting rows is ten times slower
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    basis, weights, freedom = (array[which] for array in _polynomials(times[first]))
    away = np.where(used[..., None], known.points[neighbors] - queries.points[:, None], 0)
    disagreement = away - basis @ (basis.transpose(0, 2, 1) @ away)
    roughness = np.sqrt((disagreement**2).sum(axis=(1, 2)) / np.maximum(freedom, 1))
    count = np.maximum(used.sum(axis=1), 1)
    remoteness = np.maximum(np.abs(times).sum(axis=1) / count / USUAL_DISTANCE, 1)
    score = np.where(used, known.scores[neighbors], 0).sum(axis=1) / count
    return _Evidence(
        np.einsum("mn,mnc->mc", weights, away),
        np.where(freedom > 0, roughness, np.inf),
        remoteness,
        remoteness * np.sqrt(1 + (weights**2).sum(axis=1)),
        np.clip(queries.scores / np.where(score > 0, score, 1), LEAST_TRUST, 1),
        score,
    )


def _neighbors(queries: np.ndarray, known: np.ndarray, skip: int) -> np.ndarray:
    """Return the places [M, WINDOW] of each query's neighbors in `known`, -1 where there are fewer; keys ascend."""
    sides = []
    for sign, nearest in ((-1, np.searchsorted(known, queries)), (1, np.searchsorted(known, queries, "right") - 1)):
        steps = np.array([k for k in range(1, WINDOW + 2) if sign * k != skip][:WINDOW])
        places = nearest[:, None] + sign * steps
        inside = (places >= 0) & (places < len(known))
        places = np.where(inside, places, 0)
        sides.append((places, inside & (np.abs(known[places] - queries[:, None]) <= REACH)))
    counts = [usable.sum(axis=1, keepdims=True) for _, usable in sides]
    wanted = [np.arange(WINDOW) < np.maximum(SIDE, WINDOW - other) for other in counts[::-1]]
    usable = np.concatenate([one & few for (_, one), few in zip(sides, wanted, strict=True)], axis=1)
    places = np.where(usable, np.concatenate([places for places, _ in sides], axis=1), -1)
    return np.take_along_axis(places, np.argsort(~usable, axis=1, kind="stable")[:, :WINDOW], axis=1)


def _polynomials(times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Q [P, n, DEGREE + 1], w [P, n] and n - p [P] for P patterns of times [P, n], where 0 is no neighbor."""
    used, count = times != 0, (times != 0).sum(axis=1)
    scaled = times / np.maximum(np.abs(times).max(axis=1, keepdims=True, initial=0), 1)
    basis, weights = np.zeros((*times.shape, DEGREE + 1)), np.zeros(times.shape)
    freedom = np.zeros(len(times), int)
    fewer = np.minimum((times < 0).sum(axis=1), (times > 0).sum(axis=1))
    for degree in range(DEGREE, 0, -1):
        rows = np.flatnonzero((freedom == 0) & (count >= degree + 3) & (fewer >= degree - END_DEGREE))
        powers = scaled[rows, :, None] ** np.arange(degree + 1) * used[rows, :, None]
        q, r = np.linalg.qr(powers)
        at_zero = np.eye(degree + 1, 1)
        w = (q @ np.linalg.solve(r.transpose(0, 2, 1), np.broadcast_to(at_zero, (len(rows), *at_zero.shape))))[..., 0]
        steady = (w**2).sum(axis=1) <= AMPLIFICATION
        chosen = rows[steady]
        basis[chosen, :, : degree + 1], weights[chosen] = q[steady], w[steady]
        freedom[chosen] = count[chosen] - degree - 1
    return basis, weights, freedom


def _off_parabola(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return [F, K]: the distance from the parabola of the three frames before or after, whichever is nearer."""
    padded = np.pad(np.where(seen[..., None], points, np.nan), ((3, 3), (0, 0), (0, 0)), constant_values=np.nan)
    distances = []
    for way in (-1, 1):
        first, second, third = (np.roll(padded, -way * k, axis=0)[3:-3] for k in (1, 2, 3))
        distances.append(np.linalg.norm(points - (3 * first - 3 * second + third), axis=-1))
    return np.nan_to_num(np.fmin(*distances), nan=np.inf)


def _ratios(here: _Measurements, off_parabola: np.ndarray, least: float) -> np.ndarray:
    """Return d / (f s) [M] of those that are off their neighbors' paths, alone or together with one other; else 0."""
    places, suspects = np.arange(len(here.keys)), np.flatnonzero(_bends(here) > LEAST_TRUST * least)
    ratios = np.zeros(len(places))
    ratios[suspects] = _ratio(_examine(here.at(suspects), here), off_parabola[suspects], least)
    without = {}
    for skip in (*range(-SIDE, 0), *range(1, SIDE + 1)):
        partners = np.clip(suspects + skip, 0, len(places) - 1)
        rows = suspects[np.abs(here.keys[partners] - here.keys[suspects]) > 1]
        without[skip] = np.zeros(len(places))
        without[skip][rows] = _ratio(_examine(here.at(rows), here, skip), off_parabola[rows], least)
    for skip, ratio in without.items():
        partners = np.clip(places + skip, 0, len(places) - 1)
        ratios = np.maximum(ratios, np.minimum(ratio, without[-skip][partners]))
    return ratios


def _bends(here: _Measurements) -> np.ndarray:
    """Return [M]: the distance from the line between the neighbors before and after; infinite for the outermost."""
    keys, points, bends = here.keys, here.points, np.full(len(here.keys), np.inf)
    late = (keys[1:-1] - keys[:-2]) / (keys[2:] - keys[:-2])
    line = points[:-2] + late[:, None] * (points[2:] - points[:-2])
    inner = here.joints[2:] == here.joints[:-2]
    bends[1:-1] = np.where(inner, np.linalg.norm(points[1:-1] - line, axis=1), np.inf)
    return bends


def _ratio(evidence: _Evidence, off_parabola: np.ndarray, least: float) -> np.ndarray:
    error = np.maximum(evidence.factor * evidence.roughness, NEGLIGIBLE)
    off = evidence.distance > evidence.trust * np.maximum(RATIO * error, least)
    abrupt = off_parabola >= CONTINUES * evidence.remoteness * evidence.distance
    return np.where(off & abrupt, evidence.distance / error, 0)
