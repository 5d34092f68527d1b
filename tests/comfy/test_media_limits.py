"""What a media file may make the pack do: read that file alone, from disk, in pictures of a bounded size."""

import io
import socket
import struct
import tracemalloc
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from comfy_api.latest import InputImpl
from PIL import Image

from steadydancer_pack.media import clips as media
from steadydancer_pack.media.audio_track import read_audio
from steadydancer_pack.media.media_file import open_media
from steadydancer_pack.media.picture_size import size_by_header
from steadydancer_pack.media.video_stream import VideoStream, open_video
from steadydancer_pack.tests.comfy.test_video_stream import HEIGHT, WIDTH, gray, make_video, numbers

MPD = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4"><Representation
id="1" bandwidth="1"><BaseURL>neighbor.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"""
SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=dance
c=IN IP4 127.0.0.1
t=0 0
m=video {port} RTP/AVP 96
a=rtpmap:96 H264/90000
"""
LEADING_ELSEWHERE = {  # by name of the file
    "stream.sdp": SDP.format(port=45678),
    "list.ffconcat": "ffconcat version 1.0\nfile neighbor.mp4\n",
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nneighbor.mp4\n#EXT-X-ENDLIST\n",
    "list.mpd": MPD,
    "text.nfo": "\x1b[2J dance \x1b[1m\n" * 50,
    "meta.txt": ";FFMETADATA1\ntitle=dance\n",
    "subtitles.srt": "1\n00:00:00,000 --> 00:00:01,000\ndance\n",
    "vobsub.idx": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 000000000\n",
}


@pytest.fixture
def folder(tmp_path):
    """A folder with a video that nobody asked for."""
    make_video(tmp_path / "neighbor.mp4", 3)
    return tmp_path


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("name", LEADING_ELSEWHERE)
def test_a_file_that_leads_elsewhere_is_refused(folder, name, as_bytes):
    (folder / name).write_text(LEADING_ELSEWHERE[name])
    source = io.BytesIO((folder / name).read_bytes()) if as_bytes else str(folder / name)
    said = "cannot be read as a video"
    if name == "list.ffconcat":
        said += r".*MP4, MOV, MKV, .*; playlists and streams are not followed"
    with pytest.raises(ValueError, match=said):
        VideoStream(source)


