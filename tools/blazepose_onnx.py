"""Convert the two BlazePose networks of MediaPipe from TFLite to ONNX: `python tools/blazepose_onnx.py FOLDER`.

For maintainers; dwpose/weights/README.md says where the sources come from. Needs the packages tflite and onnx.
FOLDER holds the sources, or the unpacked wheel they lie in. The same sources give the same bytes.

Differences from TFLite: feature maps are [N, C, H, W], N is free, sparse weights are written out, and outputs that the
pack does not use are left out with the layers that only they need. Weights stay float16 and are cast when loaded.
"""

import importlib
import logging
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

log = logging.getLogger(__name__)

OPSET, IR_VERSION = 17, 8
WEIGHTS = Path(__file__).resolve().parent.parent / "dwpose" / "weights"
FLOAT = onnx.TensorProto.FLOAT
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # tflite.TensorType
ACTIVATIONS = {1: ("Relu", None), 3: ("Clip", (0, 6))}  # tflite.ActivationFunctionType; 0 is none
SAME = 0  # tflite.Padding
TO_NCHW = (0, 3, 1, 2)


class Network(NamedTuple):
    """A source file and what to take from it; `outputs` names the wanted outputs by their position."""

    source: str
    target: str
    outputs: dict[int, str]


NETWORKS = (
    Network("pose_detection.tflite", "blazepose_detection.onnx", {0: "boxes", 1: "scores"}),
    Network("pose_landmark_full.tflite", "blazepose_landmarks.onnx", {0: "landmarks", 1: "person", 3: "heatmaps"}),
)


def main(folder: str) -> None:
    """Write both ONNX files into dwpose/weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for network in NETWORKS:
        found = sorted(Path(folder).rglob(network.source))
        if not found:
            raise SystemExit(f"{network.source} is not in {folder} or its folders.")
        model = convert(found[0].read_bytes(), network.outputs)
        target = WEIGHTS / network.target
        target.write_bytes(model.SerializeToString(deterministic=True))
        log.info("%s: %.2f MB, %d nodes", target, target.stat().st_size / 1e6, len(model.graph.node))


def tflite():
    """Return the module of that name, which is needed by this tool alone."""
    return importlib.import_module("tflite")


def convert(source: bytes, outputs: dict[int, str]) -> onnx.ModelProto:
    """Return the ONNX model of a TFLite file with its input named `image` and the outputs at those positions."""
    graph = Graph(tflite().Model.GetRootAsModel(source, 0))
    names = {int(graph.tflite.Outputs(position)): name for position, name in outputs.items()}
    for operator in graph.needed_operators(set(names)):
        graph.add(operator)
    return graph.finish(names)


class Graph:
    """The ONNX graph being made. Feature maps are named t<number of the TFLite tensor>, constants w<number>."""

    def __init__(self, model):
        self.model, self.tflite = model, model.Subgraphs(0)
        self.nodes, self.constants = [], {}
        self.source_of = {}  # a weight's tensor behind DENSIFY and DEQUANTIZE

    def needed_operators(self, wanted: set[int]) -> list:
        """Return the operators, in order, that the wanted tensors depend on."""
        needed = []
        for index in reversed(range(self.tflite.OperatorsLength())):
            operator = self.tflite.Operators(index)
            if wanted & set(operator.OutputsAsNumpy().tolist()):
                wanted = wanted | set(operator.InputsAsNumpy().tolist())
                needed.append(operator)
        return needed[::-1]

    def add(self, operator) -> None:
        """Add what the operator does; ValueError for a kind this converter does not know."""
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in OPERATORS:
            raise ValueError(f"TFLite operator {kind} is not known here; add it to OPERATORS.")
        OPERATORS[kind](self, operator, operator.InputsAsNumpy().tolist(), int(operator.Outputs(0)))

    def node(self, kind: str, inputs: list[str], output: str, **attributes) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}_{output}", **attributes))

    def activated(self, kind: str, inputs: list[str], output: int, activation: int, **attributes) -> None:
        """Add a node and the activation that TFLite fuses into it."""
        if activation not in ACTIVATIONS:
            return self.node(kind, inputs, f"t{output}", **attributes)
        self.node(kind, inputs, f"t{output}_raw", **attributes)
        name, limits = ACTIVATIONS[activation]
        bounds = [self.constant(f"limit{limit}", np.float32(limit)) for limit in limits or ()]
        return self.node(name, [f"t{output}_raw", *bounds], f"t{output}")

    def constant(self, name: str, values: ArrayLike) -> str:
        """Return the name of a float32 or integer tensor; float16 is stored and cast when loaded."""
        values = np.ascontiguousarray(values)
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(values, name)
            if values.dtype == np.float16:
                self.nodes.append(helper.make_node("Cast", [name], [f"{name}_cast"], f"Cast_{name}", to=FLOAT))
        return f"{name}_cast" if values.dtype == np.float16 else name

    def weight(self, index: int, layout: tuple[int, ...] | None = None) -> str:
        values = self.values(index)
        return self.constant(f"w{index}", values if layout is None else values.transpose(layout))

    def values(self, index: int) -> np.ndarray:
        """Return a constant tensor, dense."""
        tensor = self.tflite.Tensors(self.source_of.get(index, index))
        values = self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(DTYPES[tensor.Type()])
        shape = tuple(tensor.ShapeAsNumpy().tolist())
        return values.reshape(shape) if tensor.Sparsity() is None else dense(values, shape, sparsity(tensor))

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(self.tflite.Tensors(index).ShapeAsNumpy().tolist())

    def finish(self, names: dict[int, str]) -> onnx.ModelProto:
        """Return the checked model, its tensors `t<number>` at both ends renamed."""
        image = int(self.tflite.Inputs(0))
        new_names = {f"t{image}": "image", **{f"t{index}": name for index, name in names.items()}}
        for node in self.nodes:
            for field in (node.input, node.output):
                field[:] = [new_names.get(name, name) for name in field]
        inputs = [helper.make_tensor_value_info("image", FLOAT, free_batch(self.shape(image)))]
        outputs = [helper.make_tensor_value_info(n, FLOAT, free_batch(self.shape(i))) for i, n in names.items()]
        graph = helper.make_graph(self.nodes, "blazepose", inputs, outputs, list(self.constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="blazepose_onnx")
        onnx.checker.check_model(model, full_check=True)
        return model


def free_batch(shape: tuple[int, ...]) -> list:
    """Return the ONNX shape of a TFLite tensor [1, ...]: N first, feature maps with their channels next."""
    return ["N", *(shape[axis] for axis in TO_NCHW[1:])] if len(shape) == 4 else ["N", *shape[1:]]


class Level(NamedTuple):
    """One level of a sparse tensor's tree: `size` children under every node, or those that `starts` and `at` list."""

    size: int
    starts: np.ndarray | None = None
    at: np.ndarray | None = None


