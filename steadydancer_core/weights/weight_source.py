"""Weights by name, wherever they lie: what a loader and a converter need to know about a file or a folder of shards."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .safetensors_header import MAX_HEADER, Header, check_names_fit, damaged, parse_json, read_header

SUFFIXES = (".safetensors", ".sft")
MAX_SHARDS, MAX_FILE_NAME = 1000, 200
LISTED, LISTED_SHARDS = 3, 20  # names in a message
INDEX_SUFFIX = ".safetensors.index.json"
SHARD = re.compile(r"-\d{5}-of-\d{5}\.(?:safetensors|sft)$", re.IGNORECASE)  # what shards are usually called


class SafetensorsSource:
    """Named tensors of safetensors files, read one at a time; only headers are in memory before, no file stays open.

    title: the name of the file or folder; tensors in the order of the file; metadata as its maker wrote it.
    """

    def __init__(self, title: str, headers: Mapping[Path, Header]):
        self.title = title
        self.paths = tuple(headers)
        self.metadata = {key: value for header in headers.values() for key, value in header.metadata.items()}
        self.tensors = {name: entry for header in headers.values() for name, entry in header.entries.items()}
        self.files = {name: path for path, header in headers.items() for name in header.entries}

    def read(self, name: str) -> Tensor:
        """Return one tensor on the CPU in its own dtype; ValueError if the file was cut since it was opened."""
        path, entry = self.files[name], self.tensors[name]
        data = torch.empty(entry.nbytes, dtype=torch.uint8, device="cpu")
        with path.open("rb", buffering=0) as file:
            file.seek(entry.start)
            view = memoryview(data.numpy())
            while view:
                count = file.readinto(view)
                if not count:
                    raise damaged(path, f"it ends {len(view)} bytes too early")
                view = view[count:]
        return data.view(entry.dtype).reshape(entry.shape)

    def map(self, name: str) -> Tensor:
        """Return one tensor as a private view of the file: the system may drop its pages and read them again."""
        entry = self.tensors[name]
        data = np.memmap(self.files[name], np.uint8, "c", offset=entry.start, shape=(entry.nbytes,))
        return torch.from_numpy(data).view(entry.dtype).reshape(entry.shape)


def open_weights(path: str | Path) -> SafetensorsSource:
    """Return the weights in a .safetensors or .sft file, in shards by their index, or in the folder of such an index.

    ValueError if a file is damaged, if shards are missing or do not belong together.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.name.lower().endswith(INDEX_SUFFIX))
        if len(found) != 1:
            raise ValueError(
                f"The folder {path.name} has {len(found)} files that end in {INDEX_SUFFIX}; one is needed "
                f"({', '.join(file.name for file in found) or 'none'}). Download the whole model folder, one model in "
                "each, or choose a single file."
            )
        return _open_index(path.name, found[0])
    if path.name.lower().endswith(INDEX_SUFFIX):
        return _open_index(path.name, path)
    if path.suffix.lower() in SUFFIXES:
        return SafetensorsSource(path.name, {path: read_header(path)})
    raise ValueError(
        f"{path.name} is a {path.suffix or 'nameless'} file; only .safetensors is loaded, because other formats "
        "can run code. Download the safetensors version of SteadyDancer."
    )


def shards_of(index: str | Path) -> dict[str, str]:
    """Return the name of the shard beside `index` that holds each tensor; ValueError if the index is not one."""
    index = Path(index)
    with index.open("rb") as file:
        table = parse_json(index, file.read(MAX_HEADER + 1)).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(shard, str) for shard in table.values()):
        raise damaged(index, "it has no weight_map that names the file of every tensor")
    check_names_fit(index, table)
    shards = set(table.values())
    check_names_fit(index, shards)
    if len(shards) > MAX_SHARDS:
        raise damaged(index, f"it lists {len(shards)} files; no model has more than {MAX_SHARDS}")
    for shard in shards:
        if len(shard) > MAX_FILE_NAME:
            raise damaged(index, f"the name of a file in it is {len(shard)} characters long")
        if Path(shard).name != shard or "\\" in shard or not shard.lower().endswith(SUFFIXES):
            raise ValueError(
                f"{index.name} names {shard!r} as a part of the model. The parts must be .safetensors files in the "
                "index's own folder; download the folder again."
            )
    return table


def first_of(names: Sequence[str], count: int = LISTED) -> str:
    """Return a few names: a page that shows all of them hides the advice behind."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _open_index(title: str, index: Path) -> SafetensorsSource:
    table = shards_of(index)
    names = sorted(set(table.values()))
    _check_present(index, names)
    headers = {index.parent / name: read_header(index.parent / name) for name in names}
    found = {(name, path.name) for path, header in headers.items() for name in header.entries}
    absent, extra = sorted(table.items() - found), sorted(found - table.items())
    if absent:
        raise _mixed(index, "{} is not in {}, where the index puts it".format(*absent[0]), len(absent))
    if extra:
        raise _mixed(index, "{} is in {}, where the index does not put it".format(*extra[0]), len(extra))
    _check_shapes(index, headers.values())
    return SafetensorsSource(title, headers)


def _check_present(index: Path, names: list[str]) -> None:
    missing = [name for name in names if not (index.parent / name).is_file()]
    if len(missing) == len(names):
        raise ValueError(
            f"{index.name} is only the table of contents of a model; none of its {len(names)} files is beside it. "
            f"Download {first_of(names, LISTED_SHARDS)} into the same folder."
        )
    if missing:
        listed = first_of(missing, LISTED_SHARDS)
        raise ValueError(
            f"{len(missing)} of the {len(names)} files of {index.name} are missing: {listed}. Download them into the "
            "same folder."
        )


def _check_shapes(index: Path, headers: Iterable[Header]) -> None:
    """Layers with the same role have one shape, and shards of one model share a dtype for it."""
    roles: dict[str, tuple[tuple[int, ...], set[torch.dtype]]] = {}
    for header in headers:
        here: dict[str, set[torch.dtype]] = {}
        for name, entry in header.entries.items():
            if not entry.dtype.is_floating_point:
                continue
            role = re.sub(r"(?<=blocks\.)\d+", "*", name)
            here.setdefault(role, set()).add(entry.dtype)
            shape, _ = roles.setdefault(role, (entry.shape, here[role]))
            if entry.shape != shape:
                raise _mixed(index, f"{role} is {list(shape)} in one place and {list(entry.shape)} in another", 1)
        for role, dtypes in here.items():
            if dtypes.isdisjoint(roles[role][1]):
                pair = sorted(map(str, (*roles[role][1], *dtypes)))
                raise _mixed(index, f"{role} is {' in one file and '.join(pair)} in another", 1)


def _mixed(index: Path, reason: str, count: int) -> ValueError:
    more = f" (and {count - 1} more)" if count > 1 else ""
    return ValueError(
        f"The files beside {index.name} do not belong together: {reason}{more}. They come from two models or two "
        "downloads; download all files of one model again."
    )
