"""Time of the bundled networks on ONNX Runtime's CPU against OpenCV's DNN module, one picture at a time.

Decides which of the two runs where ONNX Runtime has no GPU: OpenCV only if it is not slower. Both ways take turns.
"""

import statistics
import sys
from functools import partial

import cv2
import numpy as np

from benchmarks.harness import timed
from steadydancer_pack.dwpose.detect.blazepose import OUTPUTS
from steadydancer_pack.dwpose.detect.opencv_network import OpenCVNetwork
from steadydancer_pack.dwpose.detect.runtime import open_session

ROUNDS, PARITY = 60, 0.006


def main() -> None:
    lines = [f"{'network':24}{'ONNX Runtime':>14}{'OpenCV':>8}  ms, medians of {ROUNDS}, OpenCV {cv2.__version__}"]
    for path, outputs in OUTPUTS.items():
        ways = open_session(path, "CPU"), OpenCVNetwork(path, outputs, "")
        size: tuple = (1, 3, *ways[0].inputs["image"][2:])
        image = {"image": np.random.default_rng(0).uniform(0, 1, size).astype(np.float32)}
        found = [way.run(image) for way in ways]
        worst = max(np.abs(a - b).max() for a, b in zip(*found, strict=True))
        if worst > PARITY:
            raise SystemExit(f"The two ways differ in {path.name} by {worst}.")
        times = np.empty((ROUNDS, 2))
        for i in range(ROUNDS):
            for way in (0, 1) if i % 2 else (1, 0):
                times[i, way] = 1000 * timed(partial(ways[way].run, image))[0]
        ort, opencv = map(statistics.median, times.T)
        lines.append(f"{path.stem:24}{ort:14.1f}{opencv:8.1f}  ratio {opencv / ort:.2f}, outputs within {worst:.4f}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
