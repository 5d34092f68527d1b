"""Videos made here are read back: which picture is shown when, how it is turned, how it sounds, what is broken."""

import io
import logging
import math
import weakref
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from av.video.reformatter import ColorRange
from comfy_api.latest import InputImpl, Types
from PIL import Image, ImageOps

from steadydancer_pack.media import media_file, video_stream
from steadydancer_pack.media.audio_track import read_audio, read_file_audio
from steadydancer_pack.media.frame_size import MODEL_FPS
from steadydancer_pack.media.video_stream import ImageStream, VideoStream, open_video, resample_indices
from steadydancer_pack.media.video_webp import animation_rate

WIDTH, HEIGHT = 64, 48
LEVEL_STEP = 4  # gray levels between a picture and the next: far more than lossless YUV loses
SAMPLE_RATE = 8000
LOSSLESS = {"libx264": {"qp": "0", "preset": "ultrafast"}}


def gray(number):
    return np.full((HEIGHT, WIDTH, 3), number * LEVEL_STEP, np.uint8)


def numbers(frames):
    """Return the numbers of the gray pictures that frames show."""
    return [round(float(frame.mean()) / LEVEL_STEP) for frame in frames]


def make_video(path, count=0, rate=30, pictures=None, times=None, sound=None, sound_codec="pcm_s16le", **kind):
    """Write pictures (gray ones with their number as level) at a rate or at times in ticks; `path` may be a BytesIO.

    kind: codec, pix_fmt, container and its options, prepare (a function of the stream), attributes of its encoder.
    """
    pictures = [gray(n) for n in range(count)] if pictures is None else pictures
    target = path if isinstance(path, io.BytesIO) else str(path)
    codec, pix_fmt, prepare = kind.pop("codec", "libx264"), kind.pop("pix_fmt", "yuv420p"), kind.pop("prepare", None)
    with av.open(target, "w", format=kind.pop("container", None), options=kind.pop("options", {})) as output:
        stream = output.add_stream(codec, rate=rate, options=LOSSLESS.get(codec, {}))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if prepare:
            prepare(stream)
        for name, value in kind.items():
            setattr(stream.codec_context, name, value)
        track = output.add_stream(sound_codec, rate=SAMPLE_RATE, layout="mono") if sound is not None else None
        for index, picture in enumerate(pictures):
            pts = times[index] if times else index
            output.mux(stream.encode(to_frame(picture, pix_fmt, pts, kind.get("time_base"))))
        output.mux(stream.encode(None))
        if track:
            add_sound(output, track, *sound)
    return path


def to_frame(picture, pix_fmt, pts, time_base):
    frame = av.VideoFrame.from_ndarray(picture, "rgb24")
    to_range = ColorRange.MPEG if pix_fmt.startswith(("yuv4", "yuva")) else ColorRange.JPEG
    frame = frame.reformat(format=pix_fmt, src_color_range=ColorRange.JPEG, dst_color_range=to_range)
    frame.pts = pts
    if time_base:
        frame.time_base = time_base
    return frame


def add_sound(output, track, waveform, first_sample=0):
    """Write mono samples in 0..1 from a place on the file's clock on, given in samples."""
    for at in range(0, len(waveform), 1000):
        piece = np.round(waveform[None, at : at + 1000] * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(piece, "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first_sample + at, Fraction(1, SAMPLE_RATE)
        output.mux(track.encode(frame))
    output.mux(track.encode(None))


def clicks(seconds, *at):
    """Return silence with single loud samples at times in seconds."""
    waveform = np.zeros(round(seconds * SAMPLE_RATE))
    waveform[[round(time * SAMPLE_RATE) for time in at]] = 1
    return waveform


def heard(audio):
    """Return the times of the clicks, in samples."""
    return torch.nonzero(audio["waveform"][0, 0] > 0.5).flatten().tolist()


def file_video(path, **trim):
    return InputImpl.VideoFromFile(path if isinstance(path, io.BytesIO) else str(path), **trim)


def image_video(images, rate=30, audio=None):
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, frame_rate=Fraction(rate), audio=audio))


def gray_images(count):
    return torch.stack([torch.from_numpy(gray(n)) for n in range(count)]).float() / 255


