"""The conditions of SteadyDancer as ComfyUI sees them: CONDITIONING keys in, model arguments out.

Source: SteadyDancer wan/image2video_dancer.py, generate(): y, ref_x, ref_c, condition, clip_fea_x, clip_fea_c.
CONDITIONING carries raw VAE latents; this class brings them into model space (process_latent_in) once.

    concat_latent_image [B, 16, T, h, w], concat_mask  stock I2V: the photo, then gray; its first frame is the photo's
    pose_video_latent [B, 16, T, h, w]                 the pose of every frame
    reference_pose_latent [B, 16, 1, h, w]             the first aligned pose, the positive one on every condition
    reference_photo_latent [B, 16, 1, h, w], optional  the photo, where concat_latent_image starts with something else
    clip_vision_output, pose_clip_vision_output        CLIP vision of the photo and of the first pose frame
"""

import comfy.conds
import comfy.model_base
import torch

from .block_attention import check_attention
from .memory_estimate import usage_factor
from .pose_windows import check_caches, check_prompt_windows, pose_of_window
from .transformer import SteadyDancerWanModel

REQUIRED_KEYS = (
    "concat_latent_image",
    "pose_video_latent",
    "reference_pose_latent",
    "clip_vision_output",
    "pose_clip_vision_output",
)
HOW_TO = (
    "Connect the outputs of 'Reconcile Conditions' (positive, negative, pose_negative) to the sampler, not the prompts."
)
NO_AREAS = (
    "A condition has an area; the pose reaches over the whole frame, so areas do not work with SteadyDancer. Take "
    "'Conditioning (Set Area)' out, or use 'Conditioning (Set Mask)' with set_cond_area on default."
)


class SteadyDancer(comfy.model_base.WAN21):
    """Wan 2.1 I2V with a pose beside the photo."""

    def __init__(self, model_config, model_type=comfy.model_base.ModelType.FLOW, device=None):
        super(comfy.model_base.WAN21, self).__init__(
            model_config, model_type, device=device, unet_model=SteadyDancerWanModel
        )
        self.image_to_video = True
        widths = model_config.unet_config
        self.memory_usage_factor = usage_factor(widths["dim"], widths["ffn_dim"])
        # The two reference frames cost tokens like any other latent frame; the pose itself costs none.
        self.memory_usage_factor_conds = ("ref_x", "ref_c")

    def extra_conds(self, **kwargs):
        """Return the model arguments of one condition; ValueError if it is incomplete or another node breaks it."""
        _check_condition(kwargs)
        if self.current_patcher is not None:
            check_attention(self.current_patcher)
            check_caches(self.current_patcher, kwargs["noise"].shape[2])
            check_prompt_windows(self.current_patcher, kwargs, kwargs["noise"].shape[2])
        out = super().extra_conds(**kwargs)
        photo = kwargs.get("reference_photo_latent")
        if photo is None:
            photo = kwargs["concat_latent_image"][:, :, :1]
        latents = photo, kwargs["pose_video_latent"], kwargs["reference_pose_latent"]
        photo, pose, first_pose = map(self.process_latent_in, latents)
        tensors = {
            "ref_x": torch.cat([photo, torch.ones_like(photo[:, :4]), photo], dim=1),
            "ref_c": first_pose,
            "pose_latents": pose,
            "clip_fea_c": kwargs["pose_clip_vision_output"].penultimate_hidden_states,
        }
        return out | {name: comfy.conds.CONDRegular(tensor) for name, tensor in tensors.items()}

    def extra_conds_shapes(self, **kwargs):
        """Return the shapes that the memory estimate adds: a frame of tokens for the photo, one for the first pose."""
        pose = kwargs.get("reference_pose_latent")
        if pose is None:
            return {}
        return {"ref_x": [1, 36, 1, *pose.shape[-2:]], "ref_c": [1, 16, 1, *pose.shape[-2:]]}

    def resize_cond_for_context_window(self, cond_key, cond_value, window, x_in, device, retain_index_list=()):
        """Give a context window the pose of its own frames and their neighbors."""
        if cond_key == "pose_latents":
            return cond_value._copy_with(pose_of_window(cond_value.cond, window).to(device))
        return super().resize_cond_for_context_window(
            cond_key, cond_value, window, x_in, device, retain_index_list=retain_index_list
        )


def _check_condition(cond: dict) -> None:
    missing = [key for key in REQUIRED_KEYS if cond.get(key) is None]
    if missing:
        listed = ", ".join(missing)
        raise ValueError(f"SteadyDancer got a condition without photo or pose. {HOW_TO} Missing: {listed}.")
    if cond.get("area") is not None:
        raise ValueError(NO_AREAS)
    want = tuple(cond["noise"].shape[2:])
    for key, name in (("concat_latent_image", "the photo"), ("pose_video_latent", "the pose")):
        found = tuple(cond[key].shape[2:])
        if found != want:
            raise ValueError(
                f"The latent is {_describe(want)} but {name} is {_describe(found)}. "
                "Use the latent that 'Reconcile Conditions' puts out together with its conditions."
            )


def _describe(shape: tuple[int, ...]) -> str:
    frames, height, width = shape
    return f"{width * 8}x{height * 8} pixels with {frames * 4 - 3} frames"
