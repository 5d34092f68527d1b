"""A shortcut through the first pass of linking: frames in which the same people continue are associated all at once.

The result is that of one frame after the other; the batch ends before the first frame that is not that plain.
Dimensions: F frames, N people in each of them and N tracklets, K joints that can be compared.
"""

from typing import NamedTuple

import numpy as np

from ..poses import FEET
from .tracklets import UNKNOWN_APPEARANCE, Detections, Tracklet, joint_center, motion_cost, size_cost

MOST_PEOPLE = 4  # more are linked frame by frame
SHORTEST, LONGEST = 16, 512  # frames compared at once: more each time, until a batch breaks off


class Batch(NamedTuple):
    """Which of the N detections of each frame continues each tracklet [F, N], and the tracklets after those frames."""

    order: np.ndarray
    velocity: np.ndarray  # [N, 2]
    sizes: np.ndarray  # [N]


def associate_batch(tracklets: list[Tracklet], detections: Detections, near: float, price: float) -> Batch | None:
    """Return how N tracklets, all seen in the frame before, continue in the first of F frames; None if in none of them.

    detections: without appearances, F * N, frames without a gap. near, price: what motion and whole cost must stay
    below.
    """
    count, keypoints = len(tracklets), FEET.stop
    lasts = [tracklet.last for tracklet in tracklets]
    joints = np.concatenate([[last.joints for last in lasts], detections.joints])
    if joints[:, keypoints:].any():
        return None
    points = np.concatenate([[last.points[:keypoints] for last in lasts], detections.points[:, :keypoints]])
    points, joints = points.reshape(-1, count, keypoints, 2), joints[:, :keypoints].reshape(-1, count, keypoints)
    order = _nearest(points, joints)
    rows = np.arange(len(order))[:, None]
    points, joints = points[rows, order], joints[rows, order]
    sizes = detections.sizes.reshape(-1, count)[rows[:-1], order[1:]]
    known, steps = _steps(points, joints)
    velocity, running = _running(tracklets, steps, sizes)
    plain = known & _stay(points, joints, velocity[:-1], sizes, running[:-1], near, price)
    length = len(plain) if plain.all() else int(plain.argmin())
    return Batch(order[1 : length + 1], velocity[length], running[length]) if length else None


def _nearest(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Return [F or fewer, N]: who is nearest to each of the first frame's people, until two would be the same."""
    centers = joint_center(points, joints)
    apart = np.abs(centers[:-1, :, None] - centers[1:, None]).sum(3)  # F, before, now
    order = [list(range(len(points[0])))]
    for nearest in apart.argmin(2).tolist():
        following = [nearest[person] for person in order[-1]]
        if len({*following}) < len(following):
            break
        order.append(following)
    return np.array(order)


def _steps(points: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bool [F], whether all have joints seen twice running, and the median step of those [F, N, 2], else 0."""
    shared = joints[1:] & joints[:-1]
    count = shared.sum(2)
    ordered = np.sort(np.where(shared[..., None], points[1:] - points[:-1], np.inf), axis=2)
    lower, upper = (np.maximum(middle, 0)[..., None, None] for middle in ((count - 1) // 2, count // 2))
    middles = [np.take_along_axis(ordered, middle, 2)[:, :, 0] for middle in (lower, upper)]
    return count.all(1), np.where(count[..., None], (middles[0] + middles[1]) / 2, 0)


def _running(tracklets: list[Tracklet], steps: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the velocities [F + 1, N, 2] and sizes [F + 1, N], as of `Tracklet.add`, before and after each frame."""
    velocity = np.array([[tracklet.velocity for tracklet in tracklets], *np.empty_like(steps)])
    running = np.array([[tracklet.size for tracklet in tracklets], *np.empty_like(sizes)])
    for i, (step, size) in enumerate(zip(steps, sizes, strict=True)):
        velocity[i + 1] = (velocity[i] + step) / 2
        running[i + 1] = 0.8 * running[i] + 0.2 * size
        if i == 0:
            new = [len(tracklet.detections) == 1 for tracklet in tracklets]
            velocity[1, new] = step[new]
    return velocity, running


def _stay(points, joints, velocity, sizes, running, near: float, price: float) -> np.ndarray:
    """Return bool [F]: everybody goes on with their own tracklet, at costs [F, N, N] below all others."""
    shared = joints[1:, :, None] & joints[:-1, None]
    offsets = points[1:, :, None] - (points[:-1] + velocity[:, :, None])[:, None]  # F N N K 2
    offsets *= offsets
    far = np.sqrt(offsets[..., 0] + offsets[..., 1])
    seen = shared.sum(3)
    distance = (far * shared).sum(3) / np.maximum(seen, 1)
    motion = motion_cost(distance, sizes[:, :, None], running[:, None], 1)
    unlike = UNKNOWN_APPEARANCE + size_cost(sizes[:, :, None], running[:, None])
    costs = np.where(motion < near, motion + unlike, np.inf)
    own = np.diagonal(costs, axis1=1, axis2=2)
    others = np.where(np.eye(costs.shape[1], dtype=bool), np.inf, costs)
    return seen.all((1, 2)) & ((own < price) & (own < others.min(2))).all(1)
