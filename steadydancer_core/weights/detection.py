"""Teach ComfyUI's own loaders to recognize a SteadyDancer checkpoint, by an entry before the plain Wan 2.1 ones."""

import comfy.supported_models

from ..model.model_base import SteadyDancer
from .clip_vision import with_clip_vision
from .lazy_weights import read_on_load
from .scaled_layers import unscale
from .weight_names import RENAMED

MARKERS = (
    "patch_embedding_fuse.weight",
    "patch_embedding_ref_c.weight",
    "condition_embedding_align.proj_p.weight",
    "condition_embedding_spatial.conv.weight",
    "condition_embedding_temporal.0.spatial.weight",
)


class SteadyDancerConfig(comfy.supported_models.WAN21_I2V):
    """SteadyDancer-14B and its miniature.

    The kind of Wan model is no condition: ComfyUI takes a file without CLIP vision's layers for text-to-video.
    """

    unet_config = {"image_model": "wan2.1", "in_dim": 36}  # noqa: RUF012  as its base class
    required_keys = {f"{{}}{name}" for name in MARKERS}  # noqa: RUF012  as its base class
    sampling_settings = {"shift": 5.0}  # noqa: RUF012

    def get_model(self, state_dict, prefix="", device=None):
        """Build the model; the width of the text comes from the file, because the miniature's is not Wan's 4096."""
        self.unet_config["model_type"] = "i2v"
        text = state_dict.get(f"{prefix}text_embedding.0.weight")
        if text is not None and text.ndim == 2 and text.is_floating_point():  # packed weights have another shape
            self.unet_config["text_dim"] = text.shape[1]
        model = SteadyDancer(self, device=device)
        transformer = model.diffusion_model
        others = (child for name, child in transformer.named_children() if name != "blocks")
        read_on_load([*transformer.get_submodule("blocks").children(), *others])
        return model

    def process_unet_state_dict(self, state_dict):
        """Return the weights under the names of our modules, with a scale only where a layer can compute with it.

        What serves CLIP vision is zero where the file leaves it out.
        """
        return with_clip_vision(unscale(_rename(state_dict, RENAMED)))

    def process_unet_state_dict_for_saving(self, state_dict):
        names = {new: old for old, new in RENAMED.items()}
        return super().process_unet_state_dict_for_saving(_rename(state_dict, names))


def register() -> None:
    """Put SteadyDancer before plain Wan 2.1 in ComfyUI's list of models; calling it again changes nothing."""
    models = comfy.supported_models.models
    if not any(entry.__name__ == SteadyDancerConfig.__name__ for entry in models):
        plain = (comfy.supported_models.WAN21_T2V, comfy.supported_models.WAN21_I2V)
        models.insert(min(map(models.index, plain)), SteadyDancerConfig)  # ty: ignore[invalid-argument-type]  typed by what is in it


def _rename(state_dict: dict, names: dict[str, str]) -> dict:
    for old, new in names.items():
        state_dict = {key.replace(old, new): value for key, value in state_dict.items()}
    return state_dict
