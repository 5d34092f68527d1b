"""Stand-ins for the two files of DW-Pose: the published inputs and outputs, but the bundled BlazePose inside.

So the whole ONNX road runs on real people without the real 350 MB. A double sees the body, the feet and the root of
each hand; its other keypoints score 0. It finds people who fill about half of the picture or more. Needs `onnx`.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from steadydancer_pack.dwpose.detect.blazepose import DETECTION, LANDMARKS
from steadydancer_pack.dwpose.detect.blazepose_regions import ANCHORS
from steadydancer_pack.dwpose.detect.simcc import MEAN, STD

FLOAT = onnx.TensorProto.FLOAT
YOLOX_SIDE, YOLOX_CELLS, YOLOX_ROW, STRIDE = 640, 8400, 85, 8
BODY_BOX = (1.2, 1.9)  # width and height of a person's box in radii of BlazePose's circle around the body
CROP_WIDTH, CROP_HEIGHT, BINS, KEYPOINTS = 288, 384, 2, 133
SPREAD = 6  # bins, sigma of a peak
# BlazePose's landmark for COCO-WholeBody's 17 joints, 6 points on the feet and the roots of the hands
COCO = [0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 31, 31, 29, 32, 32, 30]
HAND_ROOTS = {91: 15, 112: 16}
SMALL_TOES = (18, 21)


class Wiring:
    """A bundled network with more operators before and behind it."""

    def __init__(self, network: Path):
        self.model = onnx.load(network)
        self.nodes, self.constants = [], list(self.model.graph.initializer)

    def add(self, kind: str, *inputs: str | np.ndarray, named: str = "", **attributes) -> str:
        """Add an operator and return the name of its output; arrays become constants."""
        named = named or f"own_{kind}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [named], **attributes))
        return named

    def constant(self, values: np.ndarray) -> str:
        name = f"own_{len(self.constants)}"
        values = np.asarray(values)
        stored = values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int64)
        self.constants.append(numpy_helper.from_array(stored, name))
        return name

    def run_network(self, image: str) -> None:
        """Feed the bundled network; its outputs have the names of dwpose/weights/README.md."""
        self.add("Identity", image, named="image")
        self.nodes += self.model.graph.node

    def columns(self, values: str, start: int, end: int) -> str:
        return self.add("Slice", values, *(np.array([number]) for number in (start, end, 2)))

    def save(self, path: Path | str, inputs: dict[str, list], outputs: dict[str, list]) -> None:
        ports = ([helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in p.items()] for p in (inputs, outputs))
        graph = helper.make_graph(self.nodes, "double", *ports, self.constants)
        imports, version = self.model.opset_import, self.model.ir_version
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=version), path)


def write_yolox_double(path: Path | str) -> None:
    """Write what stands in for yolox_l.onnx: `images` [1, 3, 640, 640], BGR in 0..255, to `output` [1, 8400, 85]."""
    wiring, pixel = Wiring(DETECTION), YOLOX_SIDE / 224
    rgb = wiring.add("Gather", "images", np.array([2, 1, 0]), axis=1)
    half = wiring.add("AveragePool", rgb, kernel_shape=[2, 2], strides=[2, 2])
    small = wiring.add("Resize", half, "", "", np.array([1, 3, 224, 224]), mode="linear")
    wiring.run_network(wiring.add("Sub", wiring.add("Div", small, np.array(127.5)), np.array(1.0)))
    hips, above_head = (wiring.add("Add", wiring.columns("boxes", i, i + 2), ANCHORS) for i in (4, 6))
    radius = wiring.add("ReduceL2", wiring.add("Sub", above_head, hips), axes=[2])
    # Every anchor takes a row of the finest grid: places are counted from there, so any row can say any place.
    rows = np.arange(len(ANCHORS))
    cells = np.stack([rows % (YOLOX_SIDE // STRIDE), rows // (YOLOX_SIDE // STRIDE)], axis=1).astype(np.float32)
    place = wiring.add("Sub", wiring.add("Mul", hips, np.array(pixel / STRIDE)), cells)
    size = wiring.add("Log", wiring.add("Mul", radius, np.array(BODY_BOX) * pixel / STRIDE))
    score = wiring.add("Sigmoid", "scores")
    others = np.zeros((1, len(ANCHORS), YOLOX_ROW - 6), np.float32)
    found = wiring.add("Concat", place, size, score, score, others, axis=2)
    empty = np.zeros((1, YOLOX_CELLS - len(ANCHORS), YOLOX_ROW), np.float32)
    wiring.add("Concat", found, empty, axis=1, named="output")
    wiring.save(path, {"images": [1, 3, YOLOX_SIDE, YOLOX_SIDE]}, {"output": [1, YOLOX_CELLS, YOLOX_ROW]})


def write_dwpose_double(path: Path | str) -> None:
    """Write what stands in for dw-ll_ucoco_384.onnx.

    `input` [N, 3, 384, 288], normalised RGB, to `simcc_x` [N, 133, 576] and `simcc_y` [N, 133, 768].
    """
    wiring, margin = Wiring(LANDMARKS), (CROP_HEIGHT - CROP_WIDTH) // 2
    image = wiring.add("Add", wiring.add("Mul", "input", STD / 255), MEAN / 255)
    square = wiring.add("Pad", image, np.array([0, 0, 0, margin, 0, 0, 0, margin]))
    wiring.run_network(wiring.add("Resize", square, "", np.array([1, 1, 2 / 3, 2 / 3]), mode="linear"))
    table = wiring.add("Reshape", "landmarks", np.array([0, 39, 5]))
    sources = np.zeros(
        KEYPOINTS, int
    )  # the landmark for each keypoint; of those that the double does not know, the nose
    sources[: len(COCO)] = COCO
    sources[list(HAND_ROOTS)] = list(HAND_ROOTS.values())
    table = wiring.add("Gather", table, sources, axis=1)
    belief = wiring.add("ReduceProd", wiring.add("Sigmoid", wiring.columns(table, 3, 5)), axes=[2])
    person = wiring.add("Cast", wiring.add("Greater", "person", np.array(0.5)), to=FLOAT)
    seen = np.zeros((KEYPOINTS, 1))
    seen[[*(set(range(len(COCO))) - set(SMALL_TOES)), *HAND_ROOTS]] = 1
    known = wiring.add("Mul", wiring.add("Unsqueeze", person, np.array([2])), seen)
    height = wiring.add("Mul", belief, known)
    scale = BINS * CROP_HEIGHT / 256
    for axis, (name, length, left) in enumerate((("simcc_x", CROP_WIDTH, margin), ("simcc_y", CROP_HEIGHT, 0))):
        place = wiring.columns(table, axis, axis + 1)
        bins = (np.arange(BINS * length) + BINS * left) / scale  # in the network's pixels, as the landmarks are
        apart = wiring.add("Mul", wiring.add("Sub", place, bins), np.array(scale / SPREAD / 2**0.5))
        bell = wiring.add("Exp", wiring.add("Neg", wiring.add("Mul", apart, apart)))
        wiring.add("Mul", bell, height, named=name)
    outputs = {"simcc_x": ["N", KEYPOINTS, BINS * CROP_WIDTH], "simcc_y": ["N", KEYPOINTS, BINS * CROP_HEIGHT]}
    wiring.save(path, {"input": ["N", 3, CROP_HEIGHT, CROP_WIDTH]}, outputs)
