"""The sound of a driving video: whatever the pack reads, its own writer takes; a file's claims cost no memory."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.audio.resampler import AudioResampler

from steadydancer_pack.media import audio_track
from steadydancer_pack.media.audio_track import read_file_audio
from steadydancer_pack.media.video_writer import write_video

RATE = 48000


def make_sound(path, layout, channels, codec="pcm_s16le", seconds=0.5, **options):
    """Write noise."""
    noise = np.random.default_rng(0).integers(-9000, 9000, (round(seconds * RATE), channels)).astype(np.int16)
    with av.open(str(path), "w") as output:
        track = output.add_stream(codec, rate=RATE, layout=layout, options=options)
        piece = av.AudioFrame.from_ndarray(noise.reshape(1, -1), "s16", layout)
        piece.sample_rate, piece.pts, piece.time_base = RATE, 0, Fraction(1, RATE)
        output.mux(track.encode(piece))
        output.mux(track.encode(None))
    return path


def wave_file(path, channels):
    """Write a WAV as cameras and recorders do, which does not tell where its channels stand."""
    samples = np.full((RATE // 2, channels), 8192, "<i2").tobytes()
    kind = np.array([1, channels], "<u2").tobytes() + np.array([RATE, RATE * 2 * channels], "<u4").tobytes()
    kind += np.array([2 * channels, 16], "<u2").tobytes()
    parts = [(b"fmt ", kind), (b"data", samples)]
    body = b"WAVE" + b"".join(name + len(data).to_bytes(4, "little") + data for name, data in parts)
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    return path


def written(folder, audio):
    """Return the number of channels that the writer makes of the sound."""
    write_video([folder / "result.mp4"], torch.rand(8, 64, 64, 3), 16, audio=audio)
    with av.open(str(folder / "result.mp4")) as container:
        return container.streams.audio[0].channels


KEPT = [("mono", 1, 1), ("stereo", 2, 2), ("5.1", 6, 6), ("7.1", 8, 8)]
MIXED = [("2.1", 3, 2), ("quad", 4, 2), ("4.0", 4, 2), ("5.0", 5, 2), ("6.1", 7, 2)]
NOWHERE = [("", 3, 2), ("", 4, 2), ("", 5, 2), ("", 9, 1)]  # mixed, or the first is taken


@pytest.mark.parametrize("layout, channels, heard", [*KEPT, *MIXED, *NOWHERE])
def test_the_writer_takes_every_number_of_channels_that_is_read(tmp_path, layout, channels, heard):
    path = make_sound(tmp_path / "v.mov", layout, channels) if layout else wave_file(tmp_path / "v.wav", channels)
    audio = read_file_audio(str(path), 0)
    assert audio["waveform"].shape == (1, heard, RATE // 2)
    assert audio["waveform"].amax() >= 0.25 - 1e-4
    assert written(tmp_path, audio) == min(heard, 2)


def test_sound_in_space_is_heard_by_its_first_channel(tmp_path):
    sound = make_sound(tmp_path / "v.mkv", "ambisonic 1", 4, "libopus", mapping_family="2")
    audio = read_file_audio(str(sound), 0)
    assert audio["waveform"].shape[:2] == (1, 1) and audio["waveform"].any()
    assert written(tmp_path, audio) == 1


def test_a_refused_sound_can_be_left_out(tmp_path):
    audio = {"waveform": torch.zeros(2, 100), "sample_rate": RATE}
    with pytest.raises(ValueError, match=r"it must be \[batch, channels, samples\] .*, or disconnect audio\."):
        write_video([tmp_path / "result.mp4"], torch.rand(8, 64, 64, 3), 16, audio=audio)


@pytest.mark.parametrize("claimed", [4e6, 1e9])  # seconds
def test_a_length_that_the_file_claims_costs_no_memory(tmp_path, monkeypatch, claimed):
    """4e6 seconds of 48 kHz stereo would be 1.5 TB."""
    asked, zeros = [], np.zeros
    monkeypatch.setattr(np, "zeros", lambda shape, dtype=float: asked.append(np.prod(shape)) or zeros(shape, dtype))
    path = make_sound(tmp_path / "v.mkv", "stereo", 2)
    data, tag = path.read_bytes(), b"\x44\x89\x88"  # Matroska's Duration, a float64 in milliseconds
    at = data.index(tag) + len(tag)
    path.write_bytes(data[:at] + np.array(claimed * 1000, ">f8").tobytes() + data[at + 8 :])
    audio = read_file_audio(str(path), 0)
    assert audio["waveform"].shape == (1, 2, RATE // 2)
    assert asked and max(asked) <= 2 * RATE * 601


def test_sound_longer_than_what_is_reserved_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_track, "LONGEST_RESERVED", 0.1)
    path = make_sound(tmp_path / "v.mkv", "stereo", 2, seconds=3)
    assert read_file_audio(str(path), 0)["waveform"].shape == (1, 2, 3 * RATE)


@pytest.mark.parametrize("layout, channels, resampled", [("stereo", 2, False), ("5.1", 6, False), ("7.1", 8, True)])
def test_only_sound_that_needs_it_is_resampled_to_the_same_samples(tmp_path, monkeypatch, layout, channels, resampled):
    path = make_sound(tmp_path / "v.mp4", layout, channels, "aac")
    made = []
    monkeypatch.setattr(audio_track, "AudioResampler", lambda *args: made.append(args) or AudioResampler(*args))
    found = read_file_audio(str(path), 0)["waveform"]
    assert bool(made) is resampled
    monkeypatch.setattr(audio_track, "MOST_PLANES", 0)
    assert torch.equal(found, read_file_audio(str(path), 0)["waveform"]) and made
