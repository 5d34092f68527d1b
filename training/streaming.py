"""Frozen blocks, and the tokens between blocks, in main memory: a block comes to the device for its passes alone.

The weights are copied to the device inside the function that the backward pass computes again, so of all copies those
of one block are alive at a time. What a block takes waits in main memory from its forward to its backward pass.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint


class BlockStream:
    """The weights of a network's blocks, on the CPU, taken out of the network; they are not trained.

    What stays in their place has no elements and lies on `device`. weights: by block and name.
    """

    def __init__(self, network: Any, device: torch.device):
        self.calls = [_Call(block) for block in network.blocks]
        self.weights: list[dict[str, Tensor]] = []
        for call in self.calls:
            named = dict(call.named_parameters())
            self.weights.append({name: weight.data for name, weight in named.items()})
            for weight in named.values():
                weight.requires_grad_(False)
                weight.data = torch.empty(0, dtype=weight.dtype, device=device)

    def run(self, number: int, args: dict, extra: dict) -> dict:
        """Run a block, and compute it again in the backward pass: a replacement of ComfyUI's block hooks."""
        others = {name: value for name, value in args.items() if name != "img"}

        def forward(tokens: Tensor) -> Tensor:
            copies = {name: weight.to(tokens.device, copy=True) for name, weight in self.weights[number].items()}
            return functional_call(self.calls[number], copies, (extra["original_block"], {**others, "img": tokens}))

        with save_on_cpu():
            return {"img": checkpoint(forward, args["img"], use_reentrant=False)}


class _Call(nn.Module):
    """Lets a function that calls `block` run with other weights in the block."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, run: Callable[[dict], dict], args: dict) -> Tensor:
        return run(args)["img"]
