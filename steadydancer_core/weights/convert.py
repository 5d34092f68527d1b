"""Conversion of a SteadyDancer checkpoint to one safetensors file of a wanted precision, under upstream's names.

The weights stream through: one tensor of the source is in memory at a time.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ...media.byte_size import size_text
from . import checkpoint
from .convert_file import DTYPE_NAMES, NEW_RECORD, Progress, Written, write_safetensors
from .convert_plan import plan
from .safetensors_header import read_header
from .scaled_layers import QUANTIZATION
from .weight_formats import GGUF_SUFFIX
from .weight_names import official_names
from .weight_source import SafetensorsSource, open_weights

SUFFIX = ".safetensors"
LONGEST_ENDING = NEW_RECORD  # beside the file while it is written
MAX_NAME_BYTES = 255
VERSION = 1  # of the recipe: a part file of another one is not continued
STALE_METADATA = (QUANTIZATION, "modelspec.hash_sha256")


def open_source(path: str | Path) -> SafetensorsSource:
    """Return the weights to convert, by their headers; ValueError for a file that is no safetensors or is damaged."""
    path = Path(path)
    if path.suffix.lower() == GGUF_SUFFIX:
        raise ValueError(
            f"{path.name} is a GGUF file: its weights are rounded already, and converting would not bring them back. "
            "Convert the fp16, bf16 or fp32 file of SteadyDancer."
        )
    return open_weights(path)


def convert(
    source: SafetensorsSource,
    target: str | Path,
    precision: str,
    overwrite: bool = False,
    progress: Progress = lambda *_: None,
    errors: dict[str, float] | None = None,
) -> Written:
    """Write the whole of `source` to `target` in one of PRECISIONS; a stopped conversion goes on, to the same bytes.

    progress: called with bytes done and in all; it may raise to stop. errors: gets the relative error of each int8
    layer that this run writes. Raises ValueError if the source is not a whole
    SteadyDancer or holds values that the precision does not, if `target` cannot be written, or if the disk is full.
    """
    target = Path(target)
    _check_target(source, target, overwrite)
    names = official_names(source.tensors)
    checkpoint.check_names(source.title, set(names.values()))
    places = {official: place for place, official in names.items()}
    if len(places) < len(names):
        twice = next(place for place, official in names.items() if places[official] != place)
        raise ValueError(
            f"{source.title} has two tensors for one place: {twice} and {places[names[twice]]}. "
            "The file was put together wrongly; download it again."
        )
    kept = {key: value for key, value in source.metadata.items() if key not in STALE_METADATA}
    metadata = {"format": "pt", **kept, "steadydancer_precision": precision}
    stats = [(path.name, path.stat()) for path in source.paths]
    work = json.dumps([VERSION, precision, [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]])
    pieces = plan(source, places, precision, {} if errors is None else errors)
    return write_safetensors(target, pieces, metadata, work, progress, overwrite=overwrite)


def error_line(layer: str, error: float) -> str:
    """Return how far the weights of a layer are from the source's, in words."""
    return f"{layer}: relative error {100 * error:.2f} %"


def report(source: SafetensorsSource, written: Written, errors: Mapping[str, float] | None = None) -> str:
    """Return what was read and written, in words, with sizes before and after and the sha256.

    errors: of the int8 layers that this run wrote, as `convert` gives them.
    """
    before = sum(path.stat().st_size for path in source.paths)
    after = read_header(written.path)
    kept = f"\n{size_text(written.kept)} of it were there from a run before." if written.kept else ""
    rounded = ""
    if errors:
        worst = max(errors, key=errors.__getitem__)
        mean = sum(errors.values()) / len(errors)
        rounded = (
            f"\nRelative error of the {len(errors)} int8 layers written: {100 * mean:.2f} % on average, most in "
            f"{error_line(worst, errors[worst])}"
        )
    return (
        f"{source.title}: {size_text(before)}, {_kinds(source.tensors)}\n"
        f"{written.path.name}: {size_text(written.nbytes)}, {_kinds(after.entries)}\n"
        f"sha256 {written.sha256}{kept}{rounded}"
    )


def _kinds(tensors: Mapping) -> str:
    counts = Counter(DTYPE_NAMES[tensor.dtype] for tensor in tensors.values())
    return f"{len(tensors)} tensors ({', '.join(f'{count} {name}' for name, count in counts.most_common())})"


def _check_target(source: SafetensorsSource, target: Path, overwrite: bool) -> None:
    if target.suffix.lower() != SUFFIX:
        raise ValueError(f"The converted file must be called something{SUFFIX}; '{target.name}' is not.")
    excess = len(os.fsencode(target.name + LONGEST_ENDING)) - MAX_NAME_BYTES
    if excess > 0:
        raise ValueError(f"The file name {target.name} is too long by {excess} bytes. Choose a shorter one.")
    if not target.parent.is_dir():
        raise ValueError(f"The folder {target.parent} for {target.name} is not there. Make it, or choose another.")
    if not target.exists():
        return
    if any(path.samefile(target) for path in source.paths):
        raise ValueError(f"{target.name} is the source itself, which is never overwritten. Choose another name.")
    if target.is_dir() or not overwrite:
        raise ValueError(f"{target} is there already. Choose another name, or allow overwriting.")
