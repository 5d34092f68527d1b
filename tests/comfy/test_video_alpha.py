"""What a matte has taken out is black: nobody is found there. Opaque pixels stay the same, bit for bit."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from PIL import Image

from steadydancer_pack.media import frame_converter, media_file
from steadydancer_pack.media.video_stream import ImageStream, VideoStream, open_video
from steadydancer_pack.tests.comfy import test_pose_extract_node as node
from steadydancer_pack.tests.comfy.test_pose_extract_node import user_folder  # noqa: F401  fixture

SIDE, FRAMES, LEVEL = 64, 3, 200
HALF = SIDE // 2
KINDS = {  # name: (codec, pixel format, container)
    "ProRes 4444": ("prores_ks", "yuva444p10le", "mov"),
    "QuickTime Animation": ("qtrle", "argb", "mov"),
    "PNG in MOV": ("png", "rgba", "mov"),
    "animated PNG": ("apng", "rgba", "apng"),
    "FFV1": ("ffv1", "yuva420p", "matroska"),
    "FFV1 in RGB": ("ffv1", "bgra", "matroska"),
    "FFV1 in RGB of 16 bits": ("ffv1", "gbrap16le", "matroska"),
    "Ut Video": ("utvideo", "gbrap", "avi"),
    "MagicYUV": ("magicyuv", "gbrap", "avi"),
    "HuffYUV": ("huffyuv", "bgra", "avi"),
    "FFmpeg's HuffYUV": ("ffvhuff", "bgra", "avi"),
    "JPEG 2000": ("jpeg2000", "rgba", "mov"),
    "TIFF": ("tiff", "rgba", "mov"),
    "raw RGBA": ("rawvideo", "rgba", "mov"),
    "raw ARGB": ("rawvideo", "argb", "mov"),
    "raw RGBA in AVI": ("rawvideo", "rgba", "avi"),
    "VP8": ("libvpx", "yuva420p", "webm"),
    "VP9": ("libvpx-vp9", "yuva420p", "webm"),
}


def matte(alpha):
    """Return RGBA [H, W, 4] in gray: the left half opaque, the right half of that alpha."""
    picture = np.full((SIDE, SIDE, 4), LEVEL, np.uint8)
    picture[..., 3] = 255
    picture[:, HALF:, 3] = alpha
    return picture


def make_file(codec, pix_fmt, container, *pictures):
    """Write pictures [H, W, 4] in RGBA."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        options = {"crf": "4", "b": "0", "auto-alt-ref": "0"} if codec.startswith("libvpx") else {}
        stream = output.add_stream(codec, rate=16, options=options)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, pix_fmt
        if options:
            stream.metadata["alpha_mode"] = "1"
        for pts, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgba").reformat(format=pix_fmt)
            frame.pts = pts
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    return file


def sides(frame):
    """Return the mean levels of the left and the right half, without the edge between them."""
    return [float(frame[:, half].mean()) for half in (slice(0, HALF - 8), slice(HALF + 8, SIDE))]


@pytest.mark.parametrize(("alpha", "shown"), [(0, 0), (128, LEVEL * 128 / 255), (255, LEVEL)])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_transparent_is_black(kind, alpha, shown):
    stream = VideoStream(make_file(*KINDS[kind], *[matte(alpha)] * FRAMES))
    frames = list(stream)
    assert len(frames) == stream.frames == FRAMES
    for frame in frames:
        assert sides(frame) == pytest.approx([LEVEL, shown], abs=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_picture_that_is_transparent_decides_nothing(kind):
    faded = [np.full((SIDE, SIDE, 4), (LEVEL, LEVEL, LEVEL, alpha), np.uint8) for alpha in (0, 128, 128)]
    levels = [float(frame.mean()) for frame in VideoStream(make_file(*KINDS[kind], *faded))]
    assert levels == pytest.approx([0, LEVEL * 128 / 255, LEVEL * 128 / 255], abs=3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_opaque_alpha_changes_no_bit(monkeypatch, kind):
    file = make_file(*KINDS[kind], *[matte(255)] * FRAMES)
    found = list(VideoStream(file))
    monkeypatch.setattr(frame_converter, "has_alpha", lambda frame: False)
    assert np.array_equal(found, list(VideoStream(file)))


@pytest.mark.parametrize("name", ["photo.png", "photo.webp", "palette.png", "palette.gif"])
def test_a_picture_with_a_matte(tmp_path, name):
    if name.startswith("palette"):
        image = Image.fromarray(np.repeat(np.repeat(np.array([[7, 9]], np.uint8), SIDE, 0), HALF, 1), "P")
        image.putpalette([LEVEL] * 768)
        image.save(tmp_path / name, transparency=9)
    else:
        Image.fromarray(matte(0)).save(tmp_path / name, lossless=True, exact=True)
    (frame,) = VideoStream(str(tmp_path / name))
    assert sides(frame) == pytest.approx([LEVEL, 0], abs=1)


@pytest.mark.parametrize(("codec", "container"), [("rawvideo", "avi"), ("targa", "mov"), ("targa", "avi")])
def test_a_fourth_byte_that_nobody_fills_hides_nothing(codec, container):
    """As screen recorders write AVI of 32 bits."""
    file = make_file(codec, "bgra", container, np.full((SIDE, SIDE, 4), (LEVEL, LEVEL, LEVEL, 0), np.uint8))
    with av.open(file) as opened:
        assert {frame.format.name for frame in opened.decode(video=0)} == {"bgra"}
    (frame,) = VideoStream(file)
    assert sides(frame) == [LEVEL, LEVEL]


def test_without_the_decoder_for_transparency_the_colors_are_read(monkeypatch, caplog):
    monkeypatch.setattr(media_file, "ALPHA_DECODERS", {"vp9": "no such decoder"})
    (frame, *_) = VideoStream(make_file(*KINDS["VP9"], matte(0)))
    assert sides(frame) == pytest.approx([LEVEL, LEVEL], abs=3)
    assert "no decoder no such decoder: the transparency of a video is not seen" in caplog.text


def test_images_with_alpha_alone_and_in_a_video():
    images = torch.from_numpy(np.stack([matte(0), matte(128), matte(255)])).float() / 255
    frames, opaque = list(ImageStream(images)), list(ImageStream(images[..., :3]))
    parts = Types.VideoComponents(images=images, frame_rate=Fraction(16))
    for shown in (frames, open_video(InputImpl.VideoFromComponents(parts))):
        assert [sides(frame) for frame in shown] == [[LEVEL, 0], [LEVEL, 100], [LEVEL, LEVEL]]
    assert np.array_equal(frames[2], opaque[2])
    prints = {ImageStream(kind).fingerprint() for kind in (images, images[..., :3], images.flip(0))}
    assert len(prints) == 3


def test_nobody_is_found_behind_a_matte():
    """Two people, the right one taken out."""
    images = node.images(*[(1, 4)] * 6)
    alpha, matte = (torch.ones(*images.shape[:3], 1) for _ in range(2))
    matte[:, :, 70:] = 0
    for added, people in (((), 2), ((alpha,), 2), ((matte,), 1)):
        keypoints = node.run(images=torch.cat([images, *added], -1)).result[0]
        assert [len(frame["people"]) for frame in keypoints] == [people] * 6
