"""Time around the networks for one frame of 720x1280 with one person, against the usual plain way of the same steps.

Left out on both sides: the networks themselves, reading the video, drawing. What the networks would answer is made up.
Run in the project's folder: python -m benchmarks.pose_processing
"""

import statistics
import sys
import time
from collections.abc import Callable

import cv2
import numpy as np

from steadydancer_pack.dwpose.detect import simcc, wholebody, yolox
from steadydancer_pack.dwpose.detect.simcc import MEAN, STD

WIDTH, HEIGHT, ROUNDS = 720, 1280, 100
NETWORK, CROP = (640, 640), (288, 384)
STAGES = ("letterbox", "boxes", "crop", "keypoints")
TARGET_MS = 5.0


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


class Ours:
    """The pack's own functions, with the grid kept between frames."""

    def __init__(self):
        self.grid = yolox.grid(*NETWORK)

    def letterbox(self, frame):
        return yolox.letterbox(frame, *NETWORK, bgr=True)

    def boxes(self, rows, ratio):
        boxes, scores = yolox.decode(rows[0], *self.grid)
        return yolox.people(boxes / ratio, scores)[:1]

    def crop(self, frame, people):
        self.crops = simcc.place(people, CROP[0] / CROP[1])
        return simcc.cut(frame, self.crops, *CROP, bgr=False)

    def keypoints(self, x, y):
        points, scores = simcc.decode(x, y)
        return wholebody.to_openpose(simcc.to_frame(points, self.crops, *CROP), scores)


