"""What a node says of a model too small to be SteadyDancer-14B: the bundled miniature."""

from comfy.model_patcher import ModelPatcher

from ...steadydancer_core.weights.weight_formats import FULL_SIZE

DRAWN_ONLY = (
    "This is no SteadyDancer-14B. The bundled miniature knows drawn characters of 96x96 pixels only. For real photos "
    "open a template with the 14B files: 3 Fast, 4 Official quality or 5 Low VRAM."
)


def miniature_note(model: ModelPatcher) -> list[str]:
    """Return that the model knows drawn characters only; nothing for one of full width."""
    width = getattr(model.get_model_object("diffusion_model"), "dim", FULL_SIZE[1])
    return [DRAWN_ONLY] if width < FULL_SIZE[1] else []
