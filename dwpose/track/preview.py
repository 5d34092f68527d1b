"""A few small pictures of a long video with the skeletons on them, to check the detection at a glance.

Not the pose frames that the model sees: here each person has a color and the number by which the person is known.
"""

import colorsys

import numpy as np

from ..packages.opencv import import_cv2
from ..poses import BODY, FEET, LEFT_HAND, RIGHT_HAND, VISIBLE_SCORE, PoseClip, Track
from ..skeleton import HAND_EDGES, LIMBS
from .tracklets import person_box

PICTURES, LONG_SIDE = 16, 512
HAND_BONES = np.concatenate([hand.start + HAND_EDGES for hand in (LEFT_HAND, RIGHT_HAND)])
DOTS = (*range(BODY.stop), *range(FEET.start, FEET.stop))
GOLDEN_ANGLE = 0.381966  # of a turn: hues that many apart stay apart


class Preview:
    """Keeps up to `pictures` pictures, evenly spread over a stream of unknown length.

    Every `stride`th frame is kept, shrunk; when there are too many, every second one goes and the stride doubles.
    """

    def __init__(self, pictures: int = PICTURES, long_side: int = LONG_SIDE):
        self.pictures, self.long_side = pictures, long_side
        self.stride, self.kept = 1, {}

    def add(self, index: int, frame: np.ndarray) -> None:
        """Take frame `index`, uint8 [H, W, 3] RGB; the frames must come in order."""
        if index % self.stride:
            return
        if len(self.kept) == self.pictures:
            self.stride *= 2
            self.kept = {i: picture for i, picture in self.kept.items() if i % self.stride == 0}
        if index % self.stride == 0:
            self.kept[index] = _small(frame, self.long_side)

    def draw(self, clip: PoseClip) -> np.ndarray:
        """Return uint8 [N, h, w, 3] RGB: the pictures kept of the frames of `clip`, with its people drawn on them."""
        shown = {index: picture.copy() for index, picture in self.kept.items() if index < clip.frames}
        for index, picture in shown.items():
            for track in clip.tracks:
                if track.present[index]:
                    _draw_person(picture, track, index)
        return np.stack([*shown.values()])


def person_color(identity: int) -> tuple[int, int, int]:
    """Return the RGB color, 0..255, of the person with this number."""
    red, green, blue = colorsys.hsv_to_rgb(identity * GOLDEN_ANGLE % 1, 0.85, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def _small(frame: np.ndarray, long_side: int) -> np.ndarray:
    """Return a copy, so that the frame itself can go."""
    cv2 = import_cv2()

    scale = long_side / max(frame.shape[:2])
    if scale >= 1:
        return frame.copy()
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _draw_person(picture: np.ndarray, track: Track, index: int) -> None:
    cv2 = import_cv2()

    height, width = picture.shape[:2]
    points, scores = track.points[index] * (width, height), track.scores[index]
    seen = (scores >= VISIBLE_SCORE) & (np.abs(points) < 4 * max(width, height)).all(1)
    cells, color = np.rint(np.where(seen[:, None], points, 0)).astype(int), person_color(track.identity)
    for bones, thickness in ((HAND_BONES, 1), (LIMBS, 2)):
        for a, b in bones:
            if seen[a] and seen[b]:
                cv2.line(picture, cells[a].tolist(), cells[b].tolist(), color, thickness, cv2.LINE_AA)
    for joint in DOTS:
        if seen[joint]:
            cv2.circle(picture, cells[joint].tolist(), 3, color, -1, cv2.LINE_AA)
    write_number(picture, track.number, person_box(points, scores), color)


def write_number(picture: np.ndarray, number: int, box: np.ndarray, color: tuple[int, int, int]) -> None:
    """Write the number over the person, in black on a patch of the person's color."""
    cv2 = import_cv2()

    text, scale = str(number), 0.6
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    limit = np.maximum(np.array(picture.shape[1::-1]) - (width + 4, 4), (0, height + 4))
    x, y = np.clip(((box[0] + box[2] - width) / 2, box[1] - 8), (0, height + 4), limit).astype(int).tolist()
    cv2.rectangle(picture, (x - 3, y - height - 4), (x + width + 3, y + below - 1), color, -1)
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 2, cv2.LINE_AA)