class Usual:
    """Grids made for each frame, every cell decoded, suppression for each of 80 classes, float64 normalisation."""

    def letterbox(self, frame):
        padded = np.ones((*NETWORK, 3), dtype=np.uint8) * 114
        ratio = min(NETWORK[0] / frame.shape[0], NETWORK[1] / frame.shape[1])
        small = cv2.resize(frame, (int(frame.shape[1] * ratio), int(frame.shape[0] * ratio)))
        padded[: small.shape[0], : small.shape[1]] = small
        return np.ascontiguousarray(padded[..., ::-1].transpose(2, 0, 1), dtype=np.float32)[None], ratio

    def boxes(self, rows, ratio):
        rows = self._decode(rows)[0]
        scores = rows[:, 4:5] * rows[:, 5:]
        corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1) / ratio
        found = []
        for kind in range(scores.shape[1]):
            kept = scores[:, kind] > 0.1
            for index in self._suppress(corners[kept], scores[kept, kind]):
                found.append((scores[kept, kind][index], kind, corners[kept][index]))
        people = [(score, box) for score, kind, box in found if kind == 0 and score > 0.3]
        return [box for _, box in sorted(people, key=lambda person: -person[0])][:1]

    def _decode(self, rows):
        grids, strides = [], []
        for stride in (8, 16, 32):
            x, y = np.meshgrid(np.arange(NETWORK[1] // stride), np.arange(NETWORK[0] // stride))
            grids.append(np.stack((x, y), 2).reshape(1, -1, 2))
            strides.append(np.full((*grids[-1].shape[:2], 1), stride))
        grid, stride = np.concatenate(grids, 1), np.concatenate(strides, 1)
        rows = rows.copy()  # a network hands out a new array each time
        rows[..., :2] = (rows[..., :2] + grid) * stride
        rows[..., 2:4] = np.exp(rows[..., 2:4]) * stride
        return rows

    def _suppress(self, boxes, scores):
        order, kept = scores.argsort()[::-1], []
        area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
        while order.size:
            first, rest = order[0], order[1:]
            kept.append(first)
            width = np.minimum(boxes[first, 2], boxes[rest, 2]) - np.maximum(boxes[first, 0], boxes[rest, 0]) + 1
            height = np.minimum(boxes[first, 3], boxes[rest, 3]) - np.maximum(boxes[first, 1], boxes[rest, 1]) + 1
            common = np.maximum(0, width) * np.maximum(0, height)
            order = rest[common / (area[first] + area[rest] - common) <= 0.45]
        return kept

    def crop(self, frame, people):
        crops = [self._crop(frame, box) for box in people]
        return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)

    def _crop(self, frame, box):
        self.centre, size = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * 1.25
        aspect = CROP[0] / CROP[1]
        wide = size[0] > size[1] * aspect
        self.size = np.array([size[0], size[0] / aspect] if wide else [size[1] * aspect, size[1]])
        half = self.size / 2
        corners = self.centre + np.array([[0, 0], [0, -half[1]], [-half[0], -half[1]]])
        target = np.array([[CROP[0] / 2, CROP[1] / 2], [CROP[0] / 2, 0], [0, 0]])
        matrix = cv2.getAffineTransform(corners.astype(np.float32), target.astype(np.float32))
        crop = cv2.warpAffine(frame, matrix, CROP, flags=cv2.INTER_LINEAR)
        return (crop - MEAN.ravel().astype(np.float64)) / STD.ravel().astype(np.float64)

    def keypoints(self, x, y):
        places = np.stack([np.argmax(axis.reshape(-1, axis.shape[2]), axis=1) for axis in (x, y)], axis=-1)
        peaks = [np.amax(axis.reshape(-1, axis.shape[2]), axis=1) for axis in (x, y)]
        scores = np.minimum(*peaks)
        places = places.astype(np.float32)
        places[scores <= 0] = -1
        points = places.reshape(*x.shape[:2], 2) / 2 / np.array(CROP) * self.size + self.centre - self.size / 2
        return wholebody.to_openpose(points, scores.reshape(x.shape[:2]))


def one_frame(way: Ours | Usual, frame: np.ndarray, answers) -> tuple[list[float], tuple]:
    """Return the milliseconds of each stage, and (network input, crops, (points, scores))."""
    rows, x, y = answers
    times = []

    def timed(stage: Callable, *args):
        start = time.perf_counter()
        result = stage(*args)
        times.append((time.perf_counter() - start) * 1000)
        return result

    blob, ratio = timed(way.letterbox, frame)
    people = timed(way.boxes, rows, ratio)
    crops = timed(way.crop, frame, people)
    return times, (blob, crops, timed(way.keypoints, x, y))


def check_equal(ours, usual) -> None:
    """End with an error if the two ways would give the networks, or the user, something else."""
    for name, a, b, limit in (
        ("network input", ours[0], usual[0], 0),
        ("crops", ours[1], usual[1], 0.1),  # warpAffine rounds the matrix to parts of a pixel
        ("points", ours[2][0], usual[2][0], 0.01),
        ("scores", ours[2][1], usual[2][1], 0),
    ):
        difference = np.abs(a - b).max()
        if difference > limit:
            raise SystemExit(f"The two ways differ in {name} by {difference}.")


def main() -> None:
    frame = cv2.resize(np.random.default_rng(1).integers(0, 256, (40, 24, 3), np.uint8), (WIDTH, HEIGHT))
    answers, ways = made_up_answers(), (Ours(), Usual())
    check_equal(*(one_frame(way, frame, answers)[1] for way in ways))
    times = np.empty((ROUNDS, len(ways), len(STAGES)))
    for i in range(ROUNDS):
        for way in (0, 1) if i % 2 else (1, 0):  # the first of the two finds the frame in no cache
            times[i, way] = one_frame(ways[way], frame, answers)[0]
    lines = [f"{'stage':12}{'ours':>8}{'usual':>8}  ms, medians of {ROUNDS} frames"]
    for name, stage in zip((*STAGES, "all"), (*times.transpose(2, 1, 0), times.sum(axis=2).T), strict=True):
        ours, usual = map(statistics.median, stage)
        lines.append(f"{name:12}{ours:8.2f}{usual:8.2f}  ratio {usual / ours:.1f}")
    lines.append(f"target for ours: {TARGET_MS} ms, {'met' if ours <= TARGET_MS else 'missed'}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
