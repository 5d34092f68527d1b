"""Parameters that processes share out (FSDP 2): there a tensor is a DTensor, of which each process holds some rows."""

from typing import Any

import torch
from torch import Tensor, nn


def gather(tensor: Tensor) -> Tensor:
    """Return a tensor with all its parts; every process must ask at the same time."""
    full_tensor = getattr(tensor, "full_tensor", None)
    return full_tensor() if full_tensor else tensor


@torch.no_grad()
def put(whole: Any, target: Any) -> None:
    """Copy a whole tensor, or one that is shared out as `target` is, into `target`.

    Of a whole one only the rows that this process holds of `target` are read.
    """
    if hasattr(whole, "to_local"):
        whole, target = whole.to_local(), target.to_local()
    if not hasattr(target, "full_tensor"):
        target.copy_(whole)
        return
    parts, rank = whole.chunk(target.device_mesh.size()), target.device_mesh.get_local_rank()
    if rank < len(parts):
        target.to_local().copy_(parts[rank])


def shard(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a copy of `tensor` on the device, in the memory order and among the processes that `like` has."""
    copy = torch.empty_like(like, requires_grad=False)
    put(tensor, copy)
    return copy


def shard_module(module: nn.Module, kind: str, bf16: bool = False) -> None:
    """Shard the parameters: entry by entry of each ModuleList, such as transformer blocks, then the rest.

    The entries must be called as modules, since a call is what collects their parameters. Those on the meta device
    stay there. bf16: whether the entries' parameters are collected in bf16; what the entries take stays as it is,
    since rotary embedding and modulation need float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh, policy = _mesh(kind), MixedPrecisionPolicy()
    if bf16:
        policy = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    lists = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    for unit in (unit for part in reversed(lists) for unit in part):
        fully_shard(unit, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh)


def shard_blocks(blocks: nn.ModuleList, kind: str) -> None:
    """Shard the parameters of the blocks of a network alone."""
    from torch.distributed.fsdp import fully_shard

    mesh = _mesh(kind)
    for block in blocks:
        fully_shard(block, mesh=mesh)


def _mesh(kind: str):
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(kind, (torch.distributed.get_world_size(),))
