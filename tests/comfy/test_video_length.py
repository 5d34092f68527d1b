"""How long the pictures of a file last: no alarm for whole files, one for torn files, and a progress bar that fits."""

import io
import re
from fractions import Fraction

import av
import numpy as np
import pytest

from steadydancer_pack.media.media_file import measure_extent
from steadydancer_pack.media.video_stream import VideoStream
from steadydancer_pack.tests.comfy.test_video_stream import HEIGHT, SAMPLE_RATE, WIDTH, add_sound, make_video

FPS, PICTURES = 16, 32


CONTAINERS = {  # name: (format, options, codec of the sound)
    "Matroska": ("matroska", {}, "pcm_s16le"),
    "FLV": ("flv", {}, "aac"),
    "FLV without a length": ("flv", {"flvflags": "no_duration_filesize"}, "aac"),
    "fragmented MP4": ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}, "aac"),
    "WMV": ("asf", {}, "pcm_s16le"),
    "WTV": ("wtv", {}, "pcm_s16le"),
    "NUT": ("nut", {}, "pcm_s16le"),
}
OTHER_TRACKS = {"longer sound": (9, 0), "a late start": (2, 5), "a late start, silent": (0, 5)}  # seconds


def make_file(path, kind, sound_seconds, late, pictures=PICTURES):
    """Write noise for two seconds, with sound of another length, both late by some seconds of the clock."""
    container, options, codec = CONTAINERS[kind]
    noise = np.random.default_rng(0).integers(0, 99, (pictures, HEIGHT, WIDTH, 3), np.uint8)
    times = [FPS * late + n for n in range(pictures)]
    sound = (np.zeros(sound_seconds * SAMPLE_RATE), late * SAMPLE_RATE) if sound_seconds else None
    kind = {"time_base": Fraction(1, FPS), "container": container, "options": options, "sound_codec": codec}
    make_video(path, rate=FPS, pictures=list(noise), times=times, sound=sound, **kind)
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"XURATION"))  # Matroska's of each track, a mere tag
    return path


@pytest.mark.parametrize(("sound_seconds", "late"), OTHER_TRACKS.values(), ids=OTHER_TRACKS)
@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_whole_file_does_not_break_off(tmp_path, kind, sound_seconds, late):
    stream = VideoStream(str(make_file(tmp_path / "v", kind, sound_seconds, late)))
    shown = len(list(stream))
    assert (stream.frames, stream.break_note) == (shown, "")
    assert shown == pytest.approx(PICTURES, abs=2)  # AAC begins earlier by its delay


def assert_whole(path):
    stream = VideoStream(str(path))
    assert (stream.frames, len(list(stream)), stream.break_note) == (PICTURES, PICTURES, "")


def test_a_subtitle_lasts_longer_than_the_pictures(tmp_path):
    """A track of text that ends at 20 s."""
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        with av.open(io.BytesIO(b"1\n00:00:00,000 --> 00:00:20,000\ndance\n"), format="srt") as subtitles:
            text = output.add_stream_from_template(subtitles.streams.subtitles[0])
        for n in range(PICTURES):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            frame.pts = n
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        line = av.Packet(b"dance")
        line.stream, line.pts, line.dts, line.duration, line.time_base = text, 0, 0, 20000, Fraction(1, 1000)
        output.mux(line)
    for data in (path.read_bytes(), path.read_bytes().replace(b"DURATION", b"XURATION")):
        path.write_bytes(data)
        assert_whole(path)


@pytest.mark.parametrize(("sound_seconds", "late"), OTHER_TRACKS.values(), ids=OTHER_TRACKS)
@pytest.mark.parametrize("kind", ["Matroska", "FLV"])
def test_a_torn_file_breaks_off(tmp_path, kind, sound_seconds, late):
    path = make_file(tmp_path / "v", kind, sound_seconds, late)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 10])
    stream = VideoStream(str(path))
    assert len(list(stream)) < PICTURES - 8
    assert re.match(r"'v' breaks off: its pictures end at [01]\.\d\d s of \d", stream.break_note)


def test_a_duration_counted_from_the_first_picture(tmp_path):
    """As mkvmerge writes it, where others write the time of the end."""
    path = late_pictures(tmp_path, 3, prepare=lambda stream: stream.metadata.update(_STATISTICS_TAGS="DURATION"))
    data, changed = re.subn(rb"00:00:05\.\d{9}", b"00:00:02.000000000", path.read_bytes())
    assert changed == 1
    path.write_bytes(data)
    assert_whole(path)


def late_pictures(folder, seconds, prepare=None):
    """Write pictures that begin after some seconds of sound, which lasts longer than they do."""
    more = {"times": [1000 * seconds + 1000 * n // FPS for n in range(PICTURES)], "time_base": Fraction(1, 1000)}
    sound = (np.zeros((seconds + 6) * SAMPLE_RATE), 0)
    return make_video(folder / "v.mkv", PICTURES, FPS, sound=sound, prepare=prepare, **more)


def test_pictures_that_begin_long_after_the_sound(tmp_path):
    """FFmpeg looks at five seconds of a file; to what begins later it gives the length of the file."""
    assert_whole(late_pictures(tmp_path, 6))


@pytest.mark.parametrize(
    ("container", "codec"),
    [("h264", "libx264"), ("apng", "apng"), ("webm", "libvpx"), ("mpeg1video",) * 2, ("mpeg", "mpeg2video")],
)
def test_progress_fits_files_that_do_not_say_how_long_they_are(tmp_path, container, codec):
    kind = {"pix_fmt": "rgb24" if codec == "apng" else "yuv420p", "options": {"live": "1"} if codec == "libvpx" else {}}
    path = make_video(tmp_path / "v", 50, 25, codec=codec, container=container, **kind)
    stream = VideoStream(str(path))
    assert len(list(stream)) == pytest.approx(PICTURES, abs=1) and abs(stream.frames - PICTURES) <= 1
    assert not stream.break_note


@pytest.mark.parametrize(
    ("begin", "sound_begin", "pictures"),
    [*((2, 0, pictures) for pictures in (1, 2, 5, 30)), (2, 2, 30), (0, 2, 30)],
)
def test_progress_fits_a_recording_with_reordered_pictures(tmp_path, begin, sound_begin, pictures):
    """As a browser writes Matroska; its pictures have no time of decoding."""
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w", options={"live": "1"}) as output:
        video = output.add_stream("libx264", rate=FPS)  # with B-frames, as is its default
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for n in range(pictures):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 4 * n, np.uint8), "rgb24")
            frame.pts, frame.time_base = FPS * begin + n, Fraction(1, FPS)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        add_sound(output, track, np.zeros(2 * SAMPLE_RATE), sound_begin * SAMPLE_RATE)
    stream = VideoStream(str(path))
    assert stream.frames == len(list(stream)) == pictures
    end = max(begin - sound_begin, 0) + pictures / FPS
    assert measure_extent(str(path)).pictures == pytest.approx(end, abs=0.15)


@pytest.mark.parametrize("fps", [16, 0])
@pytest.mark.parametrize("pictures", [47, 48, 49, 50])
def test_progress_fits_raw_mpeg_1(tmp_path, pictures, fps):
    path = make_video(tmp_path / "v", pictures, 25, codec="mpeg1video", container="mpeg1video")
    stream = VideoStream(str(path), fps=fps)
    assert stream.frames == len(list(stream))