@pytest.mark.parametrize("read", [open_video, read_audio])
@pytest.mark.parametrize("trim", [{}, {"start_time": -1.0}])
def test_no_port_is_opened(read, trim):
    """Neither here nor by ComfyUI, which opens the file to count a trim from the end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        text = SDP.format(port=taken.getsockname()[1])  # whoever wants that port hears that it is in use
        with pytest.raises(ValueError, match="playlists and streams are not followed"):
            read(InputImpl.VideoFromFile(io.BytesIO(text.encode()), **trim))


def test_a_sequence_of_pictures_is_one_file(folder):
    for name in ("photo001.png", "photo002.png", "photo%03d.png"):
        Image.fromarray(gray(30)).save(folder / name)
    with pytest.raises(ValueError, match="playlists and streams are not followed"):
        VideoStream(str(folder / "photo%03d.png"))
    assert numbers(VideoStream(str(folder / "photo001.png"))) == [30]


ADDRESSES = ["http://127.0.0.1:9/v.mp4", "data:video/mp4;base64,AAAA", "tcp://127.0.0.1:9", "pipe:0", "lavfi:testsrc"]
PARTS = ["concat:neighbor.mp4|neighbor.mp4", "subfile,,start,0,end,9,,:neighbor.mp4"]


def test_a_path_is_no_address_and_a_name_that_looks_like_one_is_read_from_disk(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for path in [*ADDRESSES, *PARTS]:
        with pytest.raises(ValueError, match="cannot be read as a video: No such file"):
            VideoStream(path)
    (folder / "http:").mkdir()
    (folder / "neighbor.mp4").rename(folder / "http:" / "v.mp4")
    assert numbers(VideoStream("http:/v.mp4", fps=0)) == [0, 1, 2]


# Large pictures


def gif_claiming(width, height):
    """Return a GIF of one pixel value that claims a size."""
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + bytes([0x80, 0, 0, 0, 0, 0, 255, 255, 255]) + b"," + bytes(4) + size + b"\0\2\2D\1\0;"


def png_claiming(width, height):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((1 + (width + 7) // 8) * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("data", [gif_claiming(16000, 16000), png_claiming(16000, 16000)])
def test_a_small_file_claims_no_large_picture(data):
    with pytest.raises(ValueError, match=r"pictures of 16000x16000 pixels. Up to 8192x4320 \(8K\) can be read"):
        VideoStream(io.BytesIO(data))
    stream = VideoStream(io.BytesIO(gif_claiming(8192, 4320)))
    assert (stream.width, stream.height) == (8192, 4320)


PICTURES = ("jpg", "png", "gif", "bmp", "tiff", "webp", "vp8.webp")


def large_picture(path, side=(9000, 4000)):
    mode = "L" if path.suffix in (".jpg", ".webp") else "1"
    Image.new(mode, side, 1).save(path, lossless="vp8" not in path.name, method=0, quality=1)
    return path


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("suffix", PICTURES)
def test_a_large_picture_is_told_its_size(tmp_path, monkeypatch, suffix):
    path = large_picture(tmp_path / f"p.{suffix}")
    sources = str(path), io.BytesIO(path.read_bytes())
    # Pillow warns of what is above its bound, and refuses what is above twice that.
    for source, start, bound in zip(sources, (0, 3), (30_000_000, 10_000_000), strict=True):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", bound)
        with pytest.raises(ValueError, match=r"has pictures of 9000x4000 pixels. Up to 8192x4320 \(8K\) can be"):
            VideoStream(source, start)


def test_the_canvas_of_a_webp_with_metadata_is_measured():
    head = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (16382).to_bytes(3, "little") + (99).to_bytes(3, "little")
    assert size_by_header(io.BytesIO(head)) == (16383, 100)
    assert size_by_header(io.BytesIO(head[:-1])) is None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", PICTURES)
def test_a_damaged_picture_has_no_size_or_the_size_it_claims(tmp_path, suffix):
    data = large_picture(tmp_path / f"p.{suffix}", (64, 48)).read_bytes()
    assert size_by_header(io.BytesIO(data)) == (64, 48)
    random = np.random.default_rng(0)
    for _ in range(300):
        torn = bytearray(data[: random.integers(len(data))] if random.random() < 0.3 else data)
        for at in random.integers(0, min(len(torn), 60) or 1, 3 * bool(torn)):
            torn[at] = random.integers(256)
        size = size_by_header(io.BytesIO(bytes(torn)))
        assert size is None or min(size) >= 0


def test_a_jpeg_of_any_length_is_read_alone(tmp_path):
    """By the name of a JPEG above a few kilobytes FFmpeg would read a sequence of pictures."""
    noise = np.random.default_rng(0).integers(0, 99, (300, 400, 3), np.uint8)
    for name, level in (("photo%03d.jpg", 60), ("photo001.jpg", 0), ("photo002.jpg", 0), ("photo*.jpg", 60)):
        Image.fromarray(noise + np.uint8(level)).save(tmp_path / name, quality=95)
        (frame,) = VideoStream(str(tmp_path / name))
        assert frame.shape == (300, 400, 3)
        assert frame.mean() == pytest.approx(49 + level, abs=2)


def test_bytes_opened_several_times_are_held_once():
    source = io.BytesIO(gif_claiming(64, 48) + bytes(20_000_000))
    tracemalloc.start()
    try:
        with open_media(source), open_media(source):
            VideoStream(source).fingerprint()
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_large_video_or_one_of_wide_pixels_is_told_its_size(tmp_path):
    with av.open(str(tmp_path / "v.mp4"), "w") as output:
        stream = output.add_stream("libx264", rate=16, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 8192, 4336, "yuv420p"
        output.mux(stream.encode(av.VideoFrame(8192, 4336, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(ValueError, match=r"'v.mp4' has pictures of 8192x4336 pixels. Up to 8192x4320 \(8K\) can be"):
        VideoStream(str(tmp_path / "v.mp4"))
    picture = np.zeros((2400, 2400, 3), np.uint8)
    path = make_video(tmp_path / "v.mp4", pictures=[picture], sample_aspect_ratio=Fraction(8))
    with pytest.raises(ValueError, match="has pictures of 19200x2400 pixels"):
        VideoStream(str(path))


def test_a_picture_that_grows_is_left_out(tmp_path):
    """A later JPEG of the stream claims 16000x16000."""
    path = make_video(tmp_path / "v.mjpeg", 3, codec="mjpeg", pix_fmt="yuvj420p", container="mjpeg")
    data = bytearray(path.read_bytes())
    size = struct.pack(">HH", HEIGHT, WIDTH)
    at = data.rindex(size)
    data[at : at + 4] = struct.pack(">HH", 16000, 16000)
    path.write_bytes(data)
    assert {frame.shape for frame in VideoStream(str(path), fps=0)} == {(HEIGHT, WIDTH, 3)}


# The command line's own reading


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [None, 89478485])
@pytest.mark.parametrize("side", [11000, 16000])
def test_a_photo_on_the_command_line_is_bounded_and_no_program(tmp_path, monkeypatch, side, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # other programs lift Pillow's own bound
    path = tmp_path / "photo.png"
    path.write_bytes(png_claiming(side, side))
    with pytest.raises(ValueError, match=f"photo.png (has {side}x{side} pixels; up to 100 megapixels|is no picture)"):
        media.read_photo(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match="is no picture that can be read .* Give a PNG, JPEG or WebP file"):
        media.read_photo(path)


def test_videos_on_the_command_line_are_bounded_too(folder):
    (folder / "list.mp4").write_text(LEADING_ELSEWHERE["list.ffconcat"])
    (folder / "large.mp4").write_bytes(gif_claiming(16000, 16000))
    for read in (media.frame_rate, lambda file: list(media.read_frames(file))):
        with pytest.raises(ValueError, match="playlists and streams are not followed"):
            read(folder / "list.mp4")
    with pytest.raises(av.FFmpegError):
        list(media.read_frames(folder / "large.mp4"))
