"""A long video whose frames stay on disk: the file, and all nodes on the way to it, as with images, bit for bit."""

import errno
import gc
from pathlib import Path
from types import SimpleNamespace

import av
import comfy.model_management
import comfy.sd
import folder_paths
import pytest
import torch
from comfy_execution.graph_utils import ExecutionBlocker

from steadydancer_pack.media.frame_files import FrameFileError, FrameFiles
from steadydancer_pack.media.side_by_side import SideBySide
from steadydancer_pack.nodes.common.frames_video import FramesVideo, taken_clip
from steadydancer_pack.nodes.first_frame import ExactFirstFrame
from steadydancer_pack.nodes.pose_motion import TrimLeadIn
from steadydancer_pack.nodes.windows import SeamReport
from steadydancer_pack.tests.comfy.test_chunks import make_sources, noise
from steadydancer_pack.tests.comfy.test_pose_sources import sample
from steadydancer_pack.tests.comfy.test_video_combine import combine

FRAMES = noise("video", 12, 64, 80, 3).half().float()
PHOTO = noise("photo of it", 1, 64, 80, 3)
SOUND = {"waveform": noise("sound", 1, 2, 12000), "sample_rate": 16000}


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for kind in ("output", "temp", "user"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    return tmp_path


@pytest.fixture
def video(tmp_path):
    clip = FrameFiles(tmp_path / "frames", 64, 80)
    clip.add(FRAMES, 7)
    clip.add(FRAMES[7:], 5)
    return FramesVideo(clip)


def on_disk(model, folders, **changes):
    """Return the frames of a video of 13 frames with frames_on_disk off and on, and their reports."""
    poses = make_sources(13)
    given = {"pose_frames": poses.pose, "pose_negative_frames": poses.pose_negative, "photo": poses.photo, **changes}
    return [sample(model, **given, width=32, height=48, frames_on_disk=on) for on in (False, True)]


@pytest.mark.parametrize("keep_chunks", [False, True])
def test_the_sampler_gives_the_same_frames_as_video(model, folders, keep_chunks):
    (images, report, as_video), (blocked, same_report, video) = on_disk(model, folders, keep_chunks=keep_chunks)
    assert isinstance(blocked, ExecutionBlocker) and "Connect the video output instead" in blocked.message
    assert isinstance(video.frames, FrameFiles) and torch.equal(video.get_components().images, images)
    assert as_video.get_components().images is not None and torch.equal(as_video.frames[:], images)
    if keep_chunks:
        assert "2 of 2 chunks were finished before" in same_report
        links = [path.stat().st_nlink for path in folders.glob("temp/steadydancer_frames/*/*")]
        assert links == [2, 2]
    else:
        assert same_report == report


def test_video_combine_writes_the_same_file(video):
    how = {"audio": SOUND, "pixel_format": "yuv420p10le", "ping_pong": True, "crf": 0}
    by_images, by_video = (combine(images=images, **how).result[1] for images in (FRAMES, video))
    assert by_images == by_video  # found by what decides it: nothing is saved twice
    other = combine(images=video, **how, filename_prefix="dance/other").result[1]
    assert decoded(other) == decoded(by_images)


def decoded(path):
    with av.open(path) as file:
        return [bytes(frame.to_ndarray()) for frame in file.decode()]


@pytest.mark.parametrize("name", ["GIF", "WebP"])
def test_an_animated_picture_gives_the_video_on(video, name):
    result = combine(images=video, format=name).result[0]
    assert isinstance(result, FramesVideo) and torch.equal(result.get_components().images, FRAMES)


def test_a_video_keeps_its_own_sound_unless_another_is_connected(video):
    own = FramesVideo(video.frames, 16, SOUND)
    for images, audio, count in (
        (own, None, 2),
        (own, {**SOUND, "waveform": SOUND["waveform"][:, :1]}, 1),
        (video, None, 0),
    ):
        with av.open(combine(images=images, audio=audio).result[1]) as file:
            assert [stream.channels for stream in file.streams.audio] == [count] * bool(count)


def test_the_pose_stands_beside_frames_from_disk(video):
    pose = noise("pose", 12, 32, 40, 3)
    both = [SideBySide(images, pose) for images in (FRAMES, video.frames)]
    assert all(torch.equal(both[0][index], both[1][index]) for index in range(12))


@pytest.mark.parametrize("crossfade", [0, 3, 50])
def test_the_exact_first_frame_is_that_of_the_images(video, crossfade):
    want, decibels, no_video = ExactFirstFrame.execute(FRAMES, PHOTO, True, crossfade).result
    no_images, same, found = ExactFirstFrame.execute(None, PHOTO, True, crossfade, video).result
    assert torch.equal(found.get_components().images, want) and same == decibels
    assert isinstance(no_video, ExecutionBlocker) and isinstance(no_images, ExecutionBlocker)


def test_the_lead_in_is_cut_off_frames_and_own_sound(video):
    own = FramesVideo(video.frames, 16, SOUND)
    for mode, first in (("trim", 4), ("keep", 0)):
        want, sound, _ = TrimLeadIn.execute(FRAMES, 4, mode, 16.0, SOUND).result
        _, same, found = TrimLeadIn.execute(None, 4, mode, 16.0, SOUND, own).result
        assert torch.equal(found.frames[:], want) and torch.equal(same["waveform"], sound["waveform"])
        assert torch.equal(found.audio["waveform"], SOUND["waveform"][..., first * 1000 :])


def test_the_seam_report_is_that_of_the_images(video):
    *_, report, _ = SeamReport.execute(FRAMES, 5, 0).result
    _, same, found = SeamReport.execute(None, 5, 0, video).result
    assert same == report and "frame" in report and torch.equal(found.frames[:], FRAMES)


@pytest.mark.parametrize("node", [ExactFirstFrame, TrimLeadIn, SeamReport])
def test_images_and_video_together_and_neither_are_refused(node, video):
    others = {"photo": PHOTO} if node is ExactFirstFrame else {}
    with pytest.raises(ValueError, match="has neither images nor video connected"):
        node.execute(**others)
    with pytest.raises(ValueError, match="has both images and video connected"):
        node.execute(images=FRAMES, video=video, **others)


def test_comfyui_takes_it_as_its_own_video(video, folders):
    assert video.get_dimensions() == (80, 64) and video.get_frame_count() == 12
    assert video.get_frame_rate() == 16 and video.get_duration() == 0.75
    video.save_to(str(folders / "saved.mp4"), metadata={"prompt": {"1": "node"}}, bit_depth=10, crf=0, color_space=None)
    with av.open(folders / "saved.mp4") as file:
        assert file.streams.video[0].format.name == "yuv420p10le"
        assert file.metadata["prompt"] == '{"1": "node"}' and sum(1 for _ in file.decode(video=0)) == 12
    trimmed = video.as_trimmed(0.25, 0.25)
    assert torch.equal(trimmed.frames[:], FRAMES[4:8])
    assert torch.equal(video.as_trimmed(-0.25).frames[:], FRAMES[8:]) and video.as_trimmed(0.5, 0.5) is None
    with av.open(trimmed.get_stream_source()) as file:
        assert sum(1 for _ in file.decode(video=0)) == 4


def test_a_video_of_another_node_is_read_into_memory():
    class Other(FramesVideo.__base__):
        def get_components(self):
            return SimpleNamespace(images=FRAMES, audio=SOUND, frame_rate=30)

        as_trimmed = save_to = None

    clip = taken_clip(Other())
    assert clip.frames is FRAMES and clip.audio is SOUND and clip.fps == 30


def test_a_damaged_frame_ends_the_file_with_words_and_nothing_half_stays(video, folders):
    last = sorted(video.frames.folder.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-30])
    with pytest.raises(FrameFileError, match="cannot be read"):
        combine(images=video)
    assert [path for path in (folders / "output").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("read", [lambda video: combine(images=video), FramesVideo.get_components])
def test_cancel_ends_the_reading_of_frames(model, folders, read):
    *_, video = on_disk(model, folders)[1]
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        read(video)
    assert [path for path in (folders / "output").rglob("*") if path.is_file()] == []
    assert not comfy.model_management.processing_interrupted()


def test_a_disk_that_fills_up_in_the_middle_keeps_the_finished_chunks(model, folders, monkeypatch):
    writes, write = [], Path.write_bytes

    def full(self, content):
        writes.append(self)
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, content)

    def sampled():
        given = {"pose_frames": poses.pose, "pose_negative_frames": poses.pose_negative, "photo": poses.photo}
        return sample(model, **given, width=32, height=48, frames_on_disk=True)

    poses = make_sources(13)
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(errno.EXDEV, "other disk")))
    with monkeypatch.context() as patch, pytest.raises(FrameFileError, match=r"No space left .* Free some space there"):
        patch.setattr(Path, "write_bytes", full)
        sampled()
    gc.collect()  # of the error's traceback
    assert [*(folders / "temp").rglob("*.frames")] == []
    _, report, video = sampled()
    assert "2 of 2 chunks were finished before" in report and len(video.frames) == 13
