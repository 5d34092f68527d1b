"""Weights that are read from disk while the model takes them, so that file and model are never both in memory.

ComfyUI looks through the state dict (names, shapes, dtypes) before it builds the model, which a `LazyTensor` answers
without data; `read_on_load` makes the modules read their own weights while they load them, and forget them after.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from .weight_source import SafetensorsSource

SMALL = 1 << 16  # bytes; scales and markers, whose values ComfyUI wants to know before it builds the model


class LazyTensor(Tensor):
    """A tensor on the meta device that knows how to become a real one."""

    source: Callable[[], Tensor]


def lazy_tensor(shape: tuple[int, ...], dtype: torch.dtype, source: Callable[[], Tensor]) -> LazyTensor:
    """Return a weight of which only `shape` and `dtype` are in memory; `source` reads it."""
    tensor = torch.empty(shape, dtype=dtype, device="meta").as_subclass(LazyTensor)
    tensor.source = source
    return tensor


def read(tensor: Tensor) -> Tensor:
    """Return the tensor with its data."""
    return tensor.source() if isinstance(tensor, LazyTensor) else tensor


def lazy_state_dict(source: SafetensorsSource, kept: Collection[str] = ()) -> dict[str, Tensor]:
    """Return all weights by name, large ones lazy; those in `kept`, which the model keeps as they are, map the file."""

    def weight(name: str) -> Tensor:
        info = source.tensors[name]
        if name in kept:
            return lazy_tensor(info.shape, info.dtype, partial(source.map, name))
        if info.nbytes <= SMALL:
            return source.read(name)
        return lazy_tensor(info.shape, info.dtype, partial(source.read, name))

    return {name: weight(name) for name in source.tensors}


def read_on_load(modules: Iterable[nn.Module]) -> None:
    """Make each of the modules read its lazy weights when a state dict is loaded into it."""
    for module in modules:
        module.register_load_state_dict_pre_hook(_read_all)


def _read_all(_module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    for name, tensor in state_dict.items():
        if name.startswith(prefix):
            state_dict[name] = read(tensor)
