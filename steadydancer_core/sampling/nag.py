"""A negative prompt without a pass of its own (NAG), as a patch of the MODEL for every sampler.

At text guidance 1, as with step-distilled LoRAs, no negative prompt is computed. Normalized attention guidance
(arXiv:2505.21179) lets one act inside the cross-attention of the positive and of the pose-negative alike, so that it
cancels in the pose term; model/block_attention.py has the formula. The negative branch, where there is one, stays as
it is. Renamed: nag_scale here is the paper's phi; the authors' code and KJNodes count from 1 (phi + 1).
"""

import math
from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..model.block_attention import Nag
from .guidance_checks import check_is_steadydancer
from .run_log import BRANCHES
from .step_position import StepPosition, check_fractions

KEY = "steadydancer_nag"
NEGATIVE = BRANCHES.index("negative")


@dataclass(frozen=True)
class NagSettings:
    """scale: 0 is off; tau, alpha: see Nag; start, end: the fractions of the steps between which it acts.

    Raises ValueError for a number out of range.
    """

    scale: float = 10.0
    tau: float = 2.5
    alpha: float = 0.25
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"nag_scale is {self.scale}; it must be 0 (off) or more. 10 is usual.")
        if not 1 <= self.tau < math.inf:
            raise ValueError(f"nag_tau is {self.tau}; it must be 1 or more. 2.5 is usual.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"nag_alpha is {self.alpha}; it must be between 0 and 1. 0.25 is usual.")
        check_fractions("NAG", self.start, self.end)


def patch_nag(model: ModelPatcher, negative, settings: NagSettings) -> ModelPatcher:
    """Return a clone of `model` on which the prompt of `negative` acts by NAG; without a change at scale 0."""
    check_is_steadydancer(model)
    if model.get_wrappers(WrappersMP.APPLY_MODEL, KEY):
        raise ValueError(
            "This model already has a negative prompt by NAG. Write all of it into one prompt and take the other "
            "'Negative Prompt (NAG)' out."
        )
    text = _text_of(negative, model.model.diffusion_model.text_embedding[0].in_features)
    patched = model.clone()
    if settings.scale and settings.alpha:
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, NagWrapper(text, settings))
    return patched


def _text_of(conditioning, width: int) -> Tensor:
    """Return the text [1, N, width] of the one condition in `conditioning`; ValueError for anything else."""
    if len(conditioning) != 1:
        raise ValueError(
            f"Found {len(conditioning)} conditions combined into the negative prompt; NAG takes one. Connect a single "
            "'CLIP Text Encode (Prompt)' or 'Load Prompt Embeddings'."
        )
    text = conditioning[0][0]
    if text.shape[-1] != width:
        raise ValueError(
            f"The negative prompt has {text.shape[-1]} channels and the model takes {width}: it comes from another "
            "text encoder. Use the CLIP that makes the positive prompt too."
        )
    return text[:1]


class NagWrapper:
    """Gives each pass the negative prompt, for the samples that do not carry it as their own prompt."""

    def __init__(self, text: Tensor, settings: NagSettings):
        self.text, self.settings = text, settings

    def __call__(self, executor, x, t, concat, text, control, transformer_options, /, **kwargs):
        position = StepPosition.in_run(
            t, executor.class_obj.model_sampling, {"transformer_options": transformer_options}
        )
        rows = _rows(transformer_options.get("cond_or_uncond") or [0], x.shape[0])
        if rows and position.is_within(self.settings.start, self.settings.end):
            kwargs["nag"] = Nag(self.text, rows, self.settings.scale, self.settings.tau, self.settings.alpha)
        return executor(x, t, concat, text, control, transformer_options, **kwargs)


def _rows(branches: list[int], batch: int) -> tuple[int, ...]:
    """Return the samples of a batch that are not the negative branch; `branches` share it in equal parts, in order."""
    samples = batch // len(branches)
    return tuple(row for row in range(batch) if branches[row // samples] != NEGATIVE)
