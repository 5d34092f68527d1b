"""The stock Wan VAE on a whole clip at once: the same numbers as its own encode and decode, several times faster.

ComfyUI's WanVAE walks through a clip in pieces of two frames with caches, to save memory. For training, short clips
fit at once, and one large convolution costs less than many small ones with their copies. The weights stay in the stock
module; only the walk is ours. Causal time: a convolution sees zeros before the first frame; the first frame skips the
strides in time, and the frames after it start the doubling in time from zeros again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from comfy.ldm.wan.vae import WanVAE
from torch import Tensor, nn

TINY = 1e-12


def encode(vae: WanVAE, video: Tensor) -> Tensor:
    """Return the raw latent (mu) [B, 16, T, H / 8, W / 8] of a video [B, 3, 4 T - 3, H, W] in -1..1."""
    x = _conv(vae.encoder.conv1, video)
    for layer in vae.encoder.downsamples:
        x = _down(layer, x) if hasattr(layer, "resample") else _residual(layer, x)
    x = _head(vae.encoder.head, _middle(vae.encoder.middle, x))
    return _conv(vae.conv1, x).chunk(2, dim=1)[0]


def decode(vae: WanVAE, latent: Tensor) -> Tensor:
    """Return the video [B, 3, 4 T - 3, H, W], about -1..1, of a raw latent [B, 16, T, H / 8, W / 8]."""
    x = _middle(vae.decoder.middle, _conv(vae.decoder.conv1, _conv(vae.conv2, latent)))
    for layer in vae.decoder.upsamples:
        x = _up(layer, x) if hasattr(layer, "resample") else _residual(layer, x)
    return _head(vae.decoder.head, x)


def _conv(conv: Any, x: Tensor) -> Tensor:
    reach, padding = conv.kernel_size[0] - 1, conv.padding[1:]
    if reach and x.shape[2] == 1:  # all but the last tap in time would meet zeros
        return F.conv2d(x[:, :, 0], conv.weight[:, :, -1], conv.bias, padding=padding).unsqueeze(2)
    if reach:
        x = F.pad(x, (0, 0, 0, 0, reach, 0))
    return F.conv3d(x, conv.weight, conv.bias, padding=(0, *padding))


def _norm_silu(norm: Any, x: Tensor) -> Tensor:
    channels_last = x.movedim(1, -1)
    gamma = norm.gamma.flatten().to(x.dtype)
    return F.silu(F.rms_norm(channels_last, gamma.shape, gamma, TINY).movedim(-1, 1))


def _residual(block: Any, x: Tensor) -> Tensor:
    first, second = block.residual[2], block.residual[6]
    h = _conv(first, _norm_silu(block.residual[0], x))
    h = _conv(second, _norm_silu(block.residual[3], h))
    return h + (x if isinstance(block.shortcut, nn.Identity) else _conv(block.shortcut, x))


def _middle(middle: Any, x: Tensor) -> Tensor:
    before, attention, after = middle
    return _residual(after, attention(_residual(before, x)))


def _head(head: Any, x: Tensor) -> Tensor:
    return _conv(head[2], _norm_silu(head[0], x))


def _down(layer: Any, x: Tensor) -> Tensor:
    x = _by_frame(layer.resample, x)
    if layer.mode == "downsample2d" or x.shape[2] == 1:
        return x
    conv = layer.time_conv
    return torch.cat([x[:, :, :1], F.conv3d(x, conv.weight, conv.bias, stride=conv.stride)], 2)


def _up(layer: Any, x: Tensor) -> Tensor:
    if layer.mode == "upsample3d" and x.shape[2] > 1:
        pairs = _conv(layer.time_conv, x[:, :, 1:]).unflatten(1, (2, -1))  # [B, 2, C, T, H, W]
        x = torch.cat([x[:, :, :1], pairs.movedim(1, 3).flatten(2, 3)], 2)
    return _by_frame(layer.resample, x)


def _by_frame(layers: Any, x: Tensor) -> Tensor:
    """Run layers for pictures on every frame of x [B, C, T, H, W]."""
    return layers(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (x.shape[0], -1)).transpose(1, 2)
