"""Times that jump in a video file: what was decoded counts, and the gap is named."""

import io
import re
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.media import audio_track, media_file
from steadydancer_pack.media.audio_track import read_audio, read_file_audio
from steadydancer_pack.media.video_stream import VideoStream
from steadydancer_pack.nodes.animate import AnimateFromVideo
from steadydancer_pack.nodes.pose_extract import ExtractPoses
from steadydancer_pack.tests.comfy.test_video_stream import LEVEL_STEP, gray, numbers, to_frame

FPS, PICTURES = 16, 32
SAMPLE_RATE, PIECE = 8000, 500  # a piece of sound for each picture
TEN_HOURS = 36000
STEP = Fraction(1, FPS)
CONTAINERS = {"matroska": "pcm_s16le", "mov": "pcm_s16le", "mpegts": "mp2"}  # and a codec for the sound


def make_file(path, container="matroska", picture_jumps=(), sound_jumps=(), pictures=PICTURES):
    """Write gray pictures that tell their number, and their number as sound too.

    The jumps are (number, seconds): from that picture, or piece of sound, on all times are so much later.
    """
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("libx264", rate=FPS, options={"qp": "0", "preset": "ultrafast", "bf": "0"})
        stream.height, stream.width = gray(0).shape[:2]
        stream.codec_context.time_base = STEP
        codec = CONTAINERS[container]
        track = output.add_stream(codec, rate=16000 if codec == "mp2" else SAMPLE_RATE, layout="mono")
        for index in range(pictures):
            at = index + round(FPS * shift(picture_jumps, index))
            output.mux(stream.encode(to_frame(gray(index % PICTURES), "yuv420p", at, STEP)))
            output.mux(track.encode(piece(track, index, shift(sound_jumps, index))))
        output.mux(stream.encode(None))
        output.mux(track.encode(None))
    return str(path)


def shift(jumps, index):
    return sum(seconds for number, seconds in jumps if index >= number)


def piece(track, index, seconds):
    size = track.rate // FPS
    frame = av.AudioFrame.from_ndarray(np.full((1, size), 300 * (index % PICTURES + 1), np.int16), "s16", "mono")
    frame.sample_rate, frame.time_base = track.rate, Fraction(1, track.rate)
    frame.pts = index * size + round(seconds * track.rate)
    return frame


