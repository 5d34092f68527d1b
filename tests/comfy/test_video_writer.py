"""Every format is written and opened again: frames, size, timing, sound, colors, metadata, and what failure leaves."""

import errno
import io
import json
import logging
import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageSequence

from steadydancer_pack.media import video_formats, video_webp
from steadydancer_pack.media.video_formats import FORMATS, choose_crf, choose_pixel_format, frame_rate
from steadydancer_pack.media.video_source import frame_order
from steadydancer_pack.media.video_writer import Settings, VideoWriteError, write_video

HEIGHT, WIDTH = 64, 80
VIDEOS = [name for name, row in FORMATS.items() if row.is_video]
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (255, 255, 255)]
WORKFLOW = {"workflow": json.dumps({"nodes": [1], "text": '\u00e9 "q": {'}), "prompt": json.dumps({"1": {"type": "X"}})}


def make_clip(frames=6, height=HEIGHT, width=WIDTH):
    """Gray frames, each lighter than the last: frame i is recognized by its level."""
    levels = torch.linspace(0.1, 0.9, frames)
    return levels[:, None, None, None].expand(frames, height, width, 3).contiguous()


def make_sound(seconds, rate=44100, channels=2):
    t = torch.arange(round(seconds * rate)) / rate
    return {"waveform": (0.5 * torch.sin(2 * torch.pi * 440 * t)).expand(1, channels, -1), "sample_rate": rate}


def write(folder, name, images, fps=16.0, audio=None, on_frame=None, **settings):
    path = folder / f"clip.{FORMATS[name].container}"
    path.unlink(missing_ok=True)
    write_video([path], images, fps, Settings(name, **settings), audio, on_frame)
    assert [p.name for p in folder.iterdir()] == [path.name]
    return path


def read(path):
    """Return frames [F, H, W, 3] uint8 and their times in seconds."""
    if path.suffix == ".webp":
        return read_webp(path)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    if path.suffix == ".gif":
        return np.stack([f.to_ndarray(format="rgb24") for f in frames]), [f.time for f in frames]
    return np.stack([bt709_to_rgb(f) for f in frames]), [f.time for f in frames]


def read_webp(path):
    image, frames, times = Image.open(path), [], [0.0]
    for each in ImageSequence.Iterator(image):
        frames.append(np.asarray(each.convert("RGB")))
        times.append(times[-1] + each.info.get("duration", 0) / 1000)
    return np.stack(frames), times[:-1]


