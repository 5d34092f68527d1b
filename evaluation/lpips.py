"""LPIPS (Zhang et al. 2018), where the weights of its backbone are given: 0 for equal pictures, higher is farther.

torchmetrics has the network and the heads that weigh its layers; the backbone it would download. Here it comes from a
safetensors file of torchvision's: VGG-16, AlexNet or SqueezeNet 1.1. Values of different backbones cannot be compared.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .extra_packages import TORCHMETRICS, MissingPackage, import_from
from .frame_batches import batches
from .metrics import NotMeasured

# The tensor that only this backbone has, with its shape.
BACKBONES = {
    "alex": ("features.10.weight", (256, 256, 3, 3)),
    "vgg": ("features.28.weight", (512, 512, 3, 3)),
    "squeeze": ("features.12.expand3x3.weight", (256, 64, 3, 3)),
}
LPIPS_MODULE = "functional.image.lpips"  # of torchmetrics
SMALLEST = 32  # pixels of a side that all backbones can shrink


class Lpips:
    """LPIPS with the backbone in a safetensors file; `net` is its name. ValueError for any other file."""

    def __init__(self, path: Path | str):
        try:
            weights = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is no safetensors file that can be read ({error}). Choose another.") from error
        nets = [net for net, (key, shape) in BACKBONES.items() if key in weights and weights[key].shape == shape]
        if not nets:
            raise ValueError(
                f"{Path(path).name} holds no backbone for LPIPS. Needed is torchvision's VGG-16, AlexNet or "
                "SqueezeNet 1.1 as safetensors, with names such as features.0.weight."
            )
        self.net = nets[0]
        self.model: torch.nn.Module | MissingPackage
        try:
            self.model = _model(self.net, weights)
        except MissingPackage as error:
            self.model = error

    def __call__(self, frames: Tensor, ground_truth: Tensor) -> Tensor:
        """Return float64 [F] of two clips [F, H, W, 3] of one size; NotMeasured for frames below 32x32 pixels."""
        if isinstance(self.model, MissingPackage):
            raise self.model
        height, width = frames.shape[1:3]
        if min(height, width) < SMALLEST:
            raise NotMeasured(f"frames of {width}x{height} are smaller than {SMALLEST}x{SMALLEST}, which LPIPS needs")
        with torch.inference_mode():
            scores = [
                self.model(a.movedim(-1, 1), b.movedim(-1, 1), normalize=True).reshape(-1)
                for (_, a), (_, b) in zip(batches(frames, size=1), batches(ground_truth, size=1), strict=True)
            ]
        return torch.cat(scores).double()


def _model(net: str, weights: Mapping[str, Tensor]) -> torch.nn.Module:
    # torchmetrics' public classes download the backbone.
    model = import_from(TORCHMETRICS, LPIPS_MODULE)._LPIPS(net=net, pnet_rand=True).float()
    # torchmetrics cuts the backbone into slices: slice1.0.weight, slices.0.0.weight. Layers keep torchvision's numbers.
    layers = {key: re.sub(r"^(slice\d+|slices\.\d+)\.", "features.", key) for key in model.net.state_dict()}
    missing = [layer for layer in layers.values() if layer not in weights]
    if missing:
        raise ValueError(f"The backbone for LPIPS lacks {missing[0]}. Take the whole file again.")
    model.net.load_state_dict({key: weights[layer].float() for key, layer in layers.items()})
    return model.eval()
