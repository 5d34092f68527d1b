"""Time around the networks for one frame of 720x1280 with one person, and of drawing one skeleton frame of 2016x1152.

Left out: the networks themselves and reading the video. What the networks would answer is made up.
"""

import json
import statistics
import sys

import cv2
import numpy as np

from benchmarks.harness import timed
from steadydancer_pack.comfy_client.in_process import PACK
from steadydancer_pack.dwpose.detect import simcc, wholebody, yolox
from steadydancer_pack.dwpose.draw import draw_person
from steadydancer_pack.dwpose.poses import BODY, LEFT_HAND, RIGHT_HAND, PoseClip, Track

WIDTH, HEIGHT, ROUNDS = 720, 1280, 100
NETWORK, CROP = (640, 640), (288, 384)
DRAWN_WIDTH, DRAWN_HEIGHT = 2016, 1152
TARGET_MS = 5.0  # of all stages but drawing


def made_up_answers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return YOLOX's rows with a person in many cells and noise in the others, and both SimCC outputs."""
    rng = np.random.default_rng(0)
    rows = np.zeros((1, 8400, 85), np.float32)
    rows[0, :, 4:] = rng.uniform(0, 0.02, (8400, 81))
    for stride, first, columns in ((8, 0, 80), (16, 6400, 40), (32, 8000, 20)):
        for row, column in np.ndindex(5, 5):
            x, y = 180 // stride + column - 2, 330 // stride + row - 2
            cell = rows[0, first + y * columns + x]
            cell[:4] = (180 / stride - x, 330 / stride - y, np.log(130 / stride), np.log(420 / stride))
            cell[4:6] = rng.uniform(0.6, 0.95, 2)
            cell[6:10] = 0.3
    x, y = (rng.normal(0, 0.01, (1, 133, bins)).astype(np.float32) for bins in (576, 768))
    for keypoint in range(133):
        x[0, keypoint, rng.integers(576)], y[0, keypoint, rng.integers(768)] = rng.uniform(0.4, 0.9, 2)
    return rows, x, y


def golden_clip() -> PoseClip:
    cases = json.loads((PACK / "tests" / "golden" / "pose_cases.json").read_text("utf-8"))
    poses = cases["landscape_reference"]["aligned_poses"]
    points, scores = np.zeros((len(poses), 134, 2)), np.zeros((len(poses), 134))
    for frame, pose in enumerate(poses):
        for keypoints, values in ((BODY, pose["body"]), (LEFT_HAND, pose["hands"][0]), (RIGHT_HAND, pose["hands"][1])):
            points[frame, keypoints], scores[frame, keypoints] = values, 1
    return PoseClip(DRAWN_WIDTH, DRAWN_HEIGHT, len(poses), (Track(1, points, scores),))


def draw_all(clip: PoseClip) -> None:
    """Draw the frames one over the other."""
    canvas = np.zeros((DRAWN_HEIGHT, DRAWN_WIDTH, 3), np.uint8)
    for frame in range(clip.frames):
        draw_person(canvas, clip.tracks[0], frame)


def one_frame(frame: np.ndarray, grid: tuple, answers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[str, float]:
    """Return the milliseconds of each stage around the networks."""
    rows, x, y = answers

    def find_people():
        boxes, scores = yolox.decode(rows[0], *grid)
        return yolox.people(boxes / ratio, scores)[:1]

    def cut():
        crops = simcc.place(people, CROP[0] / CROP[1])
        simcc.cut(frame, crops, *CROP, bgr=False)
        return crops

    def decode():
        points, scores = simcc.decode(x, y)
        wholebody.to_openpose(simcc.to_frame(points, crops, *CROP), scores)

    letterbox, (_, ratio) = timed(lambda: yolox.letterbox(frame, *NETWORK, bgr=True))
    boxes, people = timed(find_people)
    crop, crops = timed(cut)
    keypoints, _ = timed(decode)
    seconds = {"letterbox": letterbox, "boxes": boxes, "crop": crop, "keypoints": keypoints}
    return {name: 1000 * value for name, value in seconds.items()}


def main() -> None:
    frame = cv2.resize(np.random.default_rng(1).integers(0, 256, (40, 24, 3), np.uint8), (WIDTH, HEIGHT))
    grid, answers, clip = yolox.grid(*NETWORK), made_up_answers(), golden_clip()
    rounds = [one_frame(frame, grid, answers) for _ in range(ROUNDS)]
    medians = {name: statistics.median(times[name] for times in rounds) for name in rounds[0]}
    total = sum(medians.values())
    drawing, _ = timed(lambda: draw_all(clip))
    medians["drawing"] = 1000 * drawing / clip.frames
    lines = [f"{name:12}{ms:8.2f} ms" for name, ms in medians.items()]
    lines.append(f"without drawing {total:.2f} ms, target {TARGET_MS}: {'met' if total <= TARGET_MS else 'missed'}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