@pytest.mark.parametrize(
    ("frames", "source_fps", "fps", "indices"),
    [
        (15, 30, 16, [0, 1, 3, 5, 7, 9, 11, 13]),  # steps of 1.875
        (12, 24, 16, [0, 1, 3, 4, 6, 7, 9, 10]),  # steps of 1.5
        (4, 8, 16, [0, 0, 1, 1, 2, 2, 3, 3]),
        (5, 16, 16, [0, 1, 2, 3, 4]),
        (5, 29.97, 0, [0, 1, 2, 3, 4]),
        (6, 60, 20, [0, 3]),
        (2, 60, 16, [0]),
        (1, 1, 16, [0]),
        (0, 30, 16, []),
    ],
)
def test_indices_by_hand(frames, source_fps, fps, indices):
    assert resample_indices(frames, source_fps, fps) == indices


@pytest.mark.parametrize("source_fps", [7.5, 12, 23.976, 25, 29.97, 50, 60, 119.88])
def test_indices_keep_the_duration_and_never_run_back(source_fps):
    for frames in range(2, 400):
        indices = resample_indices(frames, source_fps, 16)
        assert abs(len(indices) / 16 - frames / source_fps) <= 0.5 / 16 + 1e-9 or len(indices) == 1
        assert indices == sorted(indices) and indices[0] == 0 and indices[-1] < frames


@pytest.mark.parametrize(("source_fps", "fps"), [(0, 16), (-1, 16), (math.nan, 16), (30, -1), (30, math.nan)])
def test_rates_that_are_none(source_fps, fps):
    with pytest.raises(ValueError, match="must be"):
        resample_indices(5, source_fps, fps)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov", "mpegts", "avi", "flv"])
@pytest.mark.parametrize("rate", [30, 24, 16, Fraction(30000, 1001), 60, 12])
def test_a_constant_rate_is_resampled_as_images_are(tmp_path, container, rate):
    path = make_video(tmp_path / "v", 47, rate, container=container)
    stream = VideoStream(str(path))
    frames = list(stream)
    assert (stream.fps, stream.width, stream.height, stream.note) == (MODEL_FPS, WIDTH, HEIGHT, "")
    assert stream.source_fps == pytest.approx(float(rate), rel=0.01)
    assert numbers(frames) == resample_indices(47, float(rate), MODEL_FPS)
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 for frame in frames)
    assert abs(stream.frames - len(frames)) <= (2 if container in ("avi", "flv") else 0)


@pytest.mark.parametrize(
    ("container", "rate"),
    [("h264", 25), *((name, rate) for name in ("mp4", "matroska") for rate in (25, Fraction(30000, 1001), 16))],
)
def test_its_own_rate_takes_every_picture_once(tmp_path, container, rate):
    path = make_video(tmp_path / "v", 50, rate, container=container)
    stream = VideoStream(str(path), fps=0)
    assert numbers(stream) == list(range(50))
    assert stream.fps == stream.source_fps == pytest.approx(float(rate), rel=0.001)


def test_a_varying_rate_goes_by_the_clock_and_a_trembling_one_drops_nothing_at_its_own(tmp_path):
    ticks, path = Fraction(1, 1000), str(tmp_path / "v.mkv")
    make_video(path, 6, 1000, times=[0, 100, 500, 533, 900, 1000], time_base=ticks)
    assert numbers(VideoStream(path, fps=10))[:10] == [0, 1, 1, 1, 1, 2, 3, 3, 3, 4]
    assert numbers(VideoStream(path, start=0.45, duration=0.4, fps=10)) == [1, 3, 3, 3]
    make_video(path, 40, 25, times=[40 * n + (0, 9, -7)[n % 3] for n in range(40)], time_base=ticks)
    assert numbers(VideoStream(path, fps=0)) == list(range(40))


def test_every_iteration_starts_anew(tmp_path):
    stream = VideoStream(make_video(io.BytesIO(), 20, container="mp4"))
    assert numbers(stream) == numbers(stream) == resample_indices(20, 30, 16)


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("start", "duration", "fps", "shown"),
    [
        (0.5, 0.5, 10, [5, 6, 7, 8, 9]),
        (0.5, 0, 10, [*range(5, 20)]),
        (0, 0.3, 10, [0, 1, 2]),
        (0.55, 0.3, 10, [5, 6, 7]),
        (1.9, 0, 10, [19]),
        (1.95, 5, 10, [19]),
        (0.5, 0.04, 16, [5]),
        (0.5, 0.5, 0, [5, 6, 7, 8, 9]),
        (0.5, 0.5, 16, [5, 5, 6, 6, 7, 8, 8, 9]),
    ],
)
def test_only_the_window_is_shown(tmp_path, as_bytes, start, duration, fps, shown):
    path = make_video(tmp_path / "v.mp4", 20, 10, gop_size=4)
    source = io.BytesIO(path.read_bytes()) if as_bytes else str(path)
    stream = VideoStream(source, start, duration, fps)
    assert numbers(stream) == shown
    assert stream.frames == len(shown) and stream.begin == pytest.approx(start)


