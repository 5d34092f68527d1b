"""Weights that are read from disk while the model takes them, so that file and model are never both in memory.

ComfyUI looks through the whole state dict (names, shapes, dtypes) before it builds the model, then gives it to the
model at once. An `Unread` weight answers all those questions and holds no data; `read_on_load` makes the modules of a
model read their own weights at the moment they load them, and forget them after.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from .weight_source import WeightSource

SMALL = 1 << 16  # bytes; scales and markers, whose values ComfyUI wants to know before it builds the model


class Unread(Tensor):
    """A tensor on the meta device that knows how to become a real one."""

    source: Callable[[], Tensor]


def unread(shape: tuple[int, ...], dtype: torch.dtype, source: Callable[[], Tensor]) -> Unread:
    """Return a weight of which only `shape` and `dtype` are in memory; `source` reads it."""
    tensor = torch.empty(shape, dtype=dtype, device="meta").as_subclass(Unread)
    tensor.source = source
    return tensor


def read(tensor: Tensor) -> Tensor:
    """Return the tensor with its data."""
    return tensor.source() if isinstance(tensor, Unread) else tensor


def lazy_state_dict(source: WeightSource, kept: Collection[str] = ()) -> dict[str, Tensor]:
    """Return all weights of the source by name, large ones unread.

    `kept` names those that the model keeps as they are; these stay views of the file and cost no memory of their own.
    """

    def weight(name: str) -> Tensor:
        info = source.tensors[name]
        if name in kept:
            return unread(info.shape, info.dtype, partial(source.map, name))
        return source.read(name) if info.nbytes <= SMALL else unread(info.shape, info.dtype, partial(source.read, name))

    return {name: weight(name) for name in source.tensors}


def read_on_load(modules: Iterable[nn.Module]) -> None:
    """Make each of the modules read its unread weights when a state dict is loaded into it."""
    for module in modules:
        module.register_load_state_dict_pre_hook(_read_all)


def _read_all(_module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    for name, tensor in state_dict.items():
        if name.startswith(prefix):
            state_dict[name] = read(tensor)
