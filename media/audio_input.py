"""AUDIO as other packs make it, brought to what ComfyUI's own nodes make.

AUDIO is {"waveform": float32 [B, C channels, T samples] in -1..1, "sample_rate": int in Hz}.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .log import logger
from .video_source import CHANNEL_LAYOUTS

HIGHEST_RATE = 768_000  # Hz; what claims more is damaged
MOST_CHANNELS = 64  # more are samples in the place of channels


def to_audio(audio) -> dict:
    """Return AUDIO with a tensor of floats, a whole sample rate, and a number of channels that can be written.

    NumPy arrays become tensors, integers of full scale -1..1, and a rate may be text. 3, 4, 5 or 7 channels, whose
    places nobody knows, are mixed to one. ValueError for anything else.
    """
    values = audio if isinstance(audio, Mapping) else {}
    waveform, rate = _samples(values.get("waveform")), _rate(values.get("sample_rate"))
    channels = waveform.shape[1] if waveform is not None and waveform.ndim == 3 and len(waveform) else 0
    if waveform is None or not rate or not 0 < channels <= MOST_CHANNELS:
        shape = getattr(values.get("waveform"), "shape", None)
        found = "without samples" if shape is None else f"of shape {tuple(shape)}"
        raise ValueError(
            f"Found audio {found} at {values.get('sample_rate')!r:.40} Hz; it must be [batch, channels, samples] with "
            f"up to {MOST_CHANNELS} channels and a rate of 1 to {HIGHEST_RATE} Hz. Connect the output of Load Audio or "
            "of a video loader, or disconnect audio."
        )
    if channels not in CHANNEL_LAYOUTS:
        logger.info("The audio has %d channels; they are mixed to one.", channels)
        waveform = waveform.float().mean(1, keepdim=True)
    return {**audio, "waveform": waveform, "sample_rate": rate}


def cut_audio(audio, seconds: float) -> dict | None:
    """Return AUDIO from some seconds on; None if there is no sound that late."""
    if audio is None:
        return None
    audio = to_audio(audio)
    waveform = audio["waveform"][..., round(seconds * audio["sample_rate"]) :]
    return {**audio, "waveform": waveform} if waveform.shape[-1] else None


def _samples(waveform) -> Tensor | None:
    """Return samples as a tensor of floats, None for what holds none."""
    if isinstance(waveform, Tensor):
        if waveform.is_floating_point():
            return waveform
        waveform = waveform.cpu().numpy()
    if not isinstance(waveform, np.ndarray) or waveform.dtype.kind not in "fiu":
        return None
    samples = torch.from_numpy(waveform.astype(np.float32))
    if waveform.dtype.kind == "f":
        return samples
    limits = np.iinfo(waveform.dtype)
    middle = 0 if limits.min else (limits.max + 1) // 2
    return (samples - middle) / (limits.max + 1 - middle)


def _rate(value) -> int | None:
    """Return a sample rate in Hz as a whole number, None for what is no rate."""
    try:
        rate = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return round(rate) if math.isfinite(rate) and 1 <= rate <= HIGHEST_RATE else None