def test_the_window_of_a_stream_that_cannot_be_wound(tmp_path):
    path = make_video(tmp_path / "v.h264", 20, 25)
    assert numbers(VideoStream(str(path), 0.4, 0.2, 25)) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("window", [{"start": -1}, {"duration": -1}, {"start": math.nan}, {"fps": math.inf}])
def test_bad_windows_and_rates_and_a_window_past_the_end_are_refused(tmp_path, window):
    path = make_video(tmp_path / "dance.mp4", 20, 10)
    with pytest.raises(ValueError, match="must be a number from 0 on"):
        VideoStream(str(path), **window)
    with pytest.raises(ValueError, match=r"'dance.mp4' .*starts at 5.00 s, but the video lasts 2.00 s"):
        VideoStream(str(path), start=5)


CORNERS = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
CORNERS[: HEIGHT // 2, : WIDTH // 2] = 255  # white top left
CORNERS[: HEIGHT // 2, WIDTH // 2 :] = 160  # light top right
CORNERS[HEIGHT // 2 :, : WIDTH // 2] = 80  # dark bottom left
ONE = 1 << 16
TURNS = {  # the matrix (a, b, c, d) of ISO/IEC 14496-12 and what becomes of the picture
    "as it is": ((ONE, 0, 0, ONE), lambda p: p),
    "a quarter clockwise": ((0, ONE, -ONE, 0), lambda p: np.rot90(p, -1)),
    "half": ((-ONE, 0, 0, -ONE), lambda p: np.rot90(p, 2)),
    "a quarter anticlockwise": ((0, -ONE, ONE, 0), lambda p: np.rot90(p, 1)),
    "mirrored": ((-ONE, 0, 0, ONE), lambda p: p[:, ::-1]),
    "mirrored and a quarter": ((0, ONE, ONE, 0), lambda p: p.swapaxes(0, 1)),
}


@pytest.mark.parametrize(("matrix", "turn"), TURNS.values(), ids=TURNS)
def test_a_phone_video_stands_upright(tmp_path, matrix, turn):
    path, (a, b, c, d) = make_video(tmp_path / "v.mp4", pictures=[CORNERS] * 3), matrix
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44  # the display matrix in the header of the only track
    data[at : at + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    path.write_bytes(data)
    stream, expected = VideoStream(str(path)), turn(CORNERS)
    for frame in stream:
        assert frame.shape == expected.shape == (stream.height, stream.width, 3)
        assert np.abs(frame.astype(int) - expected).max() <= 2
        assert frame.flags.c_contiguous


@pytest.mark.parametrize(("aspect", "width"), [(Fraction(2), 2 * WIDTH), (Fraction(3, 4), 48), (Fraction(99), WIDTH)])
def test_pixels_are_made_square(tmp_path, aspect, width):
    stream = VideoStream(str(make_video(tmp_path / "v.mp4", 3, sample_aspect_ratio=aspect)))
    assert (stream.width, stream.height) == (width, HEIGHT)
    assert {frame.shape for frame in stream} == {(HEIGHT, width, 3)}


KINDS = {
    "10 bits": ("libx264", "yuv420p10le", "mp4", 4),
    "full range": ("mjpeg", "yuvj420p", "avi", 4),
    "444": ("libx264", "yuv444p", "mp4", 4),
    "odd size": ("ffv1", "yuv444p", "matroska", 4),
    "odd size, halved color": ("ffv1", "yuv420p", "matroska", 4),
    "rgb": ("ffv1", "bgr0", "matroska", 1),
    "gbr of 10 bits": ("ffv1", "gbrp10le", "matroska", 1),
    "alpha": ("png", "rgba", "mov", 0),
    "alpha of 8 bits in yuv": ("ffv1", "yuva420p", "matroska", 4),
    "gif": ("gif", "rgb8", "gif", 16),
}


@pytest.mark.parametrize(("codec", "pix_fmt", "container", "tolerance"), KINDS.values(), ids=KINDS)
def test_every_kind_of_pixel_becomes_rgb(tmp_path, codec, pix_fmt, container, tolerance):
    height, width = (35, 33) if codec in ("ffv1", "png", "gif") else (36, 34)
    color = np.full((height, width, 3), (200, 100, 50), np.uint8)
    path = make_video(tmp_path / "v", pictures=[color] * 4, rate=10, codec=codec, pix_fmt=pix_fmt, container=container)
    frames = list(VideoStream(str(path), fps=10))
    assert len(frames) == 4
    for frame in frames:
        assert frame.shape == (height, width, 3)
        assert np.abs(frame.mean((0, 1)) - (200, 100, 50)).max() <= tolerance


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 9])  # bt709, bt601, bt2020
def test_the_colors_tagged_are_the_colors_seen(tmp_path, matrix, full):
    """A red whose YUV was computed by hand, with the matrix and the range that the file says it has."""
    red, blue = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    luma, u, v = red, -red / (2 - 2 * blue), 0.5
    scale, offset, chroma = (255, 0, 255) if full else (219, 16, 224)
    planes = (luma * scale + offset, u * chroma + 128, min(v * chroma + 128, 255))
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options=LOSSLESS["libx264"])
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv444p"
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, ColorRange.JPEG if full else ColorRange.MPEG
        frame = av.VideoFrame.from_ndarray(np.stack([np.full((32, 32), round(p), np.uint8) for p in planes]), "yuv444p")
        frame.pts, frame.colorspace, frame.color_range = 0, matrix, context.color_range
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    (shown,) = VideoStream(str(path))
    assert np.abs(shown.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("matrix", [0, 2, 4, 7, 8, 10, 14])
def test_a_color_space_nobody_knows_is_read_all_the_same(tmp_path, matrix):
    path = make_video(tmp_path / "v.mp4", 20, colorspace=matrix)
    assert numbers(VideoStream(str(path), fps=0)) == list(range(20))


@pytest.mark.parametrize("kind", [30, 1, Fraction(1, 5), "png", "jpg", "webp"], ids=str)
def test_a_video_of_one_frame_and_a_picture_give_one(tmp_path, kind):
    path = tmp_path / f"photo.{kind if isinstance(kind, str) else 'mp4'}"
    if isinstance(kind, str):
        Image.fromarray(gray(30)).save(path)
    else:
        make_video(path, rate=kind, pictures=[gray(30)])
    stream = VideoStream(str(path))
    assert numbers(stream) == [30]
    assert (stream.frames, stream.width, stream.height) == (1, WIDTH, HEIGHT) and "single picture" in stream.note


@pytest.mark.parametrize("name", ["song.wav", "song.mp4", "song.m4a"])
def test_sound_alone_is_no_dance(tmp_path, name):
    path = tmp_path / name
    with av.open(str(path), "w") as output:
        codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
        add_sound(output, output.add_stream(codec, rate=SAMPLE_RATE, layout="mono"), np.zeros(8000))
    with pytest.raises(ValueError, match=f"'{name}' holds only sound"):
        VideoStream(str(path))
    with pytest.raises(ValueError, match="holds only sound"):
        read_audio(file_video(path))


def test_the_cover_of_a_song_is_no_video(tmp_path):
    def prepare(stream):
        stream.disposition = Disposition.attached_pic.value

    path = make_video(tmp_path / "song.mp4", 1, codec="mjpeg", pix_fmt="yuvj420p", prepare=prepare)
    with pytest.raises(ValueError, match="holds neither pictures nor sound"):
        VideoStream(str(path))


NOISE = bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8))


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"hello dancer\n" * 100, NOISE])
@pytest.mark.parametrize("name", ["v.mp4", "v.txt", None])
def test_what_is_no_video_is_called_so(tmp_path, content, name):
    source = io.BytesIO(content)
    if name:
        (tmp_path / name).write_bytes(content)
        source = str(tmp_path / name)
    with pytest.raises(ValueError, match="cannot be read as a video" if content else r"is empty \(0 bytes\)"):
        VideoStream(source)


