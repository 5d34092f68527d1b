"""How far each person turns, frame by frame, as a strip of colors to put below a picture of the poses."""

import numpy as np

from ...media.canvas import BEST, FAINT, GRID, INK, Canvas, Color
from ..poses import PoseClip
from .facing import AWAY, FAR, estimate_facing

SIDE = 45.0  # degrees: from here on a turn is shown, though a wrong face is rare
# From which yaw on a color holds.
GRADES: tuple[tuple[float, Color, str], ...] = (
    (0.0, BEST, "front"),
    (SIDE, (210, 200, 90), f"{SIDE:.0f}"),
    (FAR, (240, 150, 70), f"{FAR:.0f}"),
    (AWAY, (230, 80, 80), f"{AWAY:.0f} and more: wrong face likely"),
)
LEFT, RIGHT, LANE, GAP, FOOT, LETTERS = 90, 12, 18, 4, 26, 14


def draw_facing(clip: PoseClip, width: int = 640) -> np.ndarray:
    """Return uint8 [H, width, 3] RGB: a lane for each person, colored by yaw in every frame, gray where unknown."""
    people = clip.people
    canvas = Canvas(width, GAP + max(1, len(people)) * (LANE + GAP) + FOOT)
    place = np.linspace(LEFT, width - RIGHT, clip.frames + 1)
    for number, track in enumerate(people):
        top = GAP + number * (LANE + GAP)
        canvas.text(LEFT - 8, top + LANE / 2, f"person {track.number}", INK, "rm", LETTERS)
        yaw = estimate_facing(track, clip.width / clip.height).yaw
        for frame, angle in enumerate(yaw):
            canvas.box(place[frame], top, place[frame + 1], top + LANE, yaw_color(float(angle)))
    bottom, left = GAP + max(1, len(people)) * (LANE + GAP), LEFT
    for _, color, name in GRADES:
        canvas.box(left, bottom + 5, left + 12, bottom + 17, color)
        canvas.text(left + 17, bottom + 11, name, FAINT, "lm", LETTERS)
        left += 17 + 8 * len(name) + 14
    return canvas.picture()


def yaw_color(yaw: float) -> Color:
    """Return the color of the highest of GRADES that `yaw` reaches; gray for NaN."""
    reached = [color for least, color, _ in GRADES if yaw >= least]
    return reached[-1] if reached else GRID
