"""A contact sheet of a case: the photo, frames, the true answer, and where the keypoints are and should be."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from ..media.canvas import INK, Canvas
from ..media.frames import to_uint8
from .body_keypoints import FACE, WHOLE_BODY_KEYPOINTS, Keypoints
from .fidelity import fitted_photo
from .measure import Case
from .shared_pieces import unit

TIMES = 6
TILE = 200  # pixels of a tile's longer side
GAP, CAPTION = 8, 22
TARGET, FOUND, APART = (80, 220, 100), (255, 80, 200), (255, 220, 60)
Bones = Sequence[tuple[int, int]]


def contact_sheet(case: Case, bones: Bones = ()) -> np.ndarray:
    """Return uint8 [H, W, 3]: six evenly spaced times as columns; below the frames the true answer and the keypoints.

    Keypoints lie on the frames: those of the target green, those found pink, a yellow line from the one to the other.
    bones: pairs of keypoints to join by lines. The photo, fitted to the frames, stands before them.
    """
    times = sheet_times(len(case.frames))
    rows = [("frames", [_tile(case.frames[t]) for t in times])]
    if case.truth is not None:
        rows.append(("true answer", [_tile(case.truth[t]) if t < len(case.truth) else None for t in times]))
    if case.poses is not None or case.target is not None:
        rows.append(("keypoints", [_with_keypoints(case, t, bones) for t in times]))
    photo = None if case.photo is None else _tile(fitted_photo(case.frames, case.photo)[0])
    return _compose(photo, rows, [f"frame {t}" for t in times])


def sheet_times(frames: int) -> list[int]:
    """Return up to six evenly spaced frames, the first and the last among them."""
    return sorted({round(i * (frames - 1) / (TIMES - 1)) for i in range(TIMES)})


def _compose(photo: Image.Image | None, rows: list, captions: list[str]) -> np.ndarray:
    width, height = rows[0][1][0].size
    left = GAP if photo is None else photo.width + 2 * GAP
    canvas = Canvas(left + len(captions) * (width + GAP), len(rows) * (height + CAPTION + GAP) + GAP)
    places = []
    if photo is not None:
        canvas.text(GAP, GAP, "photo", INK)
        places.append((photo, GAP, GAP + CAPTION))
    for row, (name, tiles) in enumerate(rows):
        top = GAP + row * (height + CAPTION + GAP)
        for column, tile in enumerate(tiles):
            x = left + column * (width + GAP)
            canvas.text(x, top, f"{captions[column]}: {name}" if column == 0 else captions[column], INK)
            places += [(tile, x, top + CAPTION)] * (tile is not None)
    sheet = Image.fromarray(canvas.picture())
    for tile, x, y in places:
        sheet.paste(tile, (x, y))
    return np.asarray(sheet)


def _tile(frame: Tensor) -> Image.Image:
    """Return a frame [H, W, 3] with a longer side of 200 pixels."""
    pixels = to_uint8(unit(frame))
    height, width = pixels.shape[:2]
    scale = TILE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize(size, how)


def _with_keypoints(case: Case, time: int, bones: Bones) -> Image.Image:
    """Return a frame at half its brightness with the keypoints on it."""
    tile = _tile(unit(case.frames[time]) / 2)
    target, found = (_at(keypoints, time, tile.size) for keypoints in (case.target, case.poses))
    canvas = Overlay(tile)
    for joint in target.keys() & found.keys():
        canvas.line([target[joint], found[joint]], APART, 1)
    for points, colour in ((target, TARGET), (found, FOUND)):
        for a, b in bones:
            if a in points and b in points:
                canvas.line([points[a], points[b]], colour, 1)
        for point in points.values():
            canvas.line([point], colour, 1.5)
    return Image.fromarray(canvas.picture())


def _at(keypoints: Keypoints | None, time: int, size: tuple[int, int]) -> dict[int, tuple[float, float]]:
    """Return the keypoints seen in a frame in pixels of its tile, without the face's."""
    if keypoints is None or time >= len(keypoints.points):
        return {}
    seen = keypoints.seen[time].copy()
    if len(seen) == WHOLE_BODY_KEYPOINTS:
        seen[FACE] = False
    points = keypoints.points[time] * size
    near = seen & (np.abs(points) < 4 * max(size)).all(axis=1)
    return {int(joint): tuple(points[joint].tolist()) for joint in np.flatnonzero(near)}


class Overlay(Canvas):
    """A canvas that starts as a picture."""

    def __init__(self, picture: Image.Image):
        super().__init__(*picture.size)
        self._image.paste(picture.resize(self._image.size, Image.Resampling.NEAREST))