@pytest.mark.parametrize(("name", "reason"), [("v.mp4", ""), ("gone.mp4", ": No such file")])
def test_a_missing_file_and_a_video_without_its_index_are_refused(tmp_path, name, reason):
    path = make_video(tmp_path / "v.mp4", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # an MP4's index lies at its end
    with pytest.raises(ValueError, match=f"'{name}' cannot be read as a video{reason}"):
        VideoStream(str(tmp_path / name))


@pytest.mark.parametrize(("container", "options"), [("mp4", {"movflags": "faststart"}), ("matroska", {}), ("avi", {})])
def test_a_video_that_breaks_off_gives_what_it_holds(tmp_path, caplog, container, options):
    noise = np.random.default_rng(0)
    pictures = [np.clip(gray(n) + noise.integers(0, 3, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8) for n in range(60)]
    path = make_video(tmp_path / "v", pictures=pictures, rate=30, container=container, options=options)
    whole = numbers(VideoStream(str(path)))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.4)])
    with caplog.at_level(logging.WARNING):
        found = numbers(VideoStream(str(path)))
    assert 4 < len(found) < 20 and found == whole[: len(found)]
    if container != "avi":  # which then announces no length
        assert "'v' breaks off: its pictures end at 0." in caplog.text and "of 2.00 s" in caplog.text


