"""The finish chain: ComfyUI's frame interpolation, another frame rate, panels side by side, the file with sound."""

from fractions import Fraction

import av
import comfy_extras.nodes_frame_interpolation as interpolation
import folder_paths
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from comfy_extras.frame_interpolation_models.ifnet import IFNet
from safetensors.torch import save_file

from steadydancer_pack.nodes.finish import ChangeFrameRate, SideBySideVideo
from steadydancer_pack.nodes.video import VideoCombine

SOUND = {"waveform": torch.sin(torch.arange(96000) / 20).reshape(1, 1, -1), "sample_rate": 48000}  # 2 s


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """The node's output folder, and a folder of interpolation models with a small network in it."""
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    names = {"frame_interpolation": ([str(tmp_path)], {".safetensors"})}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {**folder_paths.folder_names_and_paths, **names})
    network = IFNet(channels=(4,) * 5)
    zeros = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    save_file(zeros, tmp_path / "stub.safetensors")  # without flow, each frame between two is their mean


def clip(frames, width=64, height=64):
    """Return a clip whose brightness grows from frame to frame."""
    return torch.linspace(0, 1, frames).view(-1, 1, 1, 1).expand(-1, height, width, 3).contiguous()


def video(images, fps):
    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=None, frame_rate=Fraction(fps)))


@pytest.mark.parametrize(("rate", "fps"), [("24", 24), ("30", 30), ("60", 60), ("driving video", 25)])
def test_the_whole_chain_keeps_length_order_and_sound(rate, fps):
    images = clip(9)
    model = interpolation.FrameInterpolationModelLoader.execute("stub.safetensors").result[0]
    between = interpolation.FrameInterpolate.execute(model, images, 4).result[0]
    frames, new_fps = ChangeFrameRate.execute(between, 16.0, 4, rate, video(clip(5), 25)).result
    how = {"format": "MP4 H.264", "crf": 0, "pixel_format": "auto", "ping_pong": False, "loop": 0}
    path = VideoCombine.execute(frames, new_fps, **how, filename_prefix="finish", save_output=True, save_metadata=False,
                                audio=SOUND).result[1]  # fmt: skip
    with av.open(path) as file:
        pictures = [frame.to_ndarray(format="gray").mean() / 255 for frame in file.decode(video=0)]
        sound = file.streams.audio[0]
        heard = float(sound.duration * sound.time_base)
    assert new_fps == fps and abs(len(pictures) / fps - 9 / 16) <= 0.5 / fps
    assert abs(heard - len(pictures) / fps) <= 0.5 / fps
    # The brightness is the time in the dance: none is off by more than half a frame of the source.
    late = [abs(8 * value - min(16 * k / fps, 8)) for k, value in enumerate(pictures)]
    assert max(late) <= 0.5 + 0.1 and pictures == sorted(pictures)


def test_without_a_driving_video_its_rate_cannot_be_taken():
    with pytest.raises(ValueError, match="nothing is connected to driving_video. Connect Load Video, or choose one of"):
        ChangeFrameRate.execute(clip(5), 16.0, 1, "driving video")


def test_the_panels_are_in_step_with_the_result():
    """Driving video at 30, pose frames at 16, result at 24 frames per second; each shows the time in its brightness."""
    images, poses, driving = (clip(frames) for frames in (25, 17, 31))
    (both,) = SideBySideVideo.execute(images, 24.0, video(driving, 30), poses).result
    assert both.shape == (25, 64, 192, 3) and torch.equal(both[:, :, 128:], images)
    seconds = torch.arange(25) / 24
    for panel, fps in ((both[:, 32, 32, 0], 30), (both[:, 32, 96, 0], 16)):
        assert (panel - seconds).abs().max() <= 1 / fps + 0.005


def test_panels_keep_their_aspect_and_their_last_frame():
    images = clip(10, 48, 32)
    (both,) = SideBySideVideo.execute(images, 16.0, video(clip(4, 40, 80), 16), clip(3, 96, 64)).result
    assert both.shape == (10, 32, 16 + 48 + 48, 3)
    assert both[3:, 0, 0, 0].eq(both[3, 0, 0, 0]).all() and both[9, 0, 20, 0] == 1
    assert torch.equal(SideBySideVideo.execute(images, 16.0).result[0], images)
