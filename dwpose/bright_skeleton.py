"""Skeletons over a picture for a person to judge: bright lines with a dark outline, clear on any background.

Not what the model sees (draw.py), but in the same colors, at full brightness and lightened: pure blue is too dark.
"""

import numpy as np

from .draw import COLORS, FAR
from .packages.opencv import import_cv2
from .poses import BODY, LEFT_HAND, RIGHT_HAND, Track
from .skeleton import HAND_EDGES, LIMBS

Color = tuple[int, int, int]  # RGB, 0..255

WHITENESS = 0.3  # part of white in each color
JOINT_COLORS: list[Color] = [
    (round(r + (255 - r) * WHITENESS), round(g + (255 - g) * WHITENESS), round(b + (255 - b) * WHITENESS))
    for r, g, b in COLORS["steadydancer", "joints"]
]
OUTLINE_COLOR = (0, 0, 0)
LINE = 1 / 170  # width of a limb, as a fraction of the picture's longer side
THINNEST = 2  # pixels, of a limb and of its outline
HAND_BONES = np.concatenate([hand.start + HAND_EDGES for hand in (LEFT_HAND, RIGHT_HAND)]).tolist()


def draw_bright(picture: np.ndarray, track: Track, frame: int, color: Color | None = None, scale: float = 1.0) -> None:
    """Draw one person of one frame onto `picture`, uint8 [H, W, 3] RGB, in place.

    color: of all of it; None: each limb has its own. scale: of all widths.
    """
    cv2 = import_cv2()

    height, width = picture.shape[:2]
    pixels = np.rint(np.clip(track.points[frame] * (width, height), -FAR, FAR)).astype(int).tolist()
    seen = track.visible[frame].tolist()
    line = max(THINNEST, round(max(width, height) * LINE * scale))
    outline, thin = line + 2 * max(THINNEST, line // 3), max(1, line // 2)
    colors = JOINT_COLORS if color is None else [color] * BODY.stop
    limbs = [(a, b, colors[i]) for i, (a, b) in enumerate(LIMBS.tolist()) if seen[a] and seen[b]]
    hand_bones = [(a, b) for a, b in HAND_BONES if seen[a] and seen[b]]
    joints = [joint for joint in range(BODY.stop) if seen[joint]]
    for a, b in hand_bones:
        cv2.line(picture, pixels[a], pixels[b], OUTLINE_COLOR, thin + 2, cv2.LINE_AA)
    for a, b, _ in limbs:
        cv2.line(picture, pixels[a], pixels[b], OUTLINE_COLOR, outline, cv2.LINE_AA)
    for joint in joints:
        cv2.circle(picture, pixels[joint], outline * 3 // 4, OUTLINE_COLOR, -1, cv2.LINE_AA)
    for a, b in hand_bones:
        cv2.line(picture, pixels[a], pixels[b], color or JOINT_COLORS[b % BODY.stop], thin, cv2.LINE_AA)
    for a, b, rgb in limbs:
        cv2.line(picture, pixels[a], pixels[b], rgb, line, cv2.LINE_AA)
    for joint in joints:
        cv2.circle(picture, pixels[joint], max(1, line * 3 // 4), colors[joint], -1, cv2.LINE_AA)