def test_a_scratch_costs_no_time(tmp_path, caplog):
    path = make_video(tmp_path / "v.mp4", 60, codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        at, size = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size][20]
    data[at : at + size] = bytes(size)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert numbers(VideoStream(str(path), fps=0)) == [*range(20), 19, *range(21, 60)]
    assert "'v.mp4' is damaged at 0.67 s" in caplog.text


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("milliseconds", "rate", "trim"),
    [
        ([60, 65] * 4, 16, {}),
        *((few, 10, {}) for few in (0, 1, 10)),
        (11, 1000 / 11, {}),
        (20, 50, {}),
        (50, 20, {"start_time": 0.6}),
    ],
)
def test_an_animated_webp_goes_through_load_image_at_the_rate_of_browsers(tmp_path, as_bytes, milliseconds, rate, trim):
    path, (first, *others) = tmp_path / "dance.webp", [Image.fromarray(gray(n)) for n in range(8)]
    first.save(path, save_all=True, append_images=others, duration=milliseconds, lossless=True)
    name, source = ("The video", io.BytesIO(path.read_bytes())) if as_bytes else ("'dance.webp'", path)
    words = f"^{name} is an animated WebP.* Load Image .* source_fps {rate:.4g}\\. .* fps {rate:.4g} between"
    with pytest.raises(ValueError, match=words):
        open_video(file_video(source, **trim))


@pytest.mark.parametrize("chunks", [b"", b"VP8X\x0a\0\0\0\2", b"VP8X\xff\xff\xff\xff\2", b"VP8 \x0a\0\0\0\2"])
def test_an_animated_webp_without_pictures_has_no_rate(chunks):
    assert animation_rate(io.BytesIO(b"RIFF\0\0\0\0WEBP" + chunks)) is None


