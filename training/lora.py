"""Low-rank adaptation of a network's linear layers: two thin matrices beside each, merged at the end.

A forward hook adds what they put out, so the network's own classes and names stay as they are. Source of the method:
Hu et al., LoRA (arXiv:2106.09685); the paper names neither rank nor layers, ours are in stages.py.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

PARTS = (*(f"{attention}.{part}" for attention in ("self_attn", "cross_attn") for part in "qkvo"), "ffn.0", "ffn.2")


class LoRALayer(nn.Module):
    """x -> scale * up(down(x)); starts at 0."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float, generator: torch.Generator):
        super().__init__()
        inputs, outputs, device = layer.in_features, layer.out_features, layer.weight.device
        down = torch.randn(rank, inputs, generator=generator) / math.sqrt(inputs)
        self.down, self.up = nn.Parameter(down.to(device)), nn.Parameter(torch.zeros(outputs, rank, device=device))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the addition to the layer's output."""
        return self.scale * nn.functional.linear(nn.functional.linear(x, self.down), self.up)

    def add(self, _layer: nn.Module, args: tuple, output: Tensor) -> Tensor:
        """Return the layer's output with the addition: a forward hook."""
        return output + self(args[0]).to(output.dtype)


class Adapter(nn.Module):
    """The LoRA layers of a network. Names in it are the layers' with '/' for '.'."""

    def __init__(self, network: nn.Module, rank: int, alpha: float, seed: int, parts: Sequence[str] = PARTS):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        layers = {name: layer for name, layer in network.named_modules() if name.endswith(tuple(parts))}
        if not layers:
            raise ValueError(f"No layer of the network ends in {', '.join(parts)}; there is nothing to adapt.")
        paths = {}
        for name, layer in layers.items():
            paths[name.replace(".", "/")] = path = LoRALayer(layer, rank, alpha / rank, generator)
            layer.register_forward_hook(path.add)
        self.paths = nn.ModuleDict(paths)

    def deltas(self) -> dict[str, Tensor]:
        """Return what to add to the network's weights, in float32, by their names."""
        return {
            f"{name.replace('/', '.')}.weight": layer.scale * (layer.up.float() @ layer.down.float())
            for name, layer in self.paths.items()
            if isinstance(layer, LoRALayer)
        }


@torch.no_grad()
def merged(state: dict[str, Tensor], adapter: Adapter) -> dict[str, Tensor]:
    """Return the network's tensors with the LoRA layers merged into them; dtypes stay."""
    deltas = adapter.deltas()
    return {name: (t.float() + deltas[name]).to(t.dtype) if name in deltas else t for name, t in state.items()}
