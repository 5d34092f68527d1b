"""What decides a chunk, as a hash: two runs share a finished chunk only if every part of them is the same.

A wrong reuse is worse than none. Values, tensors, functions with what they close over, and objects by what a copy of
them would hold are hashed by content, so the hash outlives the process; what cannot be copied raises Unidentified, and
the run keeps no chunks.
Large weights are hashed by name, shape and a sample of their values: another fine-tune differs in nearly all of them.

Left out, because the result is bit for bit the same with or without: which weights lie on the device (blocks_to_swap),
and the callbacks and attachments of a MODEL, which manage it.
"""

import enum
import functools
import hashlib
import inspect
import types
import uuid
from collections.abc import Callable, Mapping

import numpy as np
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..memory.residency import OPTION

VERSION = 1  # of the chunks' content: raise it whenever the same settings make other frames
SAMPLE_ABOVE = 1 << 16  # elements; larger weights are sampled
SAMPLE_RUN = 64  # neighbouring elements at the start, the middle and the end
LITERALS = (
    type(None), bool, int, float, complex, str, bytes, slice, range, type(...), enum.Enum, uuid.UUID,
    torch.dtype, torch.device, torch.Size,
)  # fmt: skip
COPY_PROTOCOL = 4
# What of a MODEL changes its result, besides weights and options.
MODEL_PARTS = (
    "patches", "weight_wrapper_patches", "wrappers", "injections", "hook_patches", "forced_hooks", "additional_models",
)  # fmt: skip


class Unidentified(Exception):
    """Something of the run cannot be told apart from something else of its kind; the text names it."""


def chunk_key(*parts) -> str:
    """Return the key of `parts` for the chunk store; raise Unidentified for a part without a content to compare."""
    return Digest()((VERSION, parts)).hex()


def identify_model(model: ModelPatcher) -> bytes:
    """Return the hash of a MODEL: its weights as loaded, LoRAs, patches and options. Its shift is left out."""
    parts = {name: getattr(model, name, None) or None for name in MODEL_PARTS}
    network = model.model
    parts["options"] = {key: value for key, value in model.model_options.items() if key != OPTION}
    parts["objects"] = {key: value for key, value in model.object_patches.items() if key != "model_sampling"}
    parts["precision"] = (
        network.get_dtype(), getattr(network, "manual_cast_dtype", None), network.model_config.optimizations,
    )  # fmt: skip
    # A loaded LoRA lies in the weights themselves; what was there before it is in the backup.
    original = {f"diffusion_model.{name}": weight for name, weight in tensors_of(network.diffusion_model).items()}
    original |= {key: kept.weight for key, kept in model.backup.items() if key in original}
    return Digest(sample=True)((original, parts))


def identify_vae(vae) -> bytes:
    """Return the hash of a VAE: its weights and the precision it computes in."""
    return Digest(sample=True)((tensors_of(vae.first_stage_model), vae.vae_dtype))


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of `network` by name."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


