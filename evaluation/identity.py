"""Whether it stays the same person: the colors of each part of the body against those in the photo.

Our metric. In every frame the pixels within 0.04 person's heights of a part's keypoints make a color histogram (8 bins
per channel, each pixel shared between its neighboring bins); a part's similarity is the Bhattacharyya coefficient of
its histogram with the photo's, 1 for the same colors, 0 for none in common; a frame's is the mean over the parts seen
in both. Sampling at keypoints makes it blind to motion. Without keypoints the whole picture is the one part.

With a network that turns pictures into features, it is the cosine of the features of the person's box in a frame and
in the photo.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .body_keypoints import Keypoints, Parts, parts_of, person_height
from .feature_networks import PictureFeatures
from .frame_batches import each_frame

RADIUS = 0.04  # of the person's height
BINS = 8
MAX_PIXELS = 4096  # of a part, evenly taken: more say the same
BOX_MARGIN = 0.2  # of the box's own size, on each side


def identity_by_color(
    frames: Tensor, photo: Tensor, keypoints: Keypoints | None = None, parts: Parts | None = None
) -> np.ndarray:
    """Return float64 [F], the similarity of each frame's person to the photo's; NaN where no part is seen in both.

    photo: [1, H, W, 3] in the size of the frames, its person where frame 0's is. ValueError if nobody is ever seen.
    """
    if keypoints is None:
        whole = [_histogram(photo[0])]
        return np.array([_similarity([_histogram(frame)], whole) for frame in each_frame(frames)])
    aspect = frames.shape[2] / frames.shape[1]
    radius = RADIUS * person_height(keypoints, aspect) * frames.shape[1]
    parts = parts or parts_of(keypoints.points.shape[1])
    reference = _histograms(photo[0], keypoints, 0, parts, radius)
    scores = [
        _similarity(_histograms(frame, keypoints, index, parts, radius), reference)
        for index, frame in enumerate(each_frame(frames))
    ]
    return np.array(scores)


def identity_by_network(
    frames: Tensor, photo: Tensor, network: PictureFeatures, keypoints: Keypoints | None = None
) -> np.ndarray:
    """Return float64 [F], the cosine of features in -1..1; NaN where nobody is seen in the frame or in frame 0."""
    scores = np.full(len(frames), np.nan)
    photographed = _person_picture(photo[0], keypoints, 0, network.size)
    if photographed is None:
        return scores
    reference = network(photographed)
    for index, frame in enumerate(each_frame(frames)):
        picture = _person_picture(frame, keypoints, index, network.size)
        if picture is not None:
            found = network(picture)
            lengths = float(np.linalg.norm(found) * np.linalg.norm(reference))
            scores[index] = float((found * reference).sum() / max(lengths, 1e-12))
    return scores


def _histograms(frame: Tensor, keypoints: Keypoints, index: int, parts: Parts, radius: float) -> list[Tensor | None]:
    height, width = frame.shape[:2]
    points = torch.from_numpy(keypoints.points[index] * (width, height)).double()
    histograms = []
    for part in parts.values():
        seen = [joint for joint in part if keypoints.seen[index, joint]]
        pixels = _pixels_near(frame, points[seen], radius)
        histograms.append(_histogram(pixels) if len(pixels) else None)
    return histograms


def _pixels_near(frame: Tensor, points: Tensor, radius: float) -> Tensor:
    """Return the pixels [N, 3] whose center lies within `radius` pixels of a point [P, 2]."""
    height, width = frame.shape[:2]
    near = torch.zeros(height, width, dtype=torch.bool, device=frame.device)
    columns, rows = (torch.arange(side, dtype=torch.float64, device=frame.device) + 0.5 for side in (width, height))
    reach = max(radius, 1.0)
    for x, y in points.tolist():
        across = slice(max(0, int(x - reach)), max(0, int(x + reach) + 2))
        along = slice(max(0, int(y - reach)), max(0, int(y + reach) + 2))
        near[along, across] |= (columns[across] - x) ** 2 + (rows[along, None] - y) ** 2 <= reach**2
    return frame[near]


def _histogram(pixels: Tensor) -> Tensor:
    """Return float64 [512] that sums to 1, of pixels [..., 3] in 0..1; each counts in the 8 bins around it."""
    pixels = pixels.reshape(-1, 3)
    place = pixels[:: -(-len(pixels) // MAX_PIXELS)].double() * (BINS - 1)
    low = place.floor().clamp(max=BINS - 2)
    part = place - low
    total = torch.zeros(BINS**3, dtype=torch.float64, device=pixels.device)
    for corner in range(8):
        step = low.new_tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = torch.where(step.bool(), part, 1 - part).prod(dim=1)
        bins = ((low + step) @ low.new_tensor([BINS * BINS, BINS, 1])).long()
        total += torch.bincount(bins, weight, BINS**3)
    return total / total.sum()


def _similarity(found: Sequence[Tensor | None], reference: Sequence[Tensor | None]) -> float:
    pairs = [(a, b) for a, b in zip(found, reference, strict=True) if a is not None and b is not None]
    return float(np.mean([min(1.0, float((a * b).sqrt().sum())) for a, b in pairs])) if pairs else np.nan


def _person_picture(frame: Tensor, keypoints: Keypoints | None, index: int, size: tuple[int, int]) -> Tensor | None:
    """Return the person's box with a margin as [1, height, width, 3] of `size`, None if nobody is seen."""
    if keypoints is not None:
        points = keypoints.points[index][keypoints.seen[index]]
        if not len(points):
            return None
        scale = np.array([frame.shape[1], frame.shape[0]])
        low, high = points.min(axis=0), points.max(axis=0)
        margin = BOX_MARGIN * (high - low)
        left, top = np.clip(np.floor((low - margin) * scale), 0, scale - 1).astype(int)
        right, bottom = np.clip(np.ceil((high + margin) * scale), (left + 1, top + 1), scale).astype(int)
        frame = frame[top:bottom, left:right]
    pixels = F.interpolate(frame.movedim(-1, 0)[None], size=size, mode="bilinear", antialias=True)
    return pixels.movedim(1, -1)
