"""Boxes (left, top, right, bottom in pixels): how much they overlap, and which of several of one thing to keep."""

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return [N, M]: the intersection over union of boxes [N, 4] and [M, 4]; 0 for NaN and for boxes without area."""
    a, b = boxes[:, None], others[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(-1)
    union = sum((box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)) - common
    return np.nan_to_num(common / np.where(union > 0, union, np.inf))


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Return the indices of the boxes [K, 4] that overlap no better one by more than `limit`, best score first."""
    order = np.argsort(-scores, kind="stable")
    overlapping = overlaps(boxes[order], boxes[order]) > limit
    kept: list[int] = []
    for i in range(len(order)):
        if not overlapping[i, kept].any():
            kept.append(i)
    return order[kept]


def around(center: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the boxes [..., 4] of a size [..., 2] about centers [..., 2]."""
    return np.concatenate([center - size / 2, center + size / 2], axis=-1)
