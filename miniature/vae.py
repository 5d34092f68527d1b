"""A made-up Wan 2.1 VAE of width 8: the full VAE's key names, depth and strides, about 2 MB.

A random stack keeps its variance near 1, so three gains make it sane: raw latents get a standard deviation of about 2
(1.2 in ComfyUI's normalised latent space), the decoder divides that out again, and nearly no decoded pixel is clipped.
"""

import math

import torch

from .container import safetensors_bytes
from .weights import Shapes, layer, uniform

WIDTH, LATENT, RGB = 8, 16, 3
ENCODER_WIDTHS = (1, 1, 2, 4, 4)
DECODER_WIDTHS = (4, 4, 4, 2, 1)
# Width of a decoder level's input: the upsampling before it halves the channels, except for the first level.
DECODER_INPUTS = (4, 2, 2, 1)
TIME_STRIDES_DOWN, TIME_STRIDES_UP = (False, True, True), (True, True, False)
GAINS = {"conv1.weight": 4.0, "conv2.weight": 0.4, "decoder.head.2.weight": 0.7}


def vae_shapes(width: int = WIDTH) -> Shapes:
    """Return the shape of every tensor of the VAE by its key."""
    return {
        **_encoder_shapes(width),
        **layer("conv1", 2 * LATENT, 2 * LATENT, 1, 1, 1),
        **layer("conv2", LATENT, LATENT, 1, 1, 1),
        **_decoder_shapes(width),
    }


def vae_state_dict(width: int = WIDTH, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Return a whole made-up VAE on the CPU."""
    tensors = {}
    for key, shape in vae_shapes(width).items():
        values = uniform(f"vae:{key}", shape)
        if key.endswith("gamma"):
            values = 1 + 0.1 * values
        elif key.endswith("bias"):
            values = 0.1 * values
        else:
            values = values * math.sqrt(3 / math.prod(shape[1:])) * GAINS.get(key, 1.0)
        tensors[key] = torch.from_numpy(values.astype("float32")).to(dtype)
    return tensors


def vae_file() -> bytes:
    """Return the made-up VAE as a safetensors file in float16."""
    metadata = {"name": "SteadyDancer made-up VAE", "license": "Apache-2.0", "weights": "made-up weights"}
    return safetensors_bytes(vae_state_dict(dtype=torch.float16), metadata)


def _encoder_shapes(width: int) -> Shapes:
    shapes = layer("encoder.conv1", width, RGB, 3, 3, 3)
    index, last = 0, len(ENCODER_WIDTHS) - 2
    for level in range(last + 1):
        inner, outer = width * ENCODER_WIDTHS[level], width * ENCODER_WIDTHS[level + 1]
        for channels in (inner, outer):
            shapes |= _residual_shapes(f"encoder.downsamples.{index}", channels, outer)
            index += 1
        if level < last:
            shapes |= layer(f"encoder.downsamples.{index}.resample.1", outer, outer, 3, 3)
            if TIME_STRIDES_DOWN[level]:
                shapes |= layer(f"encoder.downsamples.{index}.time_conv", outer, outer, 3, 1, 1)
            index += 1
    return shapes | _middle_shapes("encoder", outer) | _head_shapes("encoder", outer, 2 * LATENT)


def _decoder_shapes(width: int) -> Shapes:
    top = width * DECODER_WIDTHS[0]
    shapes = layer("decoder.conv1", top, LATENT, 3, 3, 3) | _middle_shapes("decoder", top)
    index, last = 0, len(DECODER_INPUTS) - 1
    for level in range(last + 1):
        inner, outer = width * DECODER_INPUTS[level], width * DECODER_WIDTHS[level + 1]
        for channels in (inner, outer, outer):
            shapes |= _residual_shapes(f"decoder.upsamples.{index}", channels, outer)
            index += 1
        if level < last:
            shapes |= layer(f"decoder.upsamples.{index}.resample.1", outer // 2, outer, 3, 3)
            if TIME_STRIDES_UP[level]:
                shapes |= layer(f"decoder.upsamples.{index}.time_conv", 2 * outer, outer, 3, 1, 1)
            index += 1
    return shapes | _head_shapes("decoder", outer, RGB)


def _residual_shapes(name: str, inner: int, outer: int) -> Shapes:
    shapes = {
        f"{name}.residual.0.gamma": (inner, 1, 1, 1),
        **layer(f"{name}.residual.2", outer, inner, 3, 3, 3),
        f"{name}.residual.3.gamma": (outer, 1, 1, 1),
        **layer(f"{name}.residual.6", outer, outer, 3, 3, 3),
    }
    return shapes if inner == outer else shapes | layer(f"{name}.shortcut", outer, inner, 1, 1, 1)


def _middle_shapes(coder: str, channels: int) -> Shapes:
    return {
        **_residual_shapes(f"{coder}.middle.0", channels, channels),
        f"{coder}.middle.1.norm.gamma": (channels, 1, 1),
        **layer(f"{coder}.middle.1.to_qkv", 3 * channels, channels, 1, 1),
        **layer(f"{coder}.middle.1.proj", channels, channels, 1, 1),
        **_residual_shapes(f"{coder}.middle.2", channels, channels),
    }


def _head_shapes(coder: str, inner: int, outer: int) -> Shapes:
    return {f"{coder}.head.0.gamma": (inner, 1, 1, 1), **layer(f"{coder}.head.2", outer, inner, 3, 3, 3)}
