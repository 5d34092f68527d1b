"""Values as JSON that another run can compare: numbers and texts as they are, tensors by a hash of their content.

A function or class of ComfyUI, torch or this pack is known by its name, an object of such a class by its attributes;
all else (another pack's, a closure, a network) is listed in `ValueNamer.unnamed`.
"""

import enum
import functools
import hashlib
import json
import re
import sys
import types
import uuid
from collections import OrderedDict, defaultdict
from pathlib import Path

import comfy.samplers
import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

HASH_DIGITS = 32
SAMPLE_ABOVE = 1 << 16  # elements; larger weights are sampled
SAMPLE_RUN = 64  # adjacent elements at the start, the middle and the end
MAX_DEPTH = 100
COMFYUI, PACKAGES = (Path(module.__file__).resolve().parents[1] for module in (comfy.samplers, torch))
STOCK_FOLDERS = (
    *(COMFYUI / name for name in ("comfy", "comfy_api", "comfy_extras")),
    *(PACKAGES / name for name in ("torch", "comfy_kitchen")),
    Path(__file__).resolve().parents[1],
)
BUILT_IN = ("builtins", "functools", "math", "operator")
# Their repr() is their value.
REPRESENTED = (enum.Enum, uuid.UUID, complex, slice, range, torch.dtype, torch.device, np.generic, type(...))
SEQUENCES, MAPPINGS = (list, tuple, torch.Size), (dict, OrderedDict, defaultdict, types.MappingProxyType)
RUN_STATE = {"_step"}  # attributes of stock objects that say where a run stands


def digest(value) -> str:
    """Return the hash of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of `network` by name."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


class ValueNamer:
    """Calling it returns the JSON of a value; unnamed: what had no value to compare, by name and place.

    sample: hash a sample of large tensors instead of all of them: another fine-tune differs in nearly all values.
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
        if len(self._above) > MAX_DEPTH:
            return self._unnamed("a value that is nested too deeply")
        self._above.append(value)
        try:
            return self._compound(value)
        finally:
            self._above.pop()

    def _compound(self, value):
        match value:
            case Tensor():
                return self._tensor(value)
            case np.ndarray() if value.dtype.hasobject:
                return self(value.tolist())
            case np.ndarray():
                content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                return f"{value.dtype} {list(value.shape)} {_hash(content.data)}"
            case bytes():
                return f"bytes {_hash(value)}"
            case list() | tuple() if type(value) in SEQUENCES or hasattr(value, "_fields"):
                return [self(element) for element in value]
            case set() | frozenset():
                return sorted((self(element) for element in value), key=json.dumps)
            case _ if type(value) in MAPPINGS:
                return self._items(value)
            case types.MethodType():
                return {"method": self(value.__func__), "of": self(value.__self__)}
            case functools.partial():
                return {"partial": self(value.func), "arguments": self([value.args, value.keywords])}
            case types.FunctionType() if _is_stock_function(value):
                line = f":{value.__code__.co_firstlineno}" if value.__name__ == "<lambda>" else ""
                name, defaults = _label(value) + line, [value.__defaults__, value.__kwdefaults__]
                return {"function": name, "defaults": self(defaults)} if any(defaults) else name
            case types.BuiltinFunctionType() if isinstance(value.__self__, types.ModuleType | None):
                return _label(value)
            case type() if _is_stock_class(value):
                return _label(value)
            case type() | types.FunctionType() | types.BuiltinFunctionType():
                return self._unnamed(_label(value))
        if not _is_stock_object(value):
            return self._unnamed(_label(type(value)))
        return {_label(type(value)): self._items({k: v for k, v in vars(value).items() if k not in RUN_STATE})}

    def _tensor(self, value: Tensor):
        """Type, shape and hash of the content; of a quantized tensor, those of its parts."""
        flatten = getattr(value, "__tensor_flatten__", None)
        if flatten is not None:
            names, context = flatten()
            return {"parts": [self(getattr(value, name)) for name in names], "context": self(context)}
        plain = value.detach().as_subclass(Tensor)
        packing = getattr(value, "tensor_type", "")  # of a GGUF weight: its bytes do not say how they are packed
        flat = plain.reshape(-1) if plain.is_contiguous() else plain.contiguous().reshape(-1)
        if self.sample and len(flat) > SAMPLE_ABOVE:  # by runs, because a weight that lies on disk is read by pages
            starts = (0, len(flat) // 2, len(flat) - SAMPLE_RUN)
            flat = torch.cat([flat[start : start + SAMPLE_RUN] for start in starts])
        content = flat.cpu().contiguous().view(torch.uint8).numpy()
        return f"{plain.dtype} {list(plain.shape)} {packing!s} {_hash(content.data)}"

    def _items(self, value):
        pairs = []
        for key, item in value.items():
            self._place.append(str(key))
            pairs.append((self(key), self(item)))
            self._place.pop()
        return dict(pairs) if all(isinstance(key, str) for key in value) else sorted(pairs, key=json.dumps)

    def _unnamed(self, name: str) -> dict:
        self.unnamed.append(f"{name} ({' > '.join(self._place)})" if self._place else name)
        return {"unnamed": name}


def _label(value) -> str:
    """Return module and name of a class or function; a module that ComfyUI loads by its path has no folder then."""
    module = re.split(r"[\\/]", value.__module__ or "builtins")[-1]
    return f"{module}.{value.__qualname__}"


def _is_stock_file(file: str | None) -> bool:
    return file is not None and any(folder in Path(file).resolve().parents for folder in STOCK_FOLDERS)


def _is_stock_class(kind: type) -> bool:
    return kind.__module__ in BUILT_IN or _is_stock_file(getattr(sys.modules.get(kind.__module__), "__file__", None))


def _is_stock_function(value: types.FunctionType) -> bool:
    """Return whether the name of a function says all of it: it closes over nothing, or its module has it by name."""
    found = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    codes = value.__code__, getattr(getattr(value, "__wrapped__", value), "__code__", None)
    is_whole = value.__closure__ is None or found is value
    return is_whole and all(code is not None and _is_stock_file(code.co_filename) for code in codes)


def _is_stock_object(value) -> bool:
    """Return whether the attributes of an object say all of it; those of a network and its patcher change in use."""
    kind = type(value)
    has_slots = any(vars(base).get("__slots__") for base in kind.__mro__)
    changes = isinstance(value, (nn.Module, ModelPatcher))
    return _is_stock_class(kind) and hasattr(value, "__dict__") and not has_slots and not changes


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