@pytest.mark.parametrize("marked", [None, 0, 1, 2])
@pytest.mark.parametrize("container", ["matroska", "mp4"])
def test_of_several_tracks_the_default_one_is_read(tmp_path, container, marked):
    """Three angles and three languages: track n shows picture 10 n + 10 and sounds at (n + 1) / 10 s."""
    path = tmp_path / "v"
    with av.open(str(path), "w", format=container) as output:
        videos = [output.add_stream("libx264", rate=10, options=LOSSLESS["libx264"]) for _ in range(3)]
        tracks = [output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono") for _ in range(3)]
        for streams in (videos, tracks):
            for number, stream in enumerate(streams):
                stream.disposition = Disposition.default.value if number == marked else 0
        for stream in videos:
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, stream in enumerate(videos):
            for pts in range(5):
                output.mux(stream.encode(to_frame(gray(10 * number + 10), "yuv420p", pts, None)))
            output.mux(stream.encode(None))
        for number, track in enumerate(tracks):
            add_sound(output, track, clicks(0.5, (number + 1) / 10))
    chosen = marked or 0
    stream = VideoStream(str(path), fps=0)
    assert numbers(stream) == [10 * chosen + 10] * 5
    assert heard(read_audio(file_video(path))) == [SAMPLE_RATE * (chosen + 1) // 10]


class Proxy:
    """A decoded frame whose life can be watched."""

    alive = weakref.WeakSet()

    def __init__(self, frame):
        self.frame = frame
        Proxy.alive.add(self)

    def __getattr__(self, name):
        assert name != "side_data", "frame and side_data hold each other until a collection"
        return getattr(self.frame, name)


@pytest.mark.parametrize("count", [30, 240])
@pytest.mark.parametrize("fps", [0, 5, 16, 60])
def test_few_frames_live_at_a_time(monkeypatch, tmp_path, count, fps):
    path = make_video(tmp_path / "v.mp4", pictures=[gray(n % 60) for n in range(count)])
    stream = VideoStream(str(path), fps=fps)
    to_rgb = stream._converter.rgb
    monkeypatch.setattr(video_stream, "decode", lambda *args: map(Proxy, media_file.decode(*args)))
    monkeypatch.setattr(stream._converter, "rgb", lambda proxy: to_rgb(proxy.frame))
    assert max(len(Proxy.alive) for _ in stream) <= 4


def all_closed(containers):
    for container in containers:
        with pytest.raises(AssertionError, match="not open"):
            container.seek(0)
    return bool(containers)


def test_the_file_is_closed_whole_or_interrupted_after_an_error_and_after_the_sound(tmp_path, monkeypatch):
    path, opened, real = make_video(tmp_path / "v.mkv", 20, 10, sound=(clicks(2, 1),)), [], av.open

    def remember(*args, **options):
        opened.append(real(*args, **options))
        return opened[-1]

    monkeypatch.setattr(av, "open", remember)
    stream = VideoStream(str(path))
    assert all_closed(opened)
    list(stream)
    assert all_closed(opened)
    frames = iter(stream)
    next(frames)
    frames.close()
    assert all_closed(opened)
    with pytest.raises(ValueError, match="Trim less"):
        VideoStream(str(path), start=9)
    read_audio(file_video(path, start_time=0.5, duration=0.5))
    assert all_closed(opened)


def test_a_file_is_read_with_its_trim(tmp_path):
    path = make_video(tmp_path / "v.mp4", 20, 10)
    stream = open_video(file_video(path, start_time=0.5, duration=1), fps=10)
    assert numbers(stream) == [*range(5, 15)]
    assert numbers(open_video(file_video(io.BytesIO(path.read_bytes()), start_time=-0.5), fps=0)) == [*range(15, 20)]
    assert open_video(file_video(path)).fps == MODEL_FPS


def test_images_are_taken_as_they_lie(monkeypatch):
    video = image_video(gray_images(15))
    monkeypatch.setattr(av, "open", None)  # nothing is encoded or decoded
    stream = open_video(video)
    assert isinstance(stream, ImageStream)
    assert (stream.fps, stream.source_fps, stream.frames, stream.note) == (16, 30, 8, "")
    assert numbers(stream) == resample_indices(15, 30, 16)
    assert numbers(open_video(video, fps=0)) == list(range(15))


def test_an_image_of_any_kind_is_a_frame():
    stream = ImageStream(torch.tensor([-1.0, 0, 0.5, 1, 2, math.nan])[None, None, :, None])
    (frame,) = stream
    assert frame[0].tolist() == [[v] * 3 for v in (0, 0, 128, 255, 255, 0)] and "single picture" in stream.note
    assert next(iter(ImageStream(torch.zeros(1, 2, 3, 4)))).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="no frames to read"):
        ImageStream(torch.zeros(0, 2, 3, 3))


def fingerprint_of(video, *fps):
    return open_video(video, *fps).fingerprint()


def test_the_fingerprint_tells_content_and_window(tmp_path):
    """A file's own rate takes every picture once, the same rate given what is on screen at equal steps."""
    path = make_video(tmp_path / "v.mp4", 20, 10)
    copy = io.BytesIO(path.read_bytes())
    other = make_video(tmp_path / "w.mp4", 21, 10)
    images = gray_images(3)
    files = [file_video(path), *(file_video(path, **{trim: 0.5}) for trim in ("start_time", "duration"))]
    videos = [image_video(images), image_video(images, 16), image_video(images.flip(0)), file_video(other)]
    prints = [fingerprint_of(video) for video in (*files, *videos)]
    assert len(set(prints)) == len(prints)
    assert fingerprint_of(file_video(copy)) == fingerprint_of(file_video(path)) == prints[0]
    assert fingerprint_of(image_video(images.clone())) == prints[3]
    own, same, sixteen = (fingerprint_of(file_video(path), fps) for fps in (0, 10, 16))
    assert own != same == sixteen


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("trim", "samples", "clicked"),
    [
        ({}, 16000, [2000, 10000]),
        ({"start_time": 1.0}, 8000, [2000]),
        ({"start_time": 0.1, "duration": 0.5}, 4000, [1200]),
        ({"start_time": 0.75, "duration": 10}, 10000, [4000]),
        ({"duration": 0.25}, 2000, []),
    ],
)
def test_the_sound_of_the_window(tmp_path, as_bytes, trim, samples, clicked):
    path = make_video(tmp_path / "v.mkv", 20, 10, sound=(clicks(2, 0.25, 1.25),))
    audio = read_audio(file_video(io.BytesIO(path.read_bytes()) if as_bytes else path, **trim))
    assert audio["sample_rate"] == SAMPLE_RATE and audio["waveform"].dtype == torch.float32
    assert audio["waveform"].shape == (1, 1, samples)
    assert heard(audio) == clicked


