"""The golden model: a small SteadyDancer with made-up weights, its inputs, and its conditions."""

from typing import Any

import comfy.clip_vision
import comfy.model_management
import comfy.sd
import torch

from steadydancer_pack.miniature.weights import made_up_input, steadydancer_state_dict
from steadydancer_pack.steadydancer_core.weights import detection

GOLDEN_CONFIG: dict[str, Any] = {"dim": 256, "ffn_dim": 512, "layers": 2, "text_dim": 64}
FRAMES, HEIGHT, WIDTH = 3, 8, 6


class GoldenInputs:
    """Inputs of the golden cases by name, shaped for a batch of one."""

    clip_tokens, text_tokens = 257, 512

    def __init__(self, frames=FRAMES, height=HEIGHT, width=WIDTH):
        self.size = frames, height, width

    def latent(self, name, frames=None, scale=1.0):
        shape = (16, frames or self.size[0], *self.size[1:])
        return torch.from_numpy(made_up_input(name, shape, scale))[None]

    def empty(self):
        """The LATENT that sampling starts from."""
        return {"samples": torch.zeros(1, 16, *self.size)}

    def clip(self, name):
        return torch.from_numpy(made_up_input(name, (1, 257, 1280)))[:, : self.clip_tokens]

    def text(self, name):
        rows = torch.from_numpy(made_up_input(name, (7, 64)))
        return torch.nn.functional.pad(rows, (0, 0, 0, self.text_tokens - 7))[None]


def load_golden_model(dtype=torch.float32):
    detection.register()
    return comfy.sd.load_diffusion_model_state_dict(
        steadydancer_state_dict(**GOLDEN_CONFIG), model_options={"dtype": dtype}
    )


def clip_output(features):
    output = comfy.clip_vision.Output()
    output["penultimate_hidden_states"] = features
    return output


def make_conditions(patcher, inputs):
    """Return positive, negative and pose-negative of `inputs`, as Reconcile Conditions makes them."""
    raw = patcher.model.process_latent_out
    mask = torch.ones(1, 1, *inputs.size)
    mask[:, :, 0] = 0
    shared = {
        "concat_latent_image": raw(inputs.latent("image_latent")),
        "concat_mask": mask,
        "reference_pose_latent": raw(inputs.latent("ref_pose_latent", 1)),
        "clip_vision_output": clip_output(inputs.clip("clip_image")),
        "pose_clip_vision_output": clip_output(inputs.clip("clip_pose")),
    }
    prompts = (("text", "pose_latent"), ("text_negative", "pose_latent"), ("text", "pose_latent_negative"))
    return tuple(
        [[inputs.text(text), {**shared, "pose_video_latent": raw(inputs.latent(pose))}]] for text, pose in prompts
    )


def forget_dead_models():
    """Drop models whose last patcher is gone: ComfyUI stumbles over them when it looks through its loaded models."""
    loaded = comfy.model_management.current_loaded_models
    loaded[:] = [entry for entry in loaded if entry.model is not None]
