"""Files of torch.distributed.checkpoint: each process writes its parts of the tensors, any number of them reads them.

The files are safetensors, and what says which part is where stands in their headers: nothing is pickled. A tensor is
called `<group>.<name>` in them; one without axes is kept with one.
"""

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from .processes import are_several

PATTERN = "shard-*.safetensors"
FILE_BYTES = 4_000_000_000  # of whole tensors: a process has its part of them in memory once more while it writes
Groups = Mapping[str, Mapping[str, Tensor]]


def check_torch() -> None:
    """ValueError: the installed PyTorch cannot write such files."""
    try:
        from torch.distributed.checkpoint import HuggingFaceStorageWriter  # noqa: F401
        from torch.distributed.checkpoint.staging import DefaultStager  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"Sharded checkpoints need PyTorch 2.9 or newer, this is {torch.__version__}. Leave --sharded-checkpoints "
            "out, or update PyTorch."
        ) from error


def begin_writing(path: Path, groups: Groups, process_group: Any = None) -> Future:
    """Copy the parts of all tensors to main memory and begin to write them to the folder `path`.

    Every process must ask at the same time. The future is done when the files of all processes are on the disk.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, async_save
    from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

    tensors = _flat(groups)
    writer = HuggingFaceStorageWriter(str(path), file_numbers(tensors), save_distributed=True)
    found: Any = async_save(
        tensors,
        storage_writer=writer,
        process_group=process_group,
        async_stager=DefaultStager(StagingOptions(False, False, False, False)),
        no_dist=not are_several(),
    )
    return found


def file_numbers(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return in which file of a process each tensor is, from 1 on: FILE_BYTES in one, or a larger tensor."""
    numbers, number, size = {}, 1, 0
    for name, tensor in tensors.items():
        nbytes = tensor.numel() * tensor.element_size()
        if size and size + nbytes > FILE_BYTES:
            number, size = number + 1, 0
        numbers[name], size = number, size + nbytes
    return numbers


def read_into(path: Path, groups: Groups, process_group: Any = None, alone: bool = False) -> None:
    """Read the parts that this process holds of all tensors; every process must ask at once, or one `alone`."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    reader = HuggingFaceStorageReader(str(path))
    try:
        load(_flat(groups), storage_reader=reader, process_group=process_group, no_dist=alone or not are_several())
    except failures() as error:
        raise ValueError(f"{path} cannot be read: {reason(error)}") from error


def failures() -> tuple[type[BaseException], ...]:
    """Return what reading and writing raise."""
    from torch.distributed.checkpoint import CheckpointException

    return OSError, ValueError, RuntimeError, SafetensorError, CheckpointException


def reason(error: BaseException) -> BaseException:
    """Return what went wrong in the first process that failed, where `error` is about several."""
    failed = list(getattr(error, "failures", {}).values())
    return failed[0][0] if failed else error


def layout(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return tensors without memory, on the meta device, by group and name."""
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    found: dict[str, dict[str, Tensor]] = {}
    for key, stored in HuggingFaceStorageReader(str(path)).read_metadata().state_dict_metadata.items():
        group, _, name = key.partition(".")
        size: Any = stored
        found.setdefault(group, {})[name] = torch.empty(size.size, dtype=size.properties.dtype, device="meta")
    return found


def _flat(groups: Groups) -> dict[str, Tensor]:
    found = {
        f"{group}.{name}": tensor.detach() for group, tensors in groups.items() for name, tensor in tensors.items()
    }
    return {name: tensor if tensor.ndim else tensor.reshape(1) for name, tensor in found.items()}
