"""Whether it stays the same person: the colours of each part of the body against those in the photo.

Our measure. In every frame the pixels within 0.04 person's heights of a part's keypoints make a colour histogram (8
bins a channel, each pixel shared between its neighbouring bins); a part's likeness is the Bhattacharyya coefficient of
its histogram with the photo's, 1 for the same colours, 0 for none in common; a frame's is the mean over the parts seen
in both. Sampling at keypoints makes it blind to motion. Without keypoints the whole picture is the one part.

With a network that turns pictures into features, it is the cosine of the features of the person's box in a frame and
in the photo.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .body_keypoints import Keypoints, Parts, parts_of, person_height
from .feature_networks import PictureFeatures
from .shared_pieces import pieces

RADIUS = 0.04  # of the person's height
BINS = 8
MOST_PIXELS = 4096  # of a part, evenly taken: more say the same
BOX_MARGIN = 0.2  # of the box's own size, on each side


def identity_by_colour(
    frames: Tensor, photo: Tensor, keypoints: Keypoints | None = None, parts: Parts | None = None
) -> np.ndarray:
    """Return float64 [F], the likeness of each frame's person to the photo's; NaN where no part is seen in both.

    photo: [1, H, W, 3] in the size of the frames, its person where frame 0's is. ValueError if nobody is ever seen.
    """
    if keypoints is None:
        return np.array([_likeness([_histogram(f)], [_histogram(photo[0])]) for _, p in pieces(frames) for f in p])
    aspect = frames.shape[2] / frames.shape[1]
    radius = RADIUS * person_height(keypoints, aspect) * frames.shape[1]
    parts = parts or parts_of(keypoints.points.shape[1])
    reference = _looks(photo[0], keypoints, 0, parts, radius)
    scores = [
        _likeness(_looks(frame, keypoints, start + i, parts, radius), reference)
        for start, piece in pieces(frames)
        for i, frame in enumerate(piece)
    ]
    return np.array(scores)


def identity_by_network(
    frames: Tensor, photo: Tensor, network: PictureFeatures, keypoints: Keypoints | None = None
) -> np.ndarray:
    """Return float64 [F], the cosine of features in -1..1; NaN where nobody is seen in the frame or in frame 0."""
    photographed = _person_picture(photo[0], keypoints, 0, network.size)
    reference = None if photographed is None else network(photographed)
    scores = []
    for start, piece in pieces(frames):
        for i, frame in enumerate(piece):
            picture = _person_picture(frame, keypoints, start + i, network.size)
            known = picture is not None and reference is not None
            scores.append(_cosine(network(picture), reference) if known else np.nan)
    return np.array(scores)


def _looks(frame: Tensor, keypoints: Keypoints, index: int, parts: Parts, radius: float) -> list[Tensor | None]:
    """Return the histogram of each part, None for one that is not seen."""
    height, width = frame.shape[:2]
    points = torch.from_numpy(keypoints.points[index] * (width, height)).double()
    looks = []
    for part in parts.values():
        seen = [joint for joint in part if keypoints.seen[index, joint]]
        pixels = _pixels_near(frame, points[seen], radius)
        looks.append(_histogram(pixels) if len(pixels) else None)
    return looks


def _pixels_near(frame: Tensor, points: Tensor, radius: float) -> Tensor:
    """Return the pixels [N, 3] whose middle lies within `radius` pixels of a point [P, 2]."""
    height, width = frame.shape[:2]
    near = torch.zeros(height, width, dtype=torch.bool, device=frame.device)
    reach, kind = max(radius, 1.0), {"dtype": torch.float64, "device": frame.device}
    for x, y in points.tolist():
        left, right = max(0, int(x - reach)), min(width, int(x + reach) + 2)
        top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 2)
        if left < right and top < bottom:
            across = torch.arange(left, right, **kind) + 0.5 - x
            along = torch.arange(top, bottom, **kind) + 0.5 - y
            near[top:bottom, left:right] |= across**2 + along[:, None] ** 2 <= reach**2
    return frame[near]


def _histogram(pixels: Tensor) -> Tensor:
    """Return float64 [512] that sums to 1, of pixels [..., 3] in 0..1; each counts in the 8 bins around it."""
    pixels = pixels.reshape(-1, 3)
    place = pixels[:: -(-len(pixels) // MOST_PIXELS)].double() * (BINS - 1)
    low = place.floor().clamp(max=BINS - 2)
    part = place - low
    total = torch.zeros(BINS**3, dtype=torch.float64, device=pixels.device)
    for corner in range(8):
        step = low.new_tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = torch.where(step.bool(), part, 1 - part).prod(dim=1)
        bins = ((low + step) @ low.new_tensor([BINS * BINS, BINS, 1])).long()
        total += torch.bincount(bins, weight, BINS**3)
    return total / total.sum()


def _likeness(looks: list[Tensor | None], reference: list[Tensor | None]) -> float:
    pairs = [(a, b) for a, b in zip(looks, reference, strict=True) if a is not None and b is not None]
    return float(np.mean([min(1.0, float((a * b).sqrt().sum())) for a, b in pairs])) if pairs else np.nan


def _person_picture(frame: Tensor, keypoints: Keypoints | None, index: int, size: tuple[int, int]) -> Tensor | None:
    """Return the person's box with a margin as [1, height, width, 3] of `size`, None if nobody is seen."""
    if keypoints is not None:
        if not keypoints.seen[index].any():
            return None
        frame = _cut(frame, keypoints.points[index][keypoints.seen[index]])
    pixels = F.interpolate(frame.movedim(-1, 0)[None], size=size, mode="bilinear", antialias=True)
    return pixels.movedim(1, -1)


def _cut(frame: Tensor, points: np.ndarray) -> Tensor:
    scale = np.array([frame.shape[1], frame.shape[0]])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = BOX_MARGIN * (high - low)
    left, top = np.clip(np.floor((low - margin) * scale), 0, scale - 1).astype(int)
    right, bottom = np.clip(np.ceil((high + margin) * scale), (left + 1, top + 1), scale).astype(int)
    return frame[top:bottom, left:right]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
