"""Read people's joints with BlazePose's landmark network: crop, landmarks to the 134 keypoints, the next region.

Source: MediaPipe modules/pose_landmark, whose graph gives the numbers below. The network knows 33 landmarks of the
body; hands and face beyond eyes, ears and nose stay at the score 0. Differences from MediaPipe: a joint outside the
frame is not seen, and the next region comes from the joints alone.
"""

import math
from typing import NamedTuple

import numpy as np

from ..packages.opencv import import_cv2
from ..poses import BODY, FACE, FEET, HIPS, KEYPOINTS, LEFT_HAND, NECK, RIGHT_HAND, SHOULDERS, VISIBLE_SCORE
from .blazepose_regions import about, crop_side, sigmoid
from .detector import Region

SIDE = 256  # pixels, the network's input
LANDMARKS = 39  # 33 on the body, and six of which two are used here:
MID_HIP, ABOVE_HEAD = 33, 34  # the middle and a point of the circle around the whole body
PERSON = 0.5  # the network's own belief that the crop shows a person, from which on its landmarks count
REACH = 3  # heatmap cells on each side of a landmark that refine its place
TRUSTED = 0.5  # belief of the best of these cells, from which on they do
LEAST = 4  # body joints to be seen, below which a person is not followed
TRUNKS = 1.9  # radius of the circle in trunks; MID_HIP and ABOVE_HEAD say 1.7 to 2.1 in 96 % of frames and photos
FARTHEST = 1.0  # the same in distances of the farthest joint: 0.9 to 1.3
OUTSIDE = 0.3  # joints outside the frame keep this part of their score, which is never enough to be seen

LANDMARK = np.zeros(KEYPOINTS, int)  # which landmark lies at, or next to, each keypoint
LANDMARK[BODY] = [0, 11, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7]
LANDMARK[FEET] = [31, 31, 29, 32, 32, 30]
LANDMARK[FACE], LANDMARK[LEFT_HAND], LANDMARK[RIGHT_HAND] = 0, 15, 16
KNOWN = np.arange(KEYPOINTS) < FEET.stop
KNOWN[[FEET.start + 1, FEET.start + 4]] = False  # the small toes


def crop(frame: np.ndarray, region: Region) -> np.ndarray:
    """Return float32 [3, 256, 256] in 0..1: the square about the region, turned upright, black outside the frame."""
    cv2 = import_cv2()

    turn, center = frame_axes(region)
    middle = np.full(2, SIDE / 2 - 0.5)  # cv2 counts from the centers of the pixels
    matrix = np.column_stack([turn, center - 0.5 - turn @ middle])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(frame, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return image.transpose(2, 0, 1) * np.float32(1 / 255)


def frame_axes(region: Region) -> tuple[np.ndarray, np.ndarray]:
    """Return what one pixel of the crop to the right and down is in the frame, as columns [2, 2], and the center."""
    cos, sin = math.cos(region.angle), math.sin(region.angle)
    turn = np.array([[cos, -sin], [sin, cos]]) * (crop_side(region) / SIDE)
    return turn, np.array([region.x, region.y])


def refined(places: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Return the places [N, K, 2], 0..1 of the crop, moved to the center of mass of the heatmaps [N, K, S, S], logits.

    Source: MediaPipe refine_landmarks_from_heatmap_calculator, with 7 x 7 cells.
    """
    size = heatmaps.shape[-1]
    steps = np.arange(-REACH, REACH + 1)
    cells = np.floor(places * size).astype(int)[..., None] + steps  # [N, K, 2, 7]
    inside = (cells >= 0) & (cells < size)
    x, y = np.clip(cells, 0, size - 1).transpose(2, 0, 1, 3)
    n, k = np.ogrid[: len(places), : places.shape[1]]
    weights = sigmoid(heatmaps[n[..., None, None], k[..., None, None], y[..., :, None], x[..., None, :]])
    weights = weights * (inside[..., 1, :, None] & inside[..., 0, None, :])
    total = weights.sum(axis=(2, 3))
    mass = np.stack([(weights.sum(axis=2) * x).sum(-1), (weights.sum(axis=3) * y).sum(-1)], axis=-1)
    good = (weights.max(axis=(2, 3)) >= TRUSTED)[..., None]
    return np.where(good, mass / np.maximum(total, 1e-9)[..., None] / size, places)


class Landmarks(NamedTuple):
    """Landmarks of N people: points [N, 39, 2] in pixels of the frame, scores [N, 39], belief in a person [N]; 0..1."""

    points: np.ndarray
    scores: np.ndarray
    person: np.ndarray


def read(outputs: list[np.ndarray], regions: list[Region]) -> Landmarks:
    """Return the landmarks in the outputs: landmarks [N, 195], person [N, 1], heatmaps [N, 39, 64, 64]."""
    landmarks, person, heatmaps = outputs
    landmarks = landmarks.reshape(len(regions), LANDMARKS, 5).astype(np.float64)
    places = (refined(landmarks[..., :2] / SIDE, heatmaps) - 0.5) * SIDE
    axes = [frame_axes(region) for region in regions]
    points = [center + place @ turn.T for place, (turn, center) in zip(places, axes, strict=True)]
    visible, present = sigmoid(landmarks[..., 3]), sigmoid(landmarks[..., 4])
    return Landmarks(np.array(points), visible * present, person[:, 0])


def keypoints(found: Landmarks, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points [N, 134, 2] in pixels and scores [N, 134] of people in a frame of that size in pixels.

    The neck is the middle of the shoulders. What BlazePose does not know lies at the nearest known point, with score 0.
    """
    points, scores = found.points[:, LANDMARK], found.scores[:, LANDMARK] * KNOWN
    outside = ((points < 0) | (points > [width, height])).any(axis=2)
    scores = np.where(outside, OUTSIDE * scores, scores) * (found.person >= PERSON)[:, None]
    points[:, NECK] = points[:, SHOULDERS].mean(axis=1)
    scores[:, NECK] = scores[:, SHOULDERS].min(axis=1)
    return points, scores


def circle(found: Landmarks, row: int, score: float) -> Region:
    """Return the region of a person by the landmarks made for it: the middle of the hips, a point above the head."""
    return about(found.points[row, MID_HIP], found.points[row, ABOVE_HEAD], score)


def next_region(points: np.ndarray, scores: np.ndarray) -> Region | None:
    """Return where a person with keypoints [134, 2] and scores [134] is; None if fewer than LEAST joints are seen.

    The landmark network's own circle is about the middle of the hips, leans as the trunk does, and is 1.9 trunks wide
    from its middle; a trunk seen from above or below is short, so the farthest joint must fit in, too.
    """
    if (scores[BODY] >= VISIBLE_SCORE).sum() < LEAST or not scores[SHOULDERS + HIPS].all():
        return None
    hips, shoulders = points[HIPS].mean(axis=0), points[SHOULDERS].mean(axis=0)
    trunk = shoulders - hips
    known = points[: FEET.stop][scores[: FEET.stop] > 0]
    farthest = np.linalg.norm(known - hips, axis=1).max()
    radius = max(TRUNKS * np.linalg.norm(trunk), FARTHEST * farthest)
    return about(hips, hips + trunk * (radius / max(np.linalg.norm(trunk), 1e-9)), float(scores[BODY].mean()))
