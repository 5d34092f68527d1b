"""Time to draw one skeleton frame at 2016x1152 (width x height), against drawing and then dimming the whole canvas.

Run in the project's folder: python -m benchmarks.pose_drawing
"""

import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from steadydancer_pack.dwpose import skeleton
from steadydancer_pack.dwpose.draw import draw_large
from steadydancer_pack.dwpose.poses import BODY, LEFT_HAND, RIGHT_HAND, PoseClip, Track

PACK = Path(__file__).resolve().parent.parent
CASES = PACK / "tests" / "golden" / "pose_cases.json"
HEIGHT, WIDTH, ROUNDS = 1152, 2016, 20


def people() -> PoseClip:
    """Return the aligned poses of the golden case of that size."""
    poses = json.loads(CASES.read_text("utf-8"))["landscape_reference"]["aligned_poses"]
    points, scores = np.zeros((len(poses), 134, 2)), np.zeros((len(poses), 134))
    for frame, pose in enumerate(poses):
        for keypoints, values in ((BODY, pose["body"]), (LEFT_HAND, pose["hands"][0]), (RIGHT_HAND, pose["hands"][1])):
            points[frame, keypoints], scores[frame, keypoints] = values, 1
    return PoseClip(WIDTH, HEIGHT, len(poses), (Track(1, points, scores),))


def draw_and_dim(track: Track, frame: int) -> np.ndarray:
    """Draw in the published order: bright limbs, every pixel times 0.6, joints and hands, colours exchanged."""
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels = track.points[frame] * (WIDTH, HEIGHT)
    for (start, end), colour in zip(skeleton.LIMBS, skeleton.JOINT_COLOURS, strict=False):
        (x, y), (dx, dy) = (pixels[start] + pixels[end]) / 2, pixels[start] - pixels[end]
        axes, angle = (int(math.hypot(dx, dy) / 2), 4), int(math.degrees(math.atan2(dy, dx)))
        cv2.fillConvexPoly(canvas, cv2.ellipse2Poly((int(x), int(y)), axes, angle, 0, 360, 1), colour.tolist())
    canvas = (canvas * skeleton.LIMB_BRIGHTNESS).astype(np.uint8)
    for joint, colour in enumerate(skeleton.JOINT_COLOURS):
        cv2.circle(canvas, tuple(map(int, pixels[joint])), 4, colour.tolist(), -1)
    for hand in (LEFT_HAND, RIGHT_HAND):
        points = [tuple(map(int, point)) for point in pixels[hand]]
        for (start, end), colour in zip(skeleton.HAND_EDGES, skeleton.HAND_COLOURS, strict=True):
            cv2.line(canvas, points[start], points[end], colour, 2)
        for point in points:
            cv2.circle(canvas, point, 4, skeleton.HAND_JOINT_COLOUR, -1)
    return cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)


def median_ms(pictures: Iterator) -> float:
    """Return the median time in which the iterator makes its next picture."""
    times, start = [], time.perf_counter()
    for _ in pictures:
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return statistics.median(times) * 1000


def main() -> None:
    clip = people()
    for (canvas, _), frame in zip(draw_large(clip, WIDTH, HEIGHT), range(clip.frames), strict=True):
        if not np.array_equal(canvas, draw_and_dim(clip.tracks[0], frame)):
            raise SystemExit(f"The two ways draw different pictures of frame {frame}.")
    slow, fast = [], []
    for _ in range(ROUNDS):
        slow.append(median_ms(draw_and_dim(clip.tracks[0], frame) for frame in range(clip.frames)))
        fast.append(median_ms(draw_large(clip, WIDTH, HEIGHT)))
    slow, fast = statistics.median(slow), statistics.median(fast)
    sys.stdout.write(f"draw, then dim everything: {slow:.2f} ms\ndraw dim: {fast:.2f} ms\nratio: {slow / fast:.1f}\n")


if __name__ == "__main__":
    main()
