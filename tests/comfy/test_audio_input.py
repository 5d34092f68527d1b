"""AUDIO of other packs: mixed down, or refused in a sentence by every node that takes it."""

import re
from fractions import Fraction

import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types

from steadydancer_pack.media.audio_input import to_audio
from steadydancer_pack.media.audio_track import read_audio
from steadydancer_pack.media.video_writer import write_video
from steadydancer_pack.nodes.pose_motion import cut_audio, delay_audio

RATE = 8000
WAVE = torch.tensor([[[0.5, -1.0, 0.25, 0.0], [0.25, 0.5, -0.5, 1.0]]])  # stereo
SHORT = (WAVE.numpy() * 32768).clip(-32768, 32767).astype(np.int16)
REFUSED = {  # by what the message calls it
    r"without samples at 8000 Hz": {"waveform": None, "sample_rate": RATE},
    r"without samples at 8000 Hz; it": {"waveform": [[[0.0]]], "sample_rate": RATE},
    r"without samples at None Hz": {},
    r"of shape \(2, 4\) at": {"waveform": WAVE[0], "sample_rate": RATE},
    r"of shape \(1, 4, 1\) at": {"waveform": np.full((1, 4, 1), "0"), "sample_rate": RATE},
    r"of shape \(1, 65, 4\) at": {"waveform": torch.zeros(1, 65, 4), "sample_rate": RATE},
}
for rate in ("8 kHz", None, float("nan"), -RATE, [RATE, RATE]):
    REFUSED[rf"of shape \(1, 2, 4\) at {re.escape(repr(rate))} Hz"] = {"waveform": WAVE, "sample_rate": rate}


def write(folder, audio):
    return write_video([folder / "v.mp4"], torch.rand(2, 64, 64, 3), 16, audio=audio)


def video_with(audio):
    images = torch.rand(2, 8, 8, 3)
    parts = Types.VideoComponents(images=images, frame_rate=Fraction(16), audio=audio)
    return InputImpl.VideoFromComponents(parts)


def test_audio_of_comfyui_stays_the_same():
    audio = {"waveform": WAVE, "sample_rate": RATE, "note": "kept"}
    assert to_audio(audio) == audio and to_audio(audio)["waveform"] is WAVE


@pytest.mark.parametrize("rate", [RATE, float(RATE), str(RATE), "8000.0", np.int64(RATE), torch.tensor(RATE)])
@pytest.mark.parametrize("waveform", [WAVE, WAVE.numpy(), WAVE.numpy().astype(">f8"), WAVE.double(), SHORT])
def test_numbers_of_other_kinds_are_the_same_sound(waveform, rate):
    found = to_audio({"waveform": waveform, "sample_rate": rate})
    assert found["sample_rate"] == RATE and isinstance(found["sample_rate"], int)
    assert torch.allclose(found["waveform"].float(), WAVE, atol=1e-4)


SIGNED = (torch.int16, [0, 16384, -32768]), (torch.int32, [0, 1 << 30, -(1 << 31)])
UNSIGNED = (np.uint8, [128, 192, 0]), (np.uint16, [1 << 15, 3 << 14, 0])


@pytest.mark.parametrize(("dtype", "samples"), [*SIGNED, *UNSIGNED])
def test_integers_are_of_full_scale(dtype, samples):
    make = torch.tensor if isinstance(dtype, torch.dtype) else np.array
    waveform = make([[samples]], dtype=dtype)
    assert to_audio({"waveform": waveform, "sample_rate": RATE})["waveform"].tolist() == [[[0.0, 0.5, -1.0]]]


@pytest.mark.parametrize("channels", [3, 4, 5, 7, 16])
def test_channels_nobody_can_place_are_mixed(tmp_path, channels):
    waveform = torch.arange(channels).view(1, -1, 1).expand(2, -1, 5) / channels
    found = to_audio({"waveform": waveform, "sample_rate": RATE})["waveform"]
    assert torch.allclose(found, torch.full((2, 1, 5), (channels - 1) / (2 * channels)))
    assert write(tmp_path, {"waveform": waveform, "sample_rate": RATE}).stat().st_size


@pytest.mark.parametrize(("message", "audio"), REFUSED.items(), ids=range(len(REFUSED)))
def test_every_node_refuses_what_is_no_sound(tmp_path, message, audio):
    for take in (lambda audio: write(tmp_path, audio), lambda a: cut_audio(a, 0.1), lambda a: delay_audio(a, 0.1)):
        with pytest.raises(ValueError, match=f"^Found audio {message}.* or disconnect audio"):
            take(audio)
    assert list(tmp_path.iterdir()) == []


def test_a_video_with_odd_sound_is_read_without_it():
    notes = []
    assert read_audio(video_with({"waveform": None, "sample_rate": RATE}), notes.append) is None
    assert len(notes) == 1 and notes[0].startswith("Warning: the sound of the video is left out. Found audio without")
    odd = {"waveform": np.stack([SHORT[0]] * 2), "sample_rate": "8000"}
    assert torch.allclose(read_audio(video_with(odd))["waveform"], WAVE, atol=1e-4)
    assert read_audio(video_with({"waveform": WAVE[..., :0], "sample_rate": RATE}), notes.append) is None
    assert len(notes) == 1


@pytest.mark.parametrize(("audio", "notes"), [(None, 0), ({}, 0), (WAVE, 1), (WAVE.numpy(), 1), ([], 1), ("", 1)])
def test_only_none_and_an_empty_mapping_are_silence(audio, notes):
    found = []
    assert read_audio(video_with(audio), found.append) is None
    assert len(found) == notes
