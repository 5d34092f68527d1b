"""A stand-in for Apple's GPU: tensors on a device of its own, computed by the CPU, that refuses float64.

What is emulated: where a tensor lies, that two devices do not mix, and that float64 cannot be there. Not its speed, its
memory or its rounding.
"""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

NAME = "mps"
INSIDE = "meta"  # a device that torch has everywhere, and that is not the CPU
REFUSED = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."


class DeviceTensor(Tensor):
    """A tensor that says it lies on the device; `content` is what it holds, on the CPU."""

    content: Tensor

    @staticmethod
    def __new__(cls, content: Tensor):
        if content.dtype == torch.float64:
            raise TypeError(REFUSED)
        place = {"strides": content.stride(), "storage_offset": content.storage_offset(), "device": INSIDE}
        made = Tensor._make_wrapper_subclass(cls, content.shape, dtype=content.dtype, **place)
        made.content = content
        return made

    @property
    def device(self) -> torch.device:
        """Where it seems to lie."""
        return torch.device(NAME)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Float32Device(TorchDispatchMode):
    """Within this context tensors can be made on the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def on_device(tensor: Tensor) -> Tensor:
    """Return a copy of a CPU tensor on the device."""
    return DeviceTensor(tensor.clone())


def _run(func, args: tuple, kwargs: dict):
    tensors = [leaf for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    copies = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    if there and not copies and any(tensor.ndim and not isinstance(tensor, DeviceTensor) for tensor in tensors):
        raise RuntimeError(f"{func} got tensors on two devices, {NAME} and cpu.")
    device = kwargs.get("device")
    stays = bool(there) if device is None else torch.device(device).type in (NAME, INSIDE)
    if func is torch.ops.aten.copy_.default:
        stays = isinstance(args[0], DeviceTensor)
    if device is not None:
        kwargs = {**kwargs, "device": "cpu"}
    args, kwargs = tree_map_only(DeviceTensor, lambda tensor: tensor.content, (args, kwargs))
    found = func(*args, **kwargs)
    return tree_map_only(Tensor, DeviceTensor, found) if stays else found
