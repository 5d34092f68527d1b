"""The attention of a block, changed from ComfyUI's attention override: weight of the photo, and NAG.

A block attends three times: to all tokens, to the image tokens, to the text tokens. NAG is normalized attention
guidance (arXiv:2505.21179): the prompt's result of the third is pushed away from that of a negative prompt, so that a
negative prompt acts without a pass of its own. Both prompts lie one after the other in the context, so that the block's
own projections, LoRAs and quantized layers included, make keys and values of both.

Dimension keys: B samples, L tokens, P and N text tokens of prompt and negative prompt, C = heads * head width.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

OVERRIDE = "optimized_attention_override"  # ComfyUI's key in transformer_options
SELF, IMAGE, TEXT = range(3)  # a block's attentions, in their order
TINY = 1e-6
FOREIGN_NAG = (
    "The model carries KJNodes' 'WanVideoNAG', which knows two conditions; SteadyDancer has three, and pose guidance "
    "would fail or be distorted. Take that node out and use SteadyDancer's 'Negative Prompt (NAG)' in its place: "
    "nag_scale 10 there is 11 in WanVideoNAG, alpha and tau mean the same."
)


class Nag(NamedTuple):
    """Normalized attention guidance of one pass.

    text [1, N, text_dim]: the negative prompt; rows: the samples of the batch that it acts on; scale: how far the
    result is pushed away; tau: most by which its L1 norm may grow; alpha: share of the guided result.
    """

    text: Tensor
    rows: tuple[int, ...]
    scale: float
    tau: float
    alpha: float

    def guide(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the guided result [B, L, C] of the results of both prompts."""
        guided = torch.add(positive, positive - negative, alpha=self.scale)
        # In float32: a sum of thousands of float16 values may overflow.
        norm, largest = (torch.linalg.vector_norm(t, 1, -1, True, dtype=torch.float32) for t in (guided, positive))
        guided *= (self.tau * largest / (norm + TINY)).clamp(max=1).to(guided)
        return torch.lerp(positive, guided, self.alpha)


class BlockAttention:
    """Attention override of one pass, around that of another node if there is one.

    photo_strength: factor of the photo's values in self-attention, None for none.
    """

    def __init__(self, other: Callable | None, photo_strength: float | None, nag: Nag | None, device: torch.device):
        self.other, self.nag = other, nag
        # A tensor, because block-wise compilation takes numbers in transformer_options for constants.
        self.strength = None if photo_strength is None else torch.tensor(photo_strength, device=device)
        self.photo, self.calls = (0, 0), 0

    def begin_block(self, photo: tuple[int, int]) -> None:
        """Expect the three attentions of a block; photo: first token of the photo and the one behind its last."""
        self.photo, self.calls = photo, 0

    def __call__(self, attention: Callable, q: Tensor, k: Tensor, v: Tensor, heads: int, *args, **kwargs) -> Tensor:
        """Return attention over [B, L, C]."""
        run = attention if self.other is None else partial(self.other, attention)
        place, self.calls = self.calls, self.calls + 1
        if place == SELF and self.strength is not None:
            start, stop = self.photo
            v[:, start:stop] *= self.strength  # in place, to hold no second copy of all values

        def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return run(q, k, v, heads, *args, **kwargs)

        return attend(q, k, v) if place != TEXT or self.nag is None else _guided(self.nag, attend, q, k, v)


def _guided(nag: Nag, attend: Callable, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return attention to the prompt, guided in the rows of `nag`; k, v [B, P + N, C]."""
    count = nag.text.shape[1]
    (k, negative_k), (v, negative_v) = (t.split([t.shape[1] - count, count], dim=1) for t in (k, v))
    out = attend(q, k, v)
    rows = list(nag.rows)
    if len(rows) == len(q):
        return nag.guide(out, attend(q, negative_k, negative_v))
    out[rows] = nag.guide(out[rows], attend(q[rows], negative_k[rows], negative_v[rows]))
    return out


def check_attention(model: ModelPatcher) -> None:
    """Raise ValueError if another node's NAG replaces the cross-attention of `model`."""
    for key, patch in model.object_patches.items():
        name = getattr(patch, "__qualname__", "")
        if key.endswith(".cross_attn.forward") and name.startswith("WanCrossAttentionPatch"):
            raise ValueError(FOREIGN_NAG)
