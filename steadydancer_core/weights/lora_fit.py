"""Does a LoRA fit the model? ComfyUI only writes a line to the console for each layer that it leaves out.

A LoRA for a smaller Wan has the same layer names, so it is accepted when it is connected and fails, layer by layer and
without an error, while it is applied.
"""

from collections.abc import Iterator

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import LoRAAdapter


def check_loras(model: ModelPatcher) -> None:
    """Raise ValueError if a LoRA on `model` was made for layers of another shape. Other kinds of patch are passed."""
    wrong = list(_misfits(model))
    if wrong:
        name, found, needed = wrong[0]
        raise ValueError(
            f"A LoRA on the model was made for another one: {len(wrong)} of its layers have another shape, such as "
            f"{name}, for which the LoRA brings {found} and the model needs {needed}. Take it out, or use a LoRA for "
            "Wan 2.1 14B."
        )


def _misfits(model: ModelPatcher) -> Iterator[tuple[str, str, str]]:
    for name, patches in model.patches.items():
        weight = comfy.utils.get_attr(model.model, name)
        for _, patch, _, offset, _ in patches:
            shape = _shape(patch)
            if shape is not None and offset is None and shape.numel() != weight.shape.numel():
                yield name, _words(shape), _words(weight.shape)


def _shape(patch: object) -> torch.Size | None:
    """Return the rows of the LoRA's up matrix and the columns of its down matrix; None for other patches."""
    if not isinstance(patch, LoRAAdapter):
        return None
    up, down, _, middle, _, reshape = patch.weights
    return None if middle is not None or reshape is not None else torch.Size([*up.shape[:1], *down.shape[1:]])


def _words(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a single number"