class Sparsity(NamedTuple):
    """TFLite's description of a sparse tensor: the axis of each level, the axes cut into blocks, the levels."""

    order: list[int]
    blocks: list[int]
    levels: list[Level]


def sparsity(tensor) -> Sparsity:
    """Read the description from the file."""
    found = tensor.Sparsity()
    blocks = found.BlockMapAsNumpy().tolist() if found.BlockMapLength() else []
    levels = [level(found.DimMetadata(i)) for i in range(found.DimMetadataLength())]
    return Sparsity(found.TraversalOrderAsNumpy().tolist(), blocks, levels)


def level(found) -> Level:
    if found.Format() == 0:  # tflite.DimensionType.DENSE
        return Level(found.DenseSize())
    readers = {1: tflite().Int32Vector, 2: tflite().Uint16Vector, 3: tflite().Uint8Vector}

    def read(kind: int, table) -> np.ndarray:
        vector = readers[kind]()
        vector.Init(table.Bytes, table.Pos)
        return vector.ValuesAsNumpy().astype(np.int64)

    starts = read(found.ArraySegmentsType(), found.ArraySegments())
    return Level(0, starts, read(found.ArrayIndicesType(), found.ArrayIndices()))


def dense(values: np.ndarray, shape: tuple[int, ...], tree: Sparsity) -> np.ndarray:
    """Return the tensor of `shape` whose entries, in the order of the tree's leaves, are `values`; the rest is 0."""
    places = np.zeros((1, 0), np.int64)  # a row for each node of the level: its index at every level above
    for size, starts, at in tree.levels:
        if starts is None or at is None:
            children = np.tile(np.arange(size), len(places))
            parents = np.repeat(np.arange(len(places)), size)
        else:
            children, parents = at, np.repeat(np.arange(len(places)), np.diff(starts))
        places = np.column_stack([places[parents], children])
    index = [np.zeros(len(places), np.int64) for _ in shape]
    for axis, column, (size, *_) in sorted(zip(tree.order, places.T, tree.levels, strict=True), key=lambda x: x[0]):
        cut = axis >= len(shape)
        axis = tree.blocks[axis - len(shape)] if cut else axis
        index[axis] = index[axis] * size + column if cut else column
    result = np.zeros(shape, values.dtype)
    result[tuple(index)] = values[: len(places)]
    return result


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after an axis that TFLite's SAME padding adds."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def options(operator, kind: str):
    """Return the operator's options, a table of that class of the tflite package."""
    table, found = operator.BuiltinOptions(), getattr(tflite(), kind)()
    found.Init(table.Bytes, table.Pos)
    return found


