"""The preview of Poses From Video as the page gets it: a video with sound in the temp folder, and the text under it."""

import logging
from pathlib import Path

import av
import folder_paths
import numpy as np
import pytest
import torch

from steadydancer_pack.dwpose.edit import dance_preview
from steadydancer_pack.dwpose.edit.align import Request, align
from steadydancer_pack.dwpose.pipeline import Poses
from steadydancer_pack.media.streamed_frames import StreamedFrames
from steadydancer_pack.media.video_stream import ImageStream
from steadydancer_pack.nodes.animate import AnimateFromVideo
from steadydancer_pack.nodes.common import dance_player
from steadydancer_pack.nodes.common.dance_player import show_dance
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip

FRAMES, RATE = 8, 16000
CAMERA = Camera(45, 80, size=0.45)
STANDING = clip(ADULT, [Stance()], CAMERA)
PHOTO = ImageStream(torch.full((1, 80, 45, 3), 0.4))


def shown(frames=FRAMES, lead_in=0, audio=None):
    dance = clip(ADULT, [Stance(arm=(90, 90))] * frames, CAMERA)
    alignment = align(STANDING, dance, Request((45, 80)))
    aligned = alignment.clip.at(np.maximum(np.arange(-lead_in, frames), 0))
    poses = Poses(aligned, aligned, alignment, lead_in, [], STANDING, dance, dance)
    video = ImageStream(torch.full((frames, 80, 45, 3), 0.8))
    return show_dance(poses, PHOTO, video, (1.0, 1.0), audio, "The whole report.", "A remark.")


def file_of(output):
    (image,) = output["images"]
    assert image["type"] == "temp" and output["animated"] == (True,)
    return Path(folder_paths.get_temp_directory(), image["subfolder"], image["filename"])


def test_the_page_gets_a_video_with_the_sound_of_the_dance_after_the_lead_in():
    tone = torch.sin(torch.arange(RATE) * 0.3)[None, None]
    with av.open(str(file_of(shown(lead_in=4, audio={"waveform": tone, "sample_rate": RATE})))) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert (video.frames, video.average_rate, video.codec_context.pix_fmt) == (12, 16, "yuv420p")
        assert video.width >= 512
        sound = np.concatenate([block.to_ndarray()[0] for block in file.decode(audio)])
    begins, length = (round(seconds * audio.rate) for seconds in (4 / 16, 12 / 16))
    assert len(sound) == pytest.approx(length, abs=0.04 * audio.rate)
    assert np.abs(sound[: begins - 2000]).max() < 0.01 < 0.5 < np.abs(sound[begins + 2000 :]).max()


def test_under_it_stands_what_it_proves_and_what_no_picture_shows():
    output = shown()
    assert output["text"] == ("The whole report.",) and output["preview_size"] == (816, 720)
    first, second, *rest = output["shown"][0].splitlines()
    assert first.startswith("Frame 1, off the photo's own pose (white): neck 0 %, shoulders 0 %, hips 0 %")
    assert second == "Neck, shoulders and hips should match there. Arms and legs follow the dance."
    assert rest == ["A remark."]


def test_a_silent_video_has_a_silent_preview():
    with av.open(str(file_of(shown()))) as file:
        assert not file.streams.audio and file.streams.video[0].frames == FRAMES


def test_a_long_dance_plays_as_long_with_fewer_frames(monkeypatch):
    monkeypatch.setattr(dance_preview, "MAX_FRAMES", 3)
    with av.open(str(file_of(shown()))) as file:
        video = file.streams.video[0]
        assert (video.frames, float(video.average_rate or 0)) == (3, pytest.approx(16 / 3, rel=1e-3))


@pytest.mark.parametrize(
    ("broken", "words"),
    [("output_names", "No space left on device"), ("has_encoder", "has no encoder for MP4 H.264")],
)
def test_a_preview_that_cannot_be_written_costs_no_poses(broken, words, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    intact = shown()
    monkeypatch.setattr(dance_player, broken, full if broken == "output_names" else lambda name: False)
    with caplog.at_level(logging.WARNING):
        output = shown()
    assert (
        output["images"] == ()
        and output.keys() == intact.keys()
        and output["text"] == ("The whole report.",)
        and words in caplog.text
    )


def test_the_node_can_be_run_alone():
    assert AnimateFromVideo.GET_SCHEMA().is_output_node


def test_streamed_frames_come_once_and_in_order():
    frames = StreamedFrames(iter(np.zeros((2, 4, 6, 3), np.uint8)), 2, (6, 4))
    assert frames.shape == (2, 4, 6, 3) and len(frames) == 2 and frames[0].shape == (4, 6, 3)
    with pytest.raises(ValueError, match="Frame 1 comes next, not frame 0"):
        frames[0]
