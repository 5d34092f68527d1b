"""Convert the two BlazePose networks of MediaPipe from TFLite to ONNX: `python tools/blazepose_onnx.py FOLDER`.

For maintainers; dwpose/weights/README.md says where the sources come from. Needs the packages tflite and onnx.
FOLDER holds the sources, or the unpacked wheel they lie in. The same sources give the same bytes.

Differences from TFLite: feature maps are [N, C, H, W], N is free, sparse weights are written out, and outputs that the
pack does not use are left out with the layers that only they need. Weights stay float16 and are cast when loaded. Only
what these two files hold is known: one activation, one way of resizing, matrices that are sparse along their last axis.
"""

import importlib
import logging
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

log = logging.getLogger(__name__)

OPSET, IR_VERSION = 17, 8
WEIGHTS = Path(__file__).resolve().parent.parent / "dwpose" / "weights"
FLOAT = onnx.TensorProto.FLOAT
DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # tflite.TensorType
NO_ACTIVATION, RELU6 = 0, 3  # tflite.ActivationFunctionType
SAME = 0  # tflite.Padding
SPARSE = [0, 0, 0, 1]  # tflite.DimensionType of each axis
INDEX_VECTORS = {1: "Int32Vector", 2: "Uint16Vector", 3: "Uint8Vector"}  # tflite.SparseIndexVector
TO_NCHW = (0, 3, 1, 2)
NETWORKS = (  # source, target, and the wanted outputs by their position
    ("pose_detection.tflite", "blazepose_detection.onnx", {0: "boxes", 1: "scores"}),
    ("pose_landmark_full.tflite", "blazepose_landmarks.onnx", {0: "landmarks", 1: "person", 3: "heatmaps"}),
)


