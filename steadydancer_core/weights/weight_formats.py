"""What a model file is, told by its headers alone, as FORMATS lists; sizes are decimal, as on download pages."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ...media.byte_size import size_text
from .convrot import FORMAT as INT8
from .gguf_header import GgufHeader, read_gguf_header, recipe_of
from .scaled_layers import MAX_NOTE, OLDER_MARKER, QUANTIZATION
from .weight_names import is_diffusers, official_names, prefix_of
from .weight_source import SafetensorsSource, open_weights

GGUF_SUFFIX = ".gguf"
FULL_SIZE = (40, 5120)  # blocks and width of SteadyDancer-14B
MIXED = 0.05  # of the bytes; a second precision with a smaller share is that of norms and biases
LAYER_NOTE, MAX_FORMAT = ".comfy_quant", 40  # characters of its name
FP8_INSIDE = {"mxfp8", "nvfp4"}  # a scale for each few numbers, of the size of fp8
WORDS = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8_e4m3fn": "fp8 e4m3fn",
    "float8_e5m2": "fp8 e5m2", "int8_tensorwise": "int8", "int8_tensorwise convrot": "int8 ConvRot",
    "convrot_w4a4": "int4",
}  # fmt: skip


class FileTensor(NamedTuple):
    """A tensor as it lies in the file; type: torch's or GGUF's name of its numbers."""

    type: str
    shape: tuple[int, ...]
    nbytes: int


class Contents(NamedTuple):
    """The headers of a model file. tensors by the names in the file; official: what the checkpoint calls them."""

    title: str
    tensors: dict[str, FileTensor]
    official: dict[str, str]
    files: int
    source: SafetensorsSource | None = None
    gguf: GgufHeader | None = None

    @property
    def weights(self) -> SafetensorsSource:
        """The weights of a file that is no GGUF file; ValueError for one."""
        if self.source is None:
            raise ValueError(f"{self.title} is a GGUF file, which only ComfyUI-GGUF loads.")
        return self.source


class Format(NamedTuple):
    """A way to store weights. words: with {} for the type of the weights; loads: whether ComfyUI can use it."""

    fits: Callable[[Contents], bool]
    words: str
    loads: bool = True


def _ends(*suffixes: str) -> Callable[[Contents], bool]:
    return lambda contents: any(name.endswith(suffixes) for name in contents.tensors)


def _per_layer(contents: Contents) -> bool:
    return bool(_layer_notes(contents)) or QUANTIZATION in _metadata(contents)


# The first that fits is meant.
FORMATS = (
    Format(lambda contents: contents.gguf is not None, "GGUF {}"),
    Format(_ends(".weight._data"), "quanto's int8, which only WanGP reads", loads=False),
    Format(_ends(".absmax", ".SCB"), "the {} of bitsandbytes", loads=False),
    Format(_ends(".qweight"), "the {} of AWQ, GPTQ or Nunchaku", loads=False),
    Format(lambda contents: OLDER_MARKER in contents.official.values(), "{} scaled (older marker)"),
    Format(_per_layer, "{} scaled (per layer)"),
    Format(_ends(".scale_weight", ".weight_scale"), "{} with scales but without the marker for them", loads=False),
    Format(lambda contents: main_type(contents).startswith("fp8"), "{}, not scaled"),
    Format(lambda _: True, "{}"),
)


def look_into(path: str | Path) -> Contents:
    """Return the contents of a GGUF or safetensors file, or of shards; ValueError as `open_weights`."""
    path = Path(path)
    if path.suffix.lower() == GGUF_SUFFIX:
        header = read_gguf_header(path)
        tensors = {name: FileTensor(t.type, t.shape, t.nbytes) for name, t in header.tensors.items()}
        return Contents(path.name, tensors, official_names(tensors), 1, gguf=header)
    source = open_weights(path)
    tensors = {
        name: FileTensor(str(t.dtype).removeprefix("torch."), t.shape, t.nbytes) for name, t in source.tensors.items()
    }
    return Contents(source.title, tensors, official_names(tensors), len(source.paths), source=source)


def format_of(contents: Contents) -> Format:
    """Return the row of the table that fits."""
    return next(row for row in FORMATS if row.fits(contents))


def precision(contents: Contents) -> str:
    """Return the precision of the weights in words, such as "fp8 e4m3fn scaled (older marker)"."""
    return format_of(contents).words.format(main_type(contents))


def main_type(contents: Contents) -> str:
    """Return what most of the weights are stored as; two names where both matter."""
    if contents.gguf:
        return recipe_of(contents.gguf)
    if _per_layer(contents):
        kind = layer_formats(contents)[0]
        return WORDS.get(kind, kind)
    nbytes: Counter[str] = Counter()
    for tensor in contents.tensors.values():
        nbytes[tensor.type] += tensor.nbytes
    first, *others = [kind for kind, _ in nbytes.most_common(2)] or ["nothing"]
    many = [first, *(kind for kind in others if nbytes[kind] > MIXED * nbytes.total())]
    fp8 = [kind for kind in many if kind.startswith("float8")]  # what a converter keeps out of fp8 is no precision
    return " and ".join(WORDS.get(kind, kind) for kind in fp8[:1] or many)


def size_of(contents: Contents) -> int:
    """Return the bytes of all tensors."""
    return sum(tensor.nbytes for tensor in contents.tensors.values())


def describe(contents: Contents) -> str:
    """Return one line about a SteadyDancer file: model, precision, tensors, files, size, and whose names it uses."""
    files = "1 file" if contents.files == 1 else f"{contents.files} files"
    tensors = f"{len(contents.tensors)} tensors in {files}"
    shapes = {ours: contents.tensors[name].shape for name, ours in contents.official.items()}
    blocks, width = len(block_numbers(shapes)), (shapes.get("head.modulation") or (0,))[-1]
    full = (blocks, width) == FULL_SIZE
    model = "SteadyDancer-14B" if full else f"SteadyDancer with {blocks} blocks of width {width}"
    parts = [model, precision(contents), tensors, size_text(size_of(contents))]
    if is_diffusers(contents.tensors):
        parts.append("diffusers names")
    if prefix_of(contents.tensors):
        parts.append(f"names begin with {prefix_of(contents.tensors)}")
    return f"{contents.title}: {', '.join(parts)}"


def block_numbers(names: Iterable[str]) -> set[str]:
    """Return the numbers of the transformer blocks among official names."""
    return {name.split(".")[1] for name in names if name.startswith("blocks.")}


def layer_formats(contents: Contents) -> list[str]:
    """Return the format of each layer that is quantized by itself; ValueError if notes or metadata make no sense."""
    notes = _layer_notes(contents)
    if any(contents.tensors[name].nbytes > MAX_NOTE for name in notes):
        raise _unreadable(contents)
    try:
        table = json.loads(_metadata(contents).get(QUANTIZATION, '{"layers": {}}'))
        rows = [json.loads(bytes(contents.weights.read(name).tolist())) for name in notes]
        formats = [_format_name(row) for row in (*rows, *table["layers"].values())]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(contents) from error
    if not formats and _per_layer(contents):
        raise _unreadable(contents)
    return formats


def _format_name(row: dict) -> str:
    name = str(row["format"])[:MAX_FORMAT]
    return f"{name} convrot" if name == INT8 and row.get("convrot") else name


def fp8_inside(contents: Contents) -> list[str]:
    """Return the formats of layers that only a device with fp8 can hold: nothing here dequantizes them."""
    return sorted(FP8_INSIDE.intersection(layer_formats(contents)))


def _layer_notes(contents: Contents) -> list[str]:
    return [name for name in contents.tensors if name.endswith(LAYER_NOTE)]


def _unreadable(contents: Contents) -> ValueError:
    return ValueError(f"{contents.title} says that its layers are quantized, but not how. Download another file.")


def _metadata(contents: Contents) -> dict[str, str]:
    return contents.source.metadata if contents.source else {}
