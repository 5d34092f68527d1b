"""Does a LoRA fit the model? ComfyUI only writes a line to the console for each layer that it leaves out.

One for a smaller Wan has the same layer names, so it connects and fails layer by layer, without an error.
"""

from dataclasses import dataclass, field

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import LoRAAdapter, WeightAdapterBase

from ...media.log import logger
from .weight_source import first_of

MOST_MISFITS = 0.8  # of a LoRA's layers; above it, it was made for another model
MOST_NAMES = 20


@dataclass
class LoRAFit:
    """A LoRA's layers on the model: how many there are, and (name, found, needed) of those of another shape."""

    layers: int = 0
    misfits: list[tuple[str, str, str]] = field(default_factory=list)

    def describe(self) -> str:
        """Return a sentence that names the layers of another shape, at most MOST_NAMES of them."""
        names = first_of([name for name, _, _ in self.misfits], MOST_NAMES)
        return (
            f"A LoRA on the model acts without {len(self.misfits)} of its {self.layers} layers, which have another "
            f"shape than the model's: {names}. If it does too little, use a LoRA for Wan 2.1 I2V 14B."
        )


def check_loras(model: ModelPatcher) -> None:
    """Raise ValueError if a LoRA on `model` was made for another one; warn of single layers that do not fit."""
    for fit in _fits(model):
        if len(fit.misfits) / fit.layers > MOST_MISFITS:
            name, found, needed = fit.misfits[0]
            raise ValueError(
                f"A LoRA on the model was made for another one: {len(fit.misfits)} of its layers have another shape, "
                f"such as {name}, for which the LoRA brings {found} and the model needs {needed}. Take it out, or use "
                "a LoRA for Wan 2.1 14B."
            )
    for warning in lora_warnings(model):
        logger.warning("%s", warning)


def lora_warnings(model: ModelPatcher) -> list[str]:
    """Return a sentence for each LoRA on `model` with layers of another shape, which ComfyUI leaves out."""
    return list(dict.fromkeys(fit.describe() for fit in _fits(model) if fit.misfits))


def _fits(model: ModelPatcher) -> list[LoRAFit]:
    """Return the fit of each LoRA; adapters of one file share one set of keys."""
    patches = [(name, *entry) for name, entries in model.patches.items() for entry in entries]
    # Layers that a file brings whole, as differences; nothing says which file that is.
    whole = sum(isinstance(patch, tuple) and patch[0] == "diff" for _, _, patch, *_ in patches)
    fits: dict[int, LoRAFit] = {}
    for name, _, patch, _, offset, _ in patches:
        if not isinstance(patch, WeightAdapterBase):
            continue
        fit = fits.setdefault(id(patch.loaded_keys), LoRAFit(whole))
        fit.layers += 1
        needed = comfy.utils.get_attr(model.model, name).shape
        shape = _shape(patch) if offset is None else None
        found = needed if shape is None else shape
        if found.numel() != needed.numel():
            fit.misfits.append((name, _words(found), _words(needed)))
    return list(fits.values())


def _shape(patch: object) -> torch.Size | None:
    """Return the rows of the LoRA's up matrix and the columns of its down matrix; None for what is not checked."""
    if not isinstance(patch, LoRAAdapter):
        return None
    up, down, _, middle, _, reshape = patch.weights
    return None if middle is not None or reshape is not None else torch.Size([*up.shape[:1], *down.shape[1:]])


def _words(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a single number"