def main(folder: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for source, name, outputs in NETWORKS:
        found = sorted(Path(folder).rglob(source))
        if not found:
            raise SystemExit(f"{source} is not in {folder} or its folders.")
        model = Graph(found[0].read_bytes()).convert(outputs)
        target = WEIGHTS / name
        target.write_bytes(model.SerializeToString(deterministic=True))
        log.info("%s: %.2f MB, %d nodes", target, target.stat().st_size / 1e6, len(model.graph.node))


def decoded(table, kind: str):
    """Return a table of the file as an object of that class of the tflite package, which this tool alone needs."""
    found = getattr(importlib.import_module("tflite"), kind)()
    found.Init(table.Bytes, table.Pos)
    return found


class Graph:
    """The ONNX graph being made. Feature maps are named t<number of the TFLite tensor>, constants w<number>."""

    def __init__(self, source: bytes):
        self.model = importlib.import_module("tflite").Model.GetRootAsModel(source, 0)
        self.tflite = self.model.Subgraphs(0)
        self.nodes, self.constants = [], {}
        self.source_of = {}  # a weight's tensor behind DENSIFY and DEQUANTIZE

    def convert(self, outputs: dict[int, str]) -> onnx.ModelProto:
        """Return the checked model with its input named `image` and the outputs at those positions."""
        names = {int(self.tflite.Outputs(position)): name for position, name in outputs.items()}
        for operator in self.needed_operators(set(names)):
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            if kind not in OPERATORS:
                raise ValueError(f"TFLite operator {kind} is not known here; add it to OPERATORS.")
            OPERATORS[kind](self, operator, operator.InputsAsNumpy().tolist(), int(operator.Outputs(0)))
        image = int(self.tflite.Inputs(0))
        new_names = {f"t{image}": "image", **{f"t{index}": name for index, name in names.items()}}
        for node in self.nodes:
            for field in (node.input, node.output):
                field[:] = [new_names.get(name, name) for name in field]
        inputs = [helper.make_tensor_value_info("image", FLOAT, free_batch(self.shape(image)))]
        results = [helper.make_tensor_value_info(n, FLOAT, free_batch(self.shape(i))) for i, n in names.items()]
        graph = helper.make_graph(self.nodes, "blazepose", inputs, results, list(self.constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="blazepose_onnx")
        onnx.checker.check_model(model, full_check=True)
        return model

    def needed_operators(self, wanted: set[int]) -> list:
        """Return the operators, in order, that the wanted tensors depend on."""
        needed = []
        for index in reversed(range(self.tflite.OperatorsLength())):
            operator = self.tflite.Operators(index)
            if wanted & set(operator.OutputsAsNumpy().tolist()):
                wanted = wanted | set(operator.InputsAsNumpy().tolist())
                needed.append(operator)
        return needed[::-1]

    def node(self, kind: str, inputs: list[str], output: str, activation: int = NO_ACTIVATION, **attributes) -> None:
        """Add a node and the activation that TFLite fuses into it."""
        if activation not in (NO_ACTIVATION, RELU6):
            raise ValueError(f"TFLite activation {activation} is not known here; add it to Graph.node.")
        raw = output if activation == NO_ACTIVATION else f"{output}_raw"
        self.nodes.append(helper.make_node(kind, inputs, [raw], name=f"{kind}_{raw}", **attributes))
        if activation == RELU6:
            bounds = [self.constant(f"limit{limit}", np.float32(limit)) for limit in (0, 6)]
            self.node("Clip", [raw, *bounds], output)

    def constant(self, name: str, values: ArrayLike) -> str:
        """Return the name of a float32 or integer tensor; float16 is stored and cast when loaded."""
        values = np.ascontiguousarray(values)
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(values, name)
            if values.dtype == np.float16:
                self.nodes.append(helper.make_node("Cast", [name], [f"{name}_cast"], f"Cast_{name}", to=FLOAT))
        return f"{name}_cast" if values.dtype == np.float16 else name

    def values(self, index: int) -> np.ndarray:
        """Return a constant tensor, dense."""
        tensor = self.tflite.Tensors(self.source_of.get(index, index))
        values = self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(DTYPES[tensor.Type()])
        shape = tuple(tensor.ShapeAsNumpy().tolist())
        sparsity = tensor.Sparsity()
        if sparsity is None:
            return values.reshape(shape)
        levels = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
        if [level.Format() for level in levels] != SPARSE or sparsity.BlockMapLength():
            raise ValueError("Only tensors of four axes that are sparse along the last one are known here.")
        starts = decoded(levels[-1].ArraySegments(), INDEX_VECTORS[levels[-1].ArraySegmentsType()])
        places = decoded(levels[-1].ArrayIndices(), INDEX_VECTORS[levels[-1].ArrayIndicesType()])
        return dense(values, shape, starts.ValuesAsNumpy(), places.ValuesAsNumpy())

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(self.tflite.Tensors(index).ShapeAsNumpy().tolist())


def free_batch(shape: tuple[int, ...]) -> list:
    """Return the ONNX shape of a TFLite tensor [1, ...]: N first, feature maps with their channels next."""
    return ["N", *(shape[axis] for axis in TO_NCHW[1:])] if len(shape) == 4 else ["N", *shape[1:]]


def dense(values: np.ndarray, shape: tuple[int, ...], starts: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the tensor of `shape` from its compressed rows along the last axis: row r has values starts[r] and on."""
    rows = np.zeros((len(starts) - 1, shape[-1]), values.dtype)
    rows[np.repeat(np.arange(len(rows)), np.diff(starts.astype(int))), places] = values[: len(places)]
    return rows.reshape(shape)


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after an axis that TFLite's SAME padding adds."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def window(graph: Graph, found, image: int, kernel: tuple[int, ...]) -> dict:
    """Return the strides and pads of a convolution or pooling as ONNX attributes."""
    strides = (found.StrideH(), found.StrideW())
    pads = [(0, 0), (0, 0)]
    if found.Padding() == SAME:
        sizes = zip(graph.shape(image)[1:3], kernel, strides, strict=True)
        pads = [same_pads(*axis) for axis in sizes]
    return {"strides": strides, "kernel_shape": kernel, "pads": np.transpose(pads).ravel().tolist()}


def add_convolution(graph: Graph, operator, inputs: list[int], output: int, depthwise: bool = False) -> None:
    image, weight, bias = inputs
    found = decoded(operator.BuiltinOptions(), "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
    attributes = window(graph, found, image, graph.shape(weight)[1:3])
    if depthwise:
        attributes["group"] = graph.shape(image)[3]
    filters = graph.values(weight).transpose((3, 0, 1, 2) if depthwise else TO_NCHW)
    names = [f"t{image}", graph.constant(f"w{weight}", filters), graph.constant(f"w{bias}", graph.values(bias))]
    graph.node("Conv", names, f"t{output}", found.FusedActivationFunction(), **attributes)


def add_sum(graph: Graph, operator, inputs: list[int], output: int) -> None:
    activation = decoded(operator.BuiltinOptions(), "AddOptions").FusedActivationFunction()
    graph.node("Add", [f"t{index}" for index in inputs], f"t{output}", activation)


def add_padding(graph: Graph, _operator, inputs: list[int], output: int) -> None:
    pads = graph.values(inputs[1])[list(TO_NCHW)].T.reshape(-1).astype(np.int64)
    graph.node("Pad", [f"t{inputs[0]}", graph.constant(f"pads{output}", pads)], f"t{output}")


def add_max_pool(graph: Graph, operator, inputs: list[int], output: int) -> None:
    found = decoded(operator.BuiltinOptions(), "Pool2DOptions")
    attributes = window(graph, found, inputs[0], (found.FilterHeight(), found.FilterWidth()))
    graph.node("MaxPool", [f"t{inputs[0]}"], f"t{output}", found.FusedActivationFunction(), **attributes)


def add_resize(graph: Graph, operator, inputs: list[int], output: int) -> None:
    if not decoded(operator.BuiltinOptions(), "ResizeBilinearOptions").HalfPixelCenters():
        raise ValueError("Only resizing with half-pixel centers is known here.")
    old, new = graph.shape(inputs[0]), graph.shape(output)
    scales = graph.constant(f"scales{output}", np.array([1, 1, new[1] / old[1], new[2] / old[2]], np.float32))
    names = [f"t{inputs[0]}", "", scales]
    graph.node("Resize", names, f"t{output}", mode="linear", coordinate_transformation_mode="half_pixel")


def add_depth_to_space(graph: Graph, operator, inputs: list[int], output: int) -> None:
    size = decoded(operator.BuiltinOptions(), "DepthToSpaceOptions").BlockSize()
    graph.node("DepthToSpace", [f"t{inputs[0]}"], f"t{output}", blocksize=size, mode="DCR")


def add_reshape(graph: Graph, _operator, inputs: list[int], output: int) -> None:
    """Reshape a feature map: TFLite's order of the entries has the channels last."""
    shape = graph.constant(f"shape{output}", np.array([0, *graph.shape(output)[1:]], np.int64))
    graph.node("Transpose", [f"t{inputs[0]}"], f"t{output}_last", perm=(0, 2, 3, 1))
    graph.node("Reshape", [f"t{output}_last", shape], f"t{output}")


def add_concatenation(graph: Graph, operator, inputs: list[int], output: int) -> None:
    axis = decoded(operator.BuiltinOptions(), "ConcatenationOptions").Axis()
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
    4: partial(add_convolution, depthwise=True),
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