def test_sound_that_begins_later_starts_with_silence(tmp_path):
    path = make_video(tmp_path / "v.mkv", 20, 10, sound=(clicks(1, 0.1), SAMPLE_RATE // 2))
    assert heard(read_audio(file_video(path))) == [4800]
    assert heard(read_audio(file_video(path, start_time=0.55))) == [400]
    audio = read_audio(file_video(path, duration=0.4))
    assert audio is None or not audio["waveform"].any()


def test_sound_that_begins_before_the_pictures_is_cut(tmp_path):
    late = {"times": range(500, 1500, 100), "time_base": Fraction(1, 1000)}
    path = make_video(tmp_path / "v.mkv", 10, 10, sound=(clicks(1.5, 0.1, 0.7),), **late)
    stream = open_video(file_video(path), fps=10)
    assert stream.begin == pytest.approx(0.5) and numbers(stream) == list(range(10))
    assert heard(read_audio(file_video(path))) == [1600]


def test_a_gap_in_the_sound_stays_a_gap(tmp_path):
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as output:
        track = output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for first in (0, 8000):
            piece = av.AudioFrame.from_ndarray(np.full((1, 2000), 32767, np.int16), "s16", "mono")
            piece.sample_rate, piece.pts, piece.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
            output.mux(track.encode(piece))
        output.mux(track.encode(None))
    assert heard(read_file_audio(str(path), 0)) == [*range(2000), *range(8000, 10000)]


def test_a_silent_video_has_no_audio_and_the_sound_of_images_is_handed_on(tmp_path):
    assert read_audio(file_video(make_video(tmp_path / "v.mp4", 5))) is None
    assert read_audio(image_video(gray_images(3))) is None
    audio = {"waveform": torch.rand(2, 2, 100, dtype=torch.float64), "sample_rate": 44100}
    found = read_audio(image_video(gray_images(3), audio=audio))
    assert found["sample_rate"] == 44100 and torch.equal(found["waveform"], audio["waveform"][:1].float())


def test_the_sound_equals_comfyui_s(tmp_path):
    sound = np.random.default_rng(0).random(16000) * 0.9
    video = file_video(make_video(tmp_path / "v.mkv", 20, 10, sound=(sound,)))
    assert torch.equal(read_audio(video)["waveform"], video.get_components().audio["waveform"])


@pytest.mark.skipif(media_file.AV_VERSION < (17, 1), reason="FFmpeg before 8.1 does not read the EXIF of a PNG")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_from_a_telephone_is_upright(tmp_path, orientation):
    """Its EXIF is side data for which PyAV has no name."""
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    photo[: HEIGHT // 2, : WIDTH // 2] = 200
    image = Image.fromarray(photo)
    exif = image.getexif()
    exif[274], exif[271] = orientation, "maker"
    image.save(tmp_path / "photo.png", exif=exif)
    (found,) = VideoStream(str(tmp_path / "photo.png"))
    with Image.open(tmp_path / "photo.png") as saved:
        wanted = np.asarray(ImageOps.exif_transpose(saved).convert("RGB"))
    assert np.abs(found.astype(int) - wanted).max() < 8