def heard(audio):
    """Return the numbers of the pieces of sound, one for each that is longer than half of its length, 0 for silence."""
    samples = torch.round(audio["waveform"][0, 0] * 32768 / 300).int()
    return samples[PIECE // 2 :: PIECE].tolist()


@pytest.mark.parametrize(
    "at, seconds, fps",
    [(16, TEN_HOURS, FPS), (16, TEN_HOURS, 0), (1, TEN_HOURS, FPS), (PICTURES - 1, TEN_HOURS, 0), (16, 200, FPS)],
)
@pytest.mark.parametrize("container", CONTAINERS)
def test_pictures_whose_times_jump_are_shown_once(tmp_path, container, at, seconds, fps):
    stream = VideoStream(make_file(tmp_path / "dance", container, [(at, seconds)]), fps=fps)
    found = []
    for frame in stream:
        found += numbers([frame])
        assert len(found) <= PICTURES + 1
    assert found == list(range(PICTURES))
    words = f"'dance' is damaged: the times of its pictures jump ahead by {seconds} s in all, first at ([0-9.]+) s"
    assert float(re.search(words, stream.break_note)[1]) == pytest.approx(at / FPS, abs=0.04)


def test_jumps_of_the_pictures_do_not_add_up_and_one_of_the_sound_is_no_end(tmp_path):
    jumps = [(number, 140 * 2**number) for number in range(1, 12)]
    assert len(list(VideoStream(make_file(tmp_path / "dance.mkv", picture_jumps=jumps)))) == PICTURES
    stream = VideoStream(make_file(tmp_path / "dance.mkv", sound_jumps=[(16, TEN_HOURS)]))
    assert len(list(stream)) == stream.frames == PICTURES and not stream.break_note


@pytest.mark.parametrize(
    "jumps",
    [
        *([jump] for jump in ((1, 12), (16, 9.5), (16, 110), (PICTURES - 1, 60))),
        [(number, 15) for number in range(1, 8)],
        [(number, 1.5) for number in range(1, PICTURES)],
    ],
)
@pytest.mark.parametrize("container", ["matroska", "mov"])
def test_stills_are_no_damage(tmp_path, container, jumps):
    """A title before the dance, a still within it, slides, a picture for each second and a half."""
    stream = VideoStream(make_file(tmp_path / "dance", container, jumps))
    assert len(list(stream)) == PICTURES + 16 * sum(seconds for _, seconds in jumps) and not stream.break_note


def test_a_long_still_counts_where_as_much_was_seen_before(tmp_path, monkeypatch):
    monkeypatch.setattr(media_file, "FREE_GAPS", 0.0)
    stream = VideoStream(make_file(tmp_path / "dance.mkv", picture_jumps=[(16 * 12, 11.5)], pictures=16 * 13))
    assert len(list(stream)) == 16 * 13 + 11.5 * 16 and not stream.break_note
    stream = VideoStream(make_file(tmp_path / "short.mkv", picture_jumps=[(16, 9.5)]))
    assert len(list(stream)) == PICTURES and stream.break_note


@pytest.fixture
def little_memory(monkeypatch):
    """Let the sound grow by no more than 16 MB."""
    pad = np.pad

    def checked(array, widths, *args, **options):
        assert sum(map(sum, widths)) < 4 << 20
        return pad(array, widths, *args, **options)

    monkeypatch.setattr(audio_track.np, "pad", checked)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("at, seconds", [(16, TEN_HOURS), (1, TEN_HOURS), (PICTURES - 1, TEN_HOURS), (16, 130)])
def test_sound_whose_times_jump_goes_on(tmp_path, as_bytes, at, seconds):
    path, notes = make_file(tmp_path / "dance", sound_jumps=[(at, seconds)]), []
    source = io.BytesIO((tmp_path / "dance").read_bytes()) if as_bytes else path
    assert heard(read_audio(InputImpl.VideoFromFile(source), notes.append)) == list(range(1, PICTURES + 1))
    (note,) = notes
    assert f"is damaged: the times of its sound jump ahead by {seconds} s in all, first at {at / FPS:.2f} s" in note


def test_sound_of_an_impossible_rate_is_left_out(tmp_path):
    """A float64 in the header of Matroska; a claim of 2 GHz took 22 GB for a clip of two seconds."""
    path, notes, rate = tmp_path / "dance.mkv", [], struct.pack(">d", SAMPLE_RATE)
    make_file(path)
    assert path.read_bytes().count(rate) == 1
    path.write_bytes(path.read_bytes().replace(rate, struct.pack(">d", 2e9)))
    assert read_audio(InputImpl.VideoFromFile(str(path)), notes.append) is None
    claim = "its sound claims 2000000000 samples per second. The sound is left out."
    assert notes == [f"Warning: 'dance.mkv' is damaged: {claim}"]


@pytest.mark.usefixtures("little_memory")
def test_pictures_and_sound_that_jump_together_stay_together(tmp_path):
    path = make_file(tmp_path / "dance.mkv", picture_jumps=[(16, TEN_HOURS)], sound_jumps=[(16, TEN_HOURS)])
    audio = read_audio(InputImpl.VideoFromFile(path))
    assert heard(audio) == list(range(1, PICTURES + 1)) == [1 + n for n in numbers(VideoStream(path))]


def test_silence_lasts_while_pictures_are_shown(tmp_path, monkeypatch):
    """The sound is away for 12 s of a video of 14 s, after one second."""
    monkeypatch.setattr(media_file, "FREE_GAPS", 0.0)
    path, notes = make_file(tmp_path / "dance.mkv", sound_jumps=[(16, 12)], pictures=16 * 14), []
    pieces = heard(read_file_audio(path, 0, 14, notes.append))
    assert pieces == [*range(1, 17), *[0] * 12 * FPS, *range(17, 33)] and notes == []


def test_sound_that_runs_back_goes_on(tmp_path):
    """Two transport streams, one after the other, as cameras leave them."""
    path = tmp_path / "dance.ts"
    once = read_file_audio(make_file(path, "mpegts"), 0)["waveform"].shape[-1]
    path.write_bytes(path.read_bytes() * 2)
    assert read_file_audio(str(path), 0)["waveform"].shape[-1] == pytest.approx(2 * once, rel=0.05)
    assert len(list(VideoStream(str(path)))) == 2 * PICTURES


class Blind:
    name, notes, fingerprint = "Blind", [], "blind"

    def prepare(self, make_room):
        pass

    def find(self, frame, *_):
        return [Region(32, 24, 20, 40)]

    def estimate(self, frame, regions):
        points = np.random.default_rng(0).random((1, 134, 2)) * 48
        return np.repeat(points, len(regions), 0), np.ones((len(regions), 134))

    def follow(self, points, scores):
        return None


def test_the_nodes_name_the_gaps(tmp_path, monkeypatch):
    monkeypatch.setattr("folder_paths.user_directory", str(tmp_path))
    path = make_file(tmp_path / "dance.mkv", "matroska", [(16, TEN_HOURS)], [(8, TEN_HOURS)])
    video, detector = InputImpl.VideoFromFile(path), Blind()
    *_, count, report = ExtractPoses.execute(detector, 16, 16, 1, 1, "hold", 0, False, 0, video=video).result
    photo = torch.full((1, 48, 64, 3), LEVEL_STEP / 255)
    size = {"size": "custom", "width": 64, "height": 48}
    outputs = AnimateFromVideo.execute(photo, size, video, detector=detector).result
    frames, animated = outputs[0], outputs[7]
    assert count == len(frames) == PICTURES
    for text in (report, animated):
        assert "Warning: 'dance.mkv' is damaged: the times of its pictures jump ahead by 36000 s" in text
        assert "Warning: 'dance.mkv' is damaged: the times of its sound jump ahead by 36000 s" in text