def window(graph: Graph, found, image: int, kernel: tuple[int, ...]) -> dict:
    """Return the strides and pads of a convolution or pooling as ONNX attributes."""
    strides = (found.StrideH(), found.StrideW())
    pads = [(0, 0), (0, 0)]
    if found.Padding() == SAME:
        sizes = zip(graph.shape(image)[1:3], kernel, strides, strict=True)
        pads = [same_pads(*axis) for axis in sizes]
    return {"strides": strides, "kernel_shape": kernel, "pads": np.transpose(pads).ravel().tolist()}


def add_convolution(graph: Graph, operator, inputs: list[int], output: int) -> None:
    image, weight, bias = inputs
    found = options(operator, "Conv2DOptions")
    attributes = window(graph, found, image, graph.shape(weight)[1:3])
    names = [f"t{image}", graph.weight(weight, TO_NCHW), graph.weight(bias)]
    graph.activated("Conv", names, output, found.FusedActivationFunction(), **attributes)


def add_depthwise(graph: Graph, operator, inputs: list[int], output: int) -> None:
    image, weight, bias = inputs
    found = options(operator, "DepthwiseConv2DOptions")
    attributes = window(graph, found, image, graph.shape(weight)[1:3])
    names = [f"t{image}", graph.weight(weight, (3, 0, 1, 2)), graph.weight(bias)]
    group = graph.shape(image)[3]
    graph.activated("Conv", names, output, found.FusedActivationFunction(), group=group, **attributes)


def add_sum(graph: Graph, operator, inputs: list[int], output: int) -> None:
    activation = options(operator, "AddOptions").FusedActivationFunction()
    graph.activated("Add", [f"t{index}" for index in inputs], output, activation)


def add_padding(graph: Graph, _operator, inputs: list[int], output: int) -> None:
    pads = graph.values(inputs[1])[list(TO_NCHW)].T.reshape(-1).astype(np.int64)
    graph.node("Pad", [f"t{inputs[0]}", graph.constant(f"pads{output}", pads)], f"t{output}")


def add_max_pool(graph: Graph, operator, inputs: list[int], output: int) -> None:
    found = options(operator, "Pool2DOptions")
    attributes = window(graph, found, inputs[0], (found.FilterHeight(), found.FilterWidth()))
    graph.activated("MaxPool", [f"t{inputs[0]}"], output, found.FusedActivationFunction(), **attributes)


def add_resize(graph: Graph, operator, inputs: list[int], output: int) -> None:
    found = options(operator, "ResizeBilinearOptions")
    mode = "half_pixel" if found.HalfPixelCenters() else "align_corners" if found.AlignCorners() else "asymmetric"
    old, new = graph.shape(inputs[0]), graph.shape(output)
    scales = graph.constant(f"scales{output}", np.array([1, 1, new[1] / old[1], new[2] / old[2]], np.float32))
    names = [f"t{inputs[0]}", "", scales]
    graph.node("Resize", names, f"t{output}", mode="linear", coordinate_transformation_mode=mode)


def add_depth_to_space(graph: Graph, operator, inputs: list[int], output: int) -> None:
    size = options(operator, "DepthToSpaceOptions").BlockSize()
    graph.node("DepthToSpace", [f"t{inputs[0]}"], f"t{output}", blocksize=size, mode="DCR")


def add_reshape(graph: Graph, _operator, inputs: list[int], output: int) -> None:
    """Reshape a feature map: TFLite's order of the entries has the channels last."""
    shape = graph.constant(f"shape{output}", np.array([0, *graph.shape(output)[1:]], np.int64))
    graph.node("Transpose", [f"t{inputs[0]}"], f"t{output}_last", perm=(0, 2, 3, 1))
    graph.node("Reshape", [f"t{output}_last", shape], f"t{output}")


def add_concatenation(graph: Graph, operator, inputs: list[int], output: int) -> None:
    axis = options(operator, "ConcatenationOptions").Axis()
    graph.node("Concat", [f"t{index}" for index in inputs], f"t{output}", axis=axis)


def add_logistic(graph: Graph, _operator, inputs: list[int], output: int) -> None:
    graph.node("Sigmoid", [f"t{inputs[0]}"], f"t{output}")


def follow_weight(graph: Graph, _operator, inputs: list[int], output: int) -> None:
    """Remember where a weight comes from: it is written out dense, and cast where it is used."""
    graph.source_of[output] = graph.source_of.get(inputs[0], inputs[0])


OPERATORS = {  # tflite.BuiltinOperator
    0: add_sum,
    2: add_concatenation,
    3: add_convolution,
    4: add_depthwise,
    5: add_depth_to_space,
    6: follow_weight,  # DEQUANTIZE
    14: add_logistic,
    17: add_max_pool,
    22: add_reshape,
    23: add_resize,
    34: add_padding,
    124: follow_weight,  # DENSIFY
}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__.splitlines()[0])
    main(sys.argv[1])
