"""Values as JSON that another run can compare: numbers and texts as they are, tensors by a hash of their content.

A function or class of ComfyUI, torch or this pack is known by its name, an object of such a class by its attributes.
All else (another pack's function or object, a closure, a network) has no such value: `ValueNamer.unnamed` lists it.
"""

import enum
import functools
import hashlib
import inspect
import json
import re
import sys
import types
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.samplers
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

HASH_DIGITS = 32
SAMPLE_ABOVE = 1 << 16  # elements; larger weights are sampled
SAMPLE_RUN = 64  # adjacent elements at the start, the middle and the end
COMFYUI, PACKAGES = Path(comfy.samplers.__file__).parents[1], Path(torch.__file__).parents[1]
STOCK_FOLDERS = (
    *(COMFYUI / name for name in ("comfy", "comfy_api", "comfy_extras")),
    *(PACKAGES / name for name in ("torch", "comfy_kitchen")),
    Path(__file__).parents[1],
)
BUILT_IN = ("builtins", "functools", "math", "operator")
# Their repr() is their value.
REPRESENTED = (enum.Enum, uuid.UUID, complex, slice, range, torch.dtype, torch.device, np.generic, type(...))
RUN_STATE = {"_step"}  # attributes of stock objects that say where a run stands


def digest(value) -> str:
    """Return the hash of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of `network` by name."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


class ValueNamer:
    """Calling it returns the JSON of a value.

    sample: hash a sample of large tensors instead of all of them: another fine-tune differs in nearly all values.
    unnamed: what had no value to compare, by name and place.
    """

    def __init__(self, sample: bool = False):
        self.sample = sample
        self.unnamed: list[str] = []
        self._above, self._place = [], []

    def __call__(self, value):
        """Return the JSON of `value`; equal JSON, equal value."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, REPRESENTED):
            return f"{_label(type(value))} {value!r}"
        if any(value is outer for outer in self._above):
            return "itself"
        self._above.append(value)
        try:
            rule = next((rule for kind, rule in RULES if isinstance(value, kind)), ValueNamer._object)
            return rule(self, value)
        finally:
            self._above.pop()

    def _tensor(self, value: Tensor):
        """Type, shape and hash of the content; of a quantized tensor, those of its parts."""
        if hasattr(value, "__tensor_flatten__"):
            names, context = value.__tensor_flatten__()
            return {"parts": [self(getattr(value, name)) for name in names], "context": self(context)}
        plain = value.detach().as_subclass(Tensor)
        packing = getattr(
            value, "tensor_type", ""
        )  # of a GGUF weight, whose bytes alone do not say how they are packed
        sampled = self.sample and plain.numel() > SAMPLE_ABOVE
        content = (_sample(plain) if sampled else plain.reshape(-1)).cpu().contiguous().view(torch.uint8)
        return f"{plain.dtype} {list(plain.shape)} {packing!s} {_hash(content.numpy().data)}"

    def _array(self, value: np.ndarray):
        if value.dtype.hasobject:
            return self(value.tolist())
        return f"{value.dtype} {list(value.shape)} {_hash(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)}"

    def _bytes(self, value: bytes) -> str:
        return f"bytes {_hash(value)}"

    def _sequence(self, value) -> list:
        if type(value) not in (list, tuple, torch.Size) and not hasattr(value, "_fields"):
            return self._object(value)
        return [self(element) for element in value]

    def _set(self, value) -> list:
        return sorted((self(element) for element in value), key=json.dumps)

    def _mapping(self, value):
        if type(value) not in (dict, OrderedDict, defaultdict, types.MappingProxyType):
            return self._object(value)
        return self._items(value)

    def _items(self, value):
        pairs = []
        for key, item in value.items():
            self._place.append(str(key))
            pairs.append((self(key), self(item)))
            self._place.pop()
        return dict(pairs) if all(isinstance(key, str) for key in value) else sorted(pairs, key=json.dumps)

    def _function(self, value: types.FunctionType):
        files = {value.__code__.co_filename, inspect.unwrap(value).__code__.co_filename}
        by_name = value.__closure__ is None or _found_by_name(value)
        if not by_name or not all(map(_is_stock_file, files)):
            return self._unnamed(value)
        line = f":{value.__code__.co_firstlineno}" if value.__name__ == "<lambda>" else ""
        return {"function": _label(value) + line, "defaults": self([value.__defaults__, value.__kwdefaults__])}

    def _method(self, value: types.MethodType):
        return {"method": self(value.__func__), "of": self(value.__self__)}

    def _partial(self, value: functools.partial):
        return {"partial": self(value.func), "arguments": self([value.args, value.keywords])}

    def _builtin(self, value):
        owner = getattr(value, "__self__", None)
        return _label(value) if owner is None or isinstance(owner, types.ModuleType) else self._unnamed(value)

    def _class(self, value: type):
        return _label(value) if _is_stock_class(value) else self._unnamed(value)

    def _object(self, value):
        kind = type(value)
        has_slots = any(vars(base).get("__slots__") for base in kind.__mro__)
        changes_in_use = isinstance(value, (nn.Module, ModelPatcher))
        if not _is_stock_class(kind) or has_slots or changes_in_use or not hasattr(value, "__dict__"):
            return self._unnamed(value)
        return {_label(kind): self._items({k: v for k, v in vars(value).items() if k not in RUN_STATE})}

    def _unnamed(self, value) -> dict:
        kinds = type, types.FunctionType, types.BuiltinFunctionType
        name = _label(value if isinstance(value, kinds) else type(value))
        self.unnamed.append(f"{name} ({' > '.join(self._place)})" if self._place else name)
        return {"unnamed": name}


RULES: tuple[tuple[type | tuple[type, ...], Callable[[ValueNamer, Any], Any]], ...] = (
    (Tensor, ValueNamer._tensor),
    (np.ndarray, ValueNamer._array),
    (bytes, ValueNamer._bytes),
    ((list, tuple), ValueNamer._sequence),
    ((set, frozenset), ValueNamer._set),
    ((dict, types.MappingProxyType), ValueNamer._mapping),
    (types.FunctionType, ValueNamer._function),
    (types.MethodType, ValueNamer._method),
    (functools.partial, ValueNamer._partial),
    (types.BuiltinFunctionType, ValueNamer._builtin),
    (type, ValueNamer._class),
)


def _label(value) -> str:
    """Return module and name of a class or function; a module that ComfyUI loads by its path has no folder then."""
    module = re.split(r"[\\/]", value.__module__ or "builtins")[-1]
    return f"{module}.{value.__qualname__}"


def _is_stock_file(file: str | None) -> bool:
    return file is not None and any(Path(file).is_relative_to(folder) for folder in STOCK_FOLDERS)


def _is_stock_class(kind: type) -> bool:
    return kind.__module__ in BUILT_IN or _is_stock_file(getattr(sys.modules.get(kind.__module__), "__file__", None))


def _found_by_name(value: types.FunctionType) -> bool:
    found = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def _sample(weight: Tensor) -> Tensor:
    """Return runs of neighbors, because a weight that lies on disk is read by pages."""
    flat = weight.reshape(-1) if weight.is_contiguous() else weight.contiguous().reshape(-1)
    starts = (0, len(flat) // 2, len(flat) - SAMPLE_RUN)
    return torch.cat([flat[start : start + SAMPLE_RUN] for start in starts])


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