class Digest:
    """Hashes a value by its content to 32 bytes. `sample` takes a sample of large tensors instead of all of them."""

    def __init__(self, sample: bool = False):
        self.sample, self.above = sample, []

    def __call__(self, value) -> bytes:
        """Return the digest of `value`; raise Unidentified if it or a part of it has no content to compare."""
        kind = type(value)
        if isinstance(value, LITERALS):
            return _sha(kind.__qualname__, repr(value))
        rule = next((rule for kinds, rule in RULES if isinstance(value, kinds)), Digest.object)
        if any(value is outer for outer in self.above):
            return _sha("itself")
        self.above.append(value)
        try:
            return _sha(kind.__module__, kind.__qualname__, *rule(self, value))
        except RecursionError as error:
            raise Unidentified(f"{kind.__module__}.{kind.__qualname__}") from error
        finally:
            self.above.pop()

    def sequence(self, value) -> list[bytes]:
        """Elements in their order."""
        return [self(element) for element in value]

    def set(self, value) -> list[bytes]:
        """Elements in any order."""
        return sorted(self(element) for element in value)

    def mapping(self, value: Mapping) -> list[bytes]:
        """Items in any order."""
        return sorted(self(key) + self(item) for key, item in value.items())

    def tensor(self, value: Tensor) -> list:
        """Type, shape and content; of a quantised tensor, those of its parts."""
        if hasattr(value, "__tensor_flatten__"):
            names, context = value.__tensor_flatten__()
            return [self([getattr(value, name) for name in names]), self(context)]
        plain = value.detach().as_subclass(Tensor)
        kind = getattr(value, "tensor_type", None)  # of a GGUF weight, whose bytes alone do not say how they are packed
        flat = plain.reshape(-1) if plain.numel() <= SAMPLE_ABOVE or not self.sample else _sample(plain)
        content = flat.cpu().contiguous().view(torch.uint8).numpy()
        return [repr(kind), str(plain.dtype), repr(tuple(plain.shape)), content]

    def array(self, value: np.ndarray) -> list:
        """Type, shape and content."""
        if value.dtype.hasobject:
            return [self(value.tolist())]
        return [str(value.dtype), repr(value.shape), np.ascontiguousarray(value).reshape(-1).view(np.uint8)]

    def function(self, value: types.FunctionType) -> list[bytes]:
        """Code, defaults and what it closes over."""
        try:
            closed = inspect.getclosurevars(value).nonlocals
        except ValueError as error:
            raise Unidentified(f"{value.__module__}.{value.__qualname__}") from error
        parts = (value.__module__, value.__code__, value.__defaults__, value.__kwdefaults__, closed)
        return [self(part) for part in parts]

    def code(self, value: types.CodeType) -> list[bytes]:
        """Instructions, names and constants."""
        return [self(part) for part in (value.co_name, value.co_code, value.co_names, value.co_consts)]

    def method(self, value: types.MethodType) -> list[bytes]:
        """The function and the object it is bound to."""
        return [self(value.__func__), self(value.__self__)]

    def partial(self, value: functools.partial) -> list[bytes]:
        """The function and what it is given."""
        return [self(value.func), self(value.args), self(value.keywords)]

    def named(self, value) -> list[str]:
        """Classes, modules and builtin functions: their names."""
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, types.ModuleType):
            raise Unidentified(f"a method of {type(owner).__qualname__}")
        return [str(getattr(value, "__module__", None)), getattr(value, "__qualname__", None) or value.__name__]

    def object(self, value) -> list[bytes]:
        """What a copy of it is made of."""
        kind = type(value)
        try:
            recipe = value.__reduce_ex__(COPY_PROTOCOL)
        except (TypeError, AttributeError, ValueError, RuntimeError) as error:  # as its class refuses a copy
            raise Unidentified(f"{kind.__module__}.{kind.__qualname__}") from error
        if isinstance(recipe, str):
            return [self(recipe)]
        call, arguments, state, elements, items = (*recipe, None, None, None)[:5]
        return [self(part) for part in (call, arguments, state, list(elements or ()), list(items or ()))]


RULES: tuple[tuple[tuple, Callable], ...] = (
    ((Tensor,), Digest.tensor),
    ((np.ndarray,), Digest.array),
    ((list, tuple), Digest.sequence),
    ((set, frozenset), Digest.set),
    ((Mapping,), Digest.mapping),
    ((types.FunctionType,), Digest.function),
    ((types.CodeType,), Digest.code),
    ((types.MethodType,), Digest.method),
    ((functools.partial,), Digest.partial),
    ((type, types.ModuleType, types.BuiltinFunctionType), Digest.named),
)


def _sample(weight: Tensor) -> Tensor:
    """Return runs of neighbours, because a weight that lies on disk is read by pages."""
    flat = weight.reshape(-1) if weight.is_contiguous() else weight.contiguous().reshape(-1)
    starts = (0, len(flat) // 2, len(flat) - SAMPLE_RUN)
    return torch.cat([flat[start : start + SAMPLE_RUN] for start in starts])


def _sha(*pieces) -> bytes:
    """Hash texts, bytes and arrays, each with its length so that none runs into the next."""
    found = hashlib.sha256()
    for piece in pieces:
        data = piece.encode() if isinstance(piece, str) else memoryview(piece).cast("B") if len(piece) else b""
        found.update(f"{len(data)}:".encode())
        found.update(data)
    return found.digest()
