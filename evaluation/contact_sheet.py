"""A contact sheet of a case: the photo, frames, the ground truth, and where the keypoints are and should be."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from ..dwpose.poses import FACE, KEYPOINTS
from ..media.canvas import BACKGROUND, Canvas
from ..media.clips import sheet_times
from ..media.frames import to_uint8
from ..media.image_layout import beside
from .body_keypoints import Keypoints
from .evaluate import Case
from .fidelity import fitted_ground_truth, fitted_photo
from .frame_batches import unit

TILE = 200  # pixels of a tile's longer side
TARGET, FOUND, APART = (80, 220, 100), (255, 80, 200), (255, 220, 60)
Bones = Sequence[tuple[int, int]]


def contact_sheet(case: Case, bones: Bones = ()) -> np.ndarray:
    """Return uint8 [H, W, 3]: photo and six evenly spaced frames; below them the ground truth and the keypoints.

    Keypoints of the target are green, those found pink, yellow lines join them. bones: pairs of keypoints to join.
    """
    times = sheet_times(len(case.frames))
    frames = [_tile(case.frames[time]) for time in times]
    blank = np.full_like(frames[0], BACKGROUND)
    photo = blank if case.photo is None else _tile(fitted_photo(case.frames, case.photo)[0])
    caption = "no photo" if case.photo is None else "photo"
    rows = [beside([photo, *frames], [caption, *(f"frame {time}" for time in times)])]
    below = {}
    if case.ground_truth is not None:
        known = [time for time in times if time < len(case.ground_truth)]
        tiles = [_tile(fitted_ground_truth(case.frames, case.ground_truth[time : time + 1])[0]) for time in known]
        below["ground truth"] = [*tiles, *(blank for _ in times[len(known) :])]
    if case.poses is not None or case.target is not None:
        below["keypoints"] = [_with_keypoints(case, time, bones) for time in times]
    for name, tiles in below.items():
        rows.append(beside([blank, *tiles], [name, *("" for _ in times)]))
    return np.concatenate(rows)


def _tile(frame: Tensor) -> np.ndarray:
    """Return a frame [H, W, 3] as uint8 with a longer side of 200 pixels."""
    pixels = to_uint8(unit(frame))
    height, width = pixels.shape[:2]
    scale = TILE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def _with_keypoints(case: Case, time: int, bones: Bones) -> np.ndarray:
    frame = _tile(unit(case.frames[time]) / 2)
    canvas = Canvas(*frame.shape[1::-1])
    canvas.paste(frame)
    target, found = (_points(keypoints, time, canvas.size) for keypoints in (case.target, case.poses))
    for joint in target.keys() & found.keys():
        canvas.line([target[joint], found[joint]], APART, 1)
    for points, color in ((target, TARGET), (found, FOUND)):
        for a, b in bones:
            if a in points and b in points:
                canvas.line([points[a], points[b]], color, 1)
        for point in points.values():
            canvas.line([point], color, 1.5)
    return canvas.picture()


def _points(keypoints: Keypoints | None, time: int, size: tuple[int, int]) -> dict[int, tuple[float, float]]:
    """Return the keypoints seen in a frame in pixels of its tile, without the face's."""
    if keypoints is None or time >= len(keypoints.points):
        return {}
    points = keypoints.points[time] * size
    near = keypoints.seen[time] & (np.abs(points) < 4 * max(size)).all(axis=1)
    if len(near) == KEYPOINTS:
        near[FACE] = False
    return {int(joint): tuple(points[joint].tolist()) for joint in np.flatnonzero(near)}
