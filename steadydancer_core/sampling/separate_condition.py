"""Conditions that reach the model in a call of their own, within the same evaluation as the others.

Nodes such as ComfyUI's EasyCache follow the first condition of the first call, and ComfyUI runs the last condition of a
call first: one that is not computed on every step must share no call with those that are.
"""

import comfy.conds
from torch import Tensor


class SeparateCondition(comfy.conds.CONDRegular):
    """A model argument [B, ...] that ComfyUI concatenates only with that of a condition of the same `name`."""

    def __init__(self, cond: Tensor, name: str):
        super().__init__(cond)
        self.name = name

    def _copy_with(self, cond: Tensor) -> "SeparateCondition":
        return type(self)(cond, self.name)

    def can_concat(self, other: comfy.conds.CONDRegular) -> bool:
        """Return whether both conditions go to the model in one call."""
        return getattr(other, "name", None) == self.name and super().can_concat(other)


def separate(conds: list[dict] | None, name: str) -> list[dict] | None:
    """Return processed conditions that share a call only with those of the same `name`; None for None."""
    if conds is None:
        return None
    separated = []
    for cond in conds:
        pose = SeparateCondition(cond["model_conds"]["pose_latents"].cond, name)
        separated.append({**cond, "model_conds": {**cond["model_conds"], "pose_latents": pose}})
    return separated