def bt709_to_rgb(frame):
    """The matrix of BT.709, written out: Y in 16..235, Cb and Cr in 16..240 (8 bits)."""
    assert (frame.colorspace, frame.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
    y, u, v = planes(frame)
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    rgb = np.stack([y + 1.5748 * v, y - 0.1873 * u - 0.4681 * v, y + 1.8556 * u], -1)
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(int)


def planes(frame):
    """Return Y, Cb, Cr [3, H, W] in steps of 8 bits; 10 bits have quarters."""
    deep = frame.format.components[0].bits == 10
    frame = frame.reformat(format="yuv444p10le" if deep else "yuv444p")
    dtype, scale = (np.uint16, 4) if deep else (np.uint8, 1)
    rows = (np.frombuffer(p, dtype).reshape(p.height, -1)[:, : p.width] for p in frame.planes)
    return np.stack(list(rows)) / scale


def levels(frames):
    return [round(float(f.mean())) for f in frames]


def tags(path):
    if path.suffix == ".webp":
        exif = Image.open(path).getexif()
        return dict(exif[tag].split(":", 1) for tag in (0x010F, 0x0110) if tag in exif)
    with av.open(str(path)) as container:
        return {k.lower(): v for k, v in container.metadata.items() if k.lower() in WORKFLOW}


@pytest.mark.parametrize("fps, exact", [(16.0, 16), (29.97, Fraction(30000, 1001))])
@pytest.mark.parametrize("name", FORMATS)
def test_frames_size_and_times_are_those_of_the_settings(tmp_path, name, fps, exact):
    frames, times = read(path := write(tmp_path, name, make_clip(), fps))
    assert frames.shape == (6, HEIGHT, WIDTH, 3)
    assert np.abs(np.array(levels(frames)) - np.linspace(0.1, 0.9, 6) * 255).max() <= 3
    tick = {"GIF": 0.01, "MP4 H.264": 1e-4, "MP4 H.265": 1e-4}.get(name, 0.001)
    assert np.abs(np.array(times) - np.arange(6) / fps).max() <= tick
    if name in VIDEOS:
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == exact
            assert container.duration / av.time_base == pytest.approx(float(6 / exact), abs=0.002)


@pytest.mark.parametrize("count, settings", [(1, {"metadata": WORKFLOW, "loop": 1}), (5, {})])
@pytest.mark.parametrize("name", FORMATS)
def test_a_still_clip_keeps_its_frames(tmp_path, name, count, settings):
    frames, _ = read(write(tmp_path, name, make_clip(1).expand(count, -1, -1, -1), **settings))
    assert frames.shape == (count, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("name", ["GIF", "WebP"])
def test_the_last_frame_of_a_picture_lasts_as_long_as_the_others_and_sound_is_left_out(tmp_path, caplog, name):
    with caplog.at_level(logging.INFO):
        image = Image.open(write(tmp_path, name, make_clip(4), 10.0, make_sound(1.0)))
    assert f"{name} carries no sound" in caplog.text
    assert [frame.info["duration"] for frame in ImageSequence.all_frames(image)] == [100] * 4


UNPADDED = (("GIF", "auto"), ("WebP", "auto"), ("MP4 H.264", "yuv444p"))


@pytest.mark.parametrize("name, pixel_format", [*UNPADDED, *((name, "auto") for name in VIDEOS)])
def test_odd_sizes_are_padded_where_the_codec_needs_it(tmp_path, caplog, name, pixel_format):
    images = torch.zeros(2, 65, 79, 3)
    images[:, -1:] = images[:, :, -1:] = 1.0
    with caplog.at_level(logging.INFO):
        frames, _ = read(write(tmp_path, name, images, crf=1, pixel_format=pixel_format))
    padded = (name, pixel_format) not in UNPADDED
    assert frames.shape == ((2, 66, 80, 3) if padded else (2, 65, 79, 3))
    assert frames[:, -1].mean() > 230 and frames[:, :, -1].mean() > 230
    assert ("79x65 is padded to 80x66" in caplog.text) == padded


@pytest.mark.parametrize(
    "name, pixel_format",
    [("GIF", "auto"), ("WebP", "auto"), *((n, p) for n in VIDEOS for p in FORMATS[n].pixel_formats)],
)
def test_colors_survive_in_every_pixel_format(tmp_path, name, pixel_format):
    images = torch.tensor(COLORS)[:, None, None].expand(-1, HEIGHT, WIDTH, -1) / 255
    path = write(tmp_path, name, images, crf=4 if name in VIDEOS else -1, pixel_format=pixel_format)
    frames, _ = read(path)
    assert np.abs(frames[:, HEIGHT // 2, WIDTH // 2].astype(int) - COLORS).max() <= (3 if name in VIDEOS else 4)
    if name not in VIDEOS:
        return
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == pixel_format
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)


def test_ten_bits_hold_more_than_256_greys(tmp_path):
    ramp = torch.linspace(0, 1, 512)[None, None, :, None].expand(2, 64, -1, 3)
    with av.open(str(write(tmp_path, "MP4 H.265", ramp, crf=0, pixel_format="yuv444p10le"))) as container:
        luma = planes(next(container.decode(video=0)))[0]
    assert len(np.unique(luma)) > 400 and (luma.min(), luma.max()) == (64 / 4, 940 / 4)


def test_mp4_starts_with_its_index_and_h265_carries_the_tag_that_players_accept(tmp_path):
    for name in ("MP4 H.264", "MP4 H.265"):
        data = (path := write(tmp_path, name, make_clip(2))).read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_frame_order():
    orders = {(4,): "0123", (4, True): "012321", (4, True, 2): "012321" * 2}
    for arguments, order in (orders | {(1, True): "0", (2, True): "01", (3, True): "0121"}).items():
        assert frame_order(*arguments) == [*map(int, order)]


@pytest.mark.parametrize("name", FORMATS)
def test_ping_pong_goes_back_without_both_ends(tmp_path, name):
    seen = levels(read(write(tmp_path, name, make_clip(4), ping_pong=True))[0])
    assert len(seen) == 6
    assert np.abs(np.array(seen) - np.linspace(0.1, 0.9, 4)[[0, 1, 2, 3, 2, 1]] * 255).max() <= 3


@pytest.mark.parametrize("loop, frames", [(0, 3), (1, 3), (2, 6)])
def test_a_video_repeats_its_frames(tmp_path, loop, frames):
    assert len(read(write(tmp_path, "MP4 H.264", make_clip(3), loop=loop))[0]) == frames


@pytest.mark.parametrize("loop, stored", [(0, 0), (1, None), (3, 2)])
def test_gif_counts_the_repeats_after_the_first_play_and_webp_the_plays(tmp_path, loop, stored):
    data = write(tmp_path, "GIF", make_clip(3), loop=loop).read_bytes()
    at = data.find(b"NETSCAPE2.0")
    assert (struct.unpack_from("<H", data, at + 13)[0] if at >= 0 else None) == stored
    (tmp_path / "clip.gif").unlink()
    chunks = dict(video_webp.read_chunks(write(tmp_path, "WebP", make_clip(3), loop=loop).read_bytes()))
    assert struct.unpack_from("<H", chunks[b"ANIM"], 4)[0] == loop


@pytest.mark.parametrize("seconds", [0.0, 0.25, 3.0])
@pytest.mark.parametrize("rate, channels", [(44100, 2), (22050, 1), (48000, 6)])
@pytest.mark.parametrize("name", ["MP4 H.264", "WebM VP9"])
def test_sound_is_cut_or_padded_to_the_video(tmp_path, name, rate, channels, seconds):
    path = write(tmp_path, name, make_clip(16), audio=make_sound(seconds, rate, channels))
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        assert sound.codec.name == {"mp4": "aac", "webm": "opus"}[FORMATS[name].container]
        assert sound.layout.name == ("mono" if channels == 1 else "stereo")
        samples = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
    assert samples.shape[1] / sound.rate == pytest.approx(1.0, abs=1024 / sound.rate)
    heard = np.abs(samples[:, : round(0.95 * sound.rate)]).max(axis=0) > 0.05
    if seconds == 0.25:
        assert heard[: round(0.2 * sound.rate)].mean() > 0.8 and heard[round(0.3 * sound.rate) :].mean() < 0.01
    else:
        assert heard.mean() == 0 if seconds == 0 else heard.mean() > 0.8


def test_sound_runs_on_under_a_repeated_clip(tmp_path):
    with av.open(str(write(tmp_path, "MP4 H.264", make_clip(8), audio=make_sound(5.0), loop=3))) as container:
        sound = container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(1.5, abs=1024 / 44100)


@pytest.mark.parametrize("frames", range(1, 9))
def test_short_h265_clips_have_sound_times(tmp_path, frames):
    for _ in range(3):
        _, times = read(write(tmp_path, "MP4 H.265", torch.rand(frames, HEIGHT, WIDTH, 3)))
        assert times == pytest.approx([i / 16 for i in range(frames)])


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "GIF"])
def test_workflow_comes_back_from_the_file(tmp_path, name, frames):
    path = write(tmp_path, name, make_clip(frames), metadata=WORKFLOW)
    assert {k: json.loads(v) for k, v in tags(path).items()} == {k: json.loads(v) for k, v in WORKFLOW.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_no_metadata_when_none_is_given(tmp_path, name):
    data = write(tmp_path, name, make_clip(2)).read_bytes()
    assert b"workflow" not in data.lower() and b"EXIF" not in data


def test_webp_keeps_its_picture_beside_the_workflow(tmp_path):
    data = write(tmp_path, "WebP", make_clip(1, 31, 45), metadata=WORKFLOW).read_bytes()
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    assert Image.open(io.BytesIO(data)).size == (45, 31)


class OneByOne:
    """An IMAGE that counts what is read of it: the writer may take single frames only."""

    def __init__(self, frames):
        self.shape, self.ndim, self.reads = (frames, HEIGHT, WIDTH, 3), 4, []

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, key):
        if key == (Ellipsis, slice(None, 3)):  # the view of the color channels
            return self
        self.reads.append(key)
        return torch.full(self.shape[1:], key / len(self))


@pytest.mark.parametrize("name, passes", [(name, 2 if name == "GIF" else 1) for name in FORMATS])
def test_frames_are_read_one_at_a_time_and_reported(tmp_path, name, passes):
    images, seen = OneByOne(5), []
    write(tmp_path, name, images, on_frame=lambda done, total: seen.append((done, total, len(images.reads))))
    assert images.reads == list(range(5)) * passes
    assert seen == [(i, 5 * passes, i) for i in range(1, 5 * passes + 1)]


@pytest.mark.parametrize("name", FORMATS)
def test_interrupt_leaves_no_file_and_the_next_call_works(tmp_path, name):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt  # not an Exception, as ComfyUI's own

    with pytest.raises(KeyboardInterrupt):
        write_video([tmp_path / "clip.bin"], make_clip(), 16, Settings(name), make_sound(1.0), stop)
    assert list(tmp_path.iterdir()) == []
    assert len(read(write(tmp_path, name, make_clip()))[0]) == 6


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path, name):
    resource = pytest.importorskip("resource", reason="the limit of a file size stands in for a full disk")
    path = tmp_path / "clip.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(VideoWriteError, match=r"Could not write 'clip.bin' in .*keeps the finished frames"):
            write_video([path], torch.rand(6, 64, 64, 3), 16, Settings(name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"old"


def failing(number):
    """Return a function that raises the system's error of that number."""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_missing_folder_and_one_that_may_not_be_written_are_named(tmp_path, monkeypatch):
    with pytest.raises(VideoWriteError, match="No such file or directory"):
        write_video([tmp_path / "gone" / "clip.mp4"], make_clip(2), 16)
    for call in ("link", "open", "rename"):  # not chmod: tests may run as root, whom it does not stop
        monkeypatch.setattr(os, call, failing(errno.EACCES))
    with pytest.raises(VideoWriteError, match="Permission denied.*allow writing to that folder"):
        write_video([tmp_path / "clip.mp4"], make_clip(2), 16)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_alpha_images_are_written_as_rgb(tmp_path, caplog, channels):
    images = make_clip(2)[..., :1].expand(-1, -1, -1, channels).clone()
    if channels == 4:
        images[..., 3] = 0
    with caplog.at_level(logging.INFO):
        frames, _ = read(write(tmp_path, "MP4 H.264", images))
    assert np.abs(np.array(levels(frames)) - [25.5, 229.5]).max() <= 3
    assert ("alpha" in caplog.text) == (channels == 4)


def test_half_precision_and_values_out_of_range(tmp_path, caplog):
    values = torch.tensor([-1.0, 2.0, float("nan")], dtype=torch.bfloat16)
    images = values[:, None, None, None].expand(-1, HEIGHT, WIDTH, 3)
    assert levels(read(write(tmp_path, "MP4 H.264", images))[0]) == pytest.approx([0, 255, 0], abs=1)
    assert "frame 2 holds invalid numbers" in caplog.text


IMAGE = (1, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "shape, fps, settings, message",
    [
        ((0, 64, 80, 3), 16, {}, "no frames to write"),
        ((1, 64, 80, 2), 16, {}, "1, 3 or 4 channels"),
        ((1, 64, 48, 3), 16, {"format": "MP4 H.265"}, "48x64 pixels, but MP4 H.265 needs at least 64x64"),
        (IMAGE, 0, {}, "fps is 0"),
        (IMAGE, float("nan"), {}, "fps is nan"),
        (IMAGE, 60, {"format": "GIF"}, "GIF goes up to 50"),
        (IMAGE, 16, {"format": "AVI"}, "Choose one of: MP4 H.264, MP4 H.265, WebM VP9"),
        (IMAGE, 16, {"crf": 52}, "MP4 H.264 takes 0 to 51, or -1 for its default, which is 19"),
        (IMAGE, 16, {"format": "WebM AV1", "pixel_format": "yuv444p"}, "auto, yuv420p, yuv420p10le"),
        (IMAGE, 16, {"format": "GIF", "pixel_format": "yuv420p"}, "Choose one of: auto"),
    ],
)
def test_bad_input_is_refused_before_a_file_is_touched(tmp_path, shape, fps, settings, message):
    with pytest.raises(ValueError, match=message):
        write_video([tmp_path / "clip.mp4"], torch.zeros(shape), fps, Settings(**settings))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape, rate", [((2, 100), 44100), ((1, 0, 100), 44100), ((0, 2, 100), 44100), ((1, 2, 9), 0)])
def test_bad_audio_is_refused(tmp_path, shape, rate):
    with pytest.raises(ValueError, match="Found audio of shape"):
        write(tmp_path, "MP4 H.264", make_clip(2), audio={"waveform": torch.zeros(shape), "sample_rate": rate})


def test_a_size_that_the_encoder_refuses_and_a_pyav_without_the_encoder_are_named(tmp_path, monkeypatch):
    with pytest.raises(VideoWriteError, match="Could not write 'a.webm'"):
        write_video([tmp_path / "a.webm"], torch.zeros(1, 20000, 4, 3), 16, Settings("WebM AV1"))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(video_formats, "has_encoder", lambda name: name == "libaom-av1")
    assert video_formats.choose_encoder("WebM AV1").name == "libaom-av1"
    with pytest.raises(ValueError, match="needs the encoder libx265, which the installed PyAV"):
        write_video([tmp_path / "clip.mp4"], make_clip(1), 16, Settings("MP4 H.265"))


def test_rates_are_exact_fractions():
    rates = {16: 16, 12.5: "25/2", 1: 1, 24: 24, 0.01: "1/100", 14.985: "14.985", 1e-9: "1/1001"}
    rates |= {23.976: "24000/1001", 23.98: "24000/1001", 29.97: "30000/1001", 59.94: "60000/1001"}
    assert {fps: frame_rate(fps, "MP4 H.264") for fps in rates} == {fps: Fraction(rate) for fps, rate in rates.items()}


def test_defaults_of_crf_and_pixel_format():
    assert [choose_crf(name, -1) for name in FORMATS] == [19, 22, 28, 28, None, 20]
    assert choose_crf("GIF", 30) is None
    assert {choose_pixel_format(name, "auto") for name in VIDEOS} == {"yuv420p"}


def test_a_disk_that_can_only_be_read_is_named_though_nothing_can_be_removed_there(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "open", failing(errno.EROFS))
    for owner, name in ((Path, "unlink"), (Path, "is_dir"), (os, "scandir")):
        monkeypatch.setattr(owner, name, failing(errno.EPERM))
    with pytest.raises(VideoWriteError, match="Could not write 'clip.mp4' in .*: Read-only file system.*Run again"):
        write_video([tmp_path / "clip.mp4"], make_clip(2), 16)
