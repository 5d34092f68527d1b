"""Video Combine (SteadyDancer): where the file goes, what the page gets, progress, Cancel, the metadata switches."""

import json
from pathlib import Path
from types import SimpleNamespace

import av
import comfy.model_management
import comfy.utils
import folder_paths
import pytest
import torch
from comfy.cli_args import args
from PIL import Image

from steadydancer_pack.benchmarks.memory import LiveBytes
from steadydancer_pack.media.frames import fit_image
from steadydancer_pack.media.saved_clips import clip_key
from steadydancer_pack.media.side_by_side import SideBySide
from steadydancer_pack.media.video_formats import FORMATS
from steadydancer_pack.media.video_writer import VideoWriteError
from steadydancer_pack.nodes import video as node_module
from steadydancer_pack.nodes.video import VideoCombine
from steadydancer_pack.tests.together import meeting, together


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Give the node an output/ and a temp/ of its own."""
    for kind in ("output", "temp"):
        (tmp_path / kind).mkdir()
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
    return tmp_path


def combine(frames=4, **changes):
    how = {"fps": 16.0, "format": "MP4 H.264", "crf": -1, "pixel_format": "auto", "ping_pong": False, "loop": 0}
    how |= {"filename_prefix": "dance/clip", "save_output": True, "save_metadata": True}
    return VideoCombine.execute(**{"images": torch.rand(frames, 64, 80, 3), **how, **changes})


def test_schema():
    schema, info = VideoCombine.GET_SCHEMA(), VideoCombine.GET_NODE_INFO_V1()["input"]
    assert (schema.display_name, schema.category) == (
        "Video Combine (SteadyDancer)",
        "SteadyDancer/video",
    ) and schema.is_output_node
    assert list(info["required"])[:2] == ["images", "fps"]
    assert list(info["optional"]) == ["audio", "pose_frames", "show_pose"] and schema.inputs[-1].default == "off"


@pytest.mark.parametrize("save_output, kind", [(True, "output"), (False, "temp")])
def test_files_are_numbered_in_the_chosen_folder(folders, save_output, kind):
    for number in (1, 2):
        output = combine(save_output=save_output)
        video, path = output.result
        assert path == str(folders / kind / "dance" / f"clip_{number:05}_.mp4")
        assert video.get_frame_count() == 4 and video.get_dimensions() == (80, 64) and video.get_frame_rate() == 16
        result = {"filename": f"clip_{number:05}_.mp4", "subfolder": "dance", "type": kind}
        assert output.ui.as_dict() == {"images": [result], "animated": (True,)}


@pytest.mark.parametrize("name", FORMATS)
def test_two_runs_that_begin_together_keep_both_videos(folders, monkeypatch, name):
    monkeypatch.setattr(node_module, "write_video", meeting(node_module.write_video))  # both have chosen their number
    dark, bright = (torch.full((3, 64, 80, 3), level) for level in (0.2, 0.8))
    outputs = together(*(lambda images=images: combine(images=images, format=name) for images in (dark, bright)))
    paths = [Path(output.result[1]) for output in outputs]
    container = FORMATS[name].container
    assert sorted(path.name for path in paths) == [f"clip_0000{i}_.{container}" for i in (1, 2)]
    assert sorted((folders / "output" / "dance").iterdir()) == sorted(paths)
    for output, path, level in zip(outputs, paths, (0.2, 0.8), strict=True):
        assert output.ui.as_dict()["images"] == [{"filename": path.name, "subfolder": "dance", "type": "output"}]
        with Image.open(path) if container in ("gif", "webp") else av.open(str(path)) as file:
            first = file.convert("RGB") if container in ("gif", "webp") else next(file.decode(video=0)).to_image()
        assert first.getpixel((40, 32))[0] == pytest.approx(255 * level, abs=4)


@pytest.mark.parametrize("name", FORMATS)
def test_video_goes_on_to_other_nodes_from_every_format(name):
    output = combine(format=name)
    assert output.result[0].get_components().images.shape == (4, 64, 80, 3)
    assert float(output.result[0].get_frame_rate()) == pytest.approx(16, abs=0.05)
    assert ("animated" in output.ui.as_dict()) == (name != "GIF")


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", ["GIF", "WebP"])
def test_pictures_hand_on_the_frames_as_rgb(name, channels):
    images = torch.rand(4, 64, 80, channels)
    video = combine(format=name, images=images, ping_pong=True).result[0]
    assert torch.equal(video.get_components().images, images[..., :3].expand(-1, -1, -1, 3))


@pytest.mark.parametrize("saved, disabled", [(True, False), (False, False), (True, True)])
def test_metadata_has_two_switches(monkeypatch, saved, disabled):
    given = {"workflow": {"nodes": [{"id": 1}], "version": 0.4}, "prompt": {"1": {"class_type": "A"}}}
    hidden = SimpleNamespace(prompt=given["prompt"], extra_pnginfo={"workflow": given["workflow"]})  # from the server
    monkeypatch.setattr(VideoCombine, "hidden", hidden, raising=False)
    monkeypatch.setattr(args, "disable_metadata", disabled)
    with av.open(combine(save_metadata=saved).result[1]) as container:
        stored = {key.lower(): text for key, text in container.metadata.items()}
    found = {name: json.loads(stored[name]) for name in given if name in stored}
    assert found == (given if saved and not disabled else {})


def test_a_prefix_outside_the_output_folder_and_a_folder_that_cannot_be_made_are_refused(folders):
    for prefix in ("../clip", "a/../../clip", "/clip", "C:\\clip", "..\\clip", "", "  "):
        with pytest.raises(ValueError, match="does not name a file inside ComfyUI's output folder"):
            combine(filename_prefix=prefix)
    (folders / "output" / "dance").write_text("a file where the folder should be")
    with pytest.raises(VideoWriteError, match="Could not write 'clip' in .*keeps the finished frames"):
        combine()
    assert list(folders.rglob("*.mp4")) == []


CLIP = torch.linspace(0, 1, 4 * 64 * 80 * 3).reshape(4, 64, 80, 3)
SOUND = {"waveform": torch.linspace(-1, 1, 4000).reshape(1, 1, -1), "sample_rate": 16000}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_clip_is_not_saved_twice(folders, monkeypatch, name):
    def saved(workflow):
        monkeypatch.setattr(VideoCombine, "hidden", SimpleNamespace(prompt={}, extra_pnginfo=workflow), raising=False)
        return combine(images=CLIP.clone(), audio=dict(SOUND), format=name)

    first, again = saved({"workflow": {"seed": 1}}), saved({"workflow": {"seed": 1, "extra": "moved the canvas"}})
    assert again.result[1] == first.result[1] and again.ui.as_dict() == first.ui.as_dict()
    assert [file for file in folders.rglob("*") if file.is_file()] == [Path(first.result[1])]
    assert again.result[0].get_components().images.shape == (4, 64, 80, 3)


CHANGES = [
    {"images": CLIP + 0.001},
    {"images": CLIP[:3]},
    {"audio": SOUND | {"waveform": 0.5 * SOUND["waveform"]}},
    {"audio": SOUND | {"sample_rate": 8000}},
    {"audio": None},
    {"fps": 24.0},
    {"crf": 30},
    {"ping_pong": True},
    {"format": "WebM VP9"},
    {"filename_prefix": "other/clip"},
    {"save_metadata": False},
    {"save_output": False},
    {"pose_frames": CLIP, "show_pose": "side by side"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: ", ".join(change))
def test_a_changed_clip_is_saved(folders, monkeypatch, change):
    monkeypatch.setattr(VideoCombine, "hidden", SimpleNamespace(prompt={}, extra_pnginfo={}), raising=False)
    paths = [combine(**{"images": CLIP, "audio": SOUND, **changed}).result[1] for changed in ({}, change, {}, change)]
    assert paths[0] == paths[2] != paths[1] == paths[3]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"edited")], ids=["removed", "edited"])
def test_a_clip_whose_file_is_not_the_saved_one_is_saved_again(spoil):
    first = Path(combine(images=CLIP).result[1])
    spoil(first)
    again = Path(combine(images=CLIP).result[1])
    with av.open(again) as container:
        assert container.streams.video[0].frames == 4


def test_a_sound_that_is_a_view_is_known_without_a_copy_of_the_whole():
    """As read from a video: a part of what was reserved for each channel."""
    image, reserved = torch.rand(1, 1, 1, 3), torch.rand(2, 10000)
    sound = {"waveform": reserved[None, :, :9000], "sample_rate": 16000}
    with LiveBytes() as live:
        key = clip_key(image, sound)
    assert live.peak < reserved.nbytes + sound["waveform"].nbytes
    assert key == clip_key(image, sound | {"waveform": sound["waveform"].contiguous()})


def test_progress_counts_every_frame_and_size_tokens_are_filled_in(folders, monkeypatch):
    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: seen.append((value, total)))
    path = combine(frames=3, filename_prefix="%width%x%height%").result[1]
    assert path == str(folders / "output" / "80x64_00001_.mp4")
    assert seen[0] == (1, 3) and seen[-1] == (3, 3)


def decoded(path):
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


@pytest.mark.parametrize("size", [(64, 80), (65, 81)])
def test_each_frame_is_written_with_its_pose_to_the_right(size):
    """Flat colors, another for each frame: they survive the encoder. Odd heights are padded, the width is even."""
    images, poses = (torch.linspace(*ends, 4).view(4, 1, 1, 1).expand(4, *size, 3) for ends in ((0.1, 0.4), (0.9, 0.6)))
    video, path = combine(images=images, pose_frames=poses, show_pose="side by side", crf=0).result
    assert video.get_dimensions() == (2 * size[1], size[0] + size[0] % 2)
    for frame, left, right in zip(decoded(path), images[:, 0, 0, 0], poses[:, 0, 0, 0], strict=True):
        assert abs(frame[:, : size[1] - 2] - 255 * float(left)).max() <= 3
        assert abs(frame[:, size[1] + 2 :] - 255 * float(right)).max() <= 3


def test_the_pixels_beside_each_other_are_those_that_came_in_or_fitted_as_for_the_model():
    images, poses, large = torch.rand(3, 16, 24, 4), torch.rand(5, 16, 24, 3), torch.rand(3, 40, 32, 3)
    both = SideBySide(images, poses)
    assert both.shape == (3, 16, 48, 3) and len(both) == 3
    for index in range(3):
        assert torch.equal(both[index], torch.cat([images[index, ..., :3], poses[index]], dim=1))
    assert torch.equal(SideBySide(images, large)[2][:, 24:], fit_image(large[2:], 24, 16)[0])


def test_off_writes_the_same_video_with_and_without_pose_frames(folders):
    images = torch.linspace(0, 1, 4 * 64 * 80 * 3).reshape(4, 64, 80, 3)
    unused = {"pose_frames": torch.rand(2, 8, 8, 3), "filename_prefix": "dance/unused"}
    alone, unused = (combine(images=images, **more).result[1] for more in ({}, unused))
    # An encoder may round otherwise from run to run, so bytes are not compared.
    torch.testing.assert_close(decoded(unused), decoded(alone), rtol=0, atol=3)  # of 255


@pytest.mark.parametrize("name", ["GIF", "WebP"])
def test_pictures_show_the_pose_too_and_count_the_written_width(name):
    pose = {"pose_frames": torch.rand(4, 64, 80, 3), "show_pose": "side by side"}
    output = combine(format=name, filename_prefix="%width%x%height%", **pose)
    assert Path(output.result[1]).name.startswith("160x64_")
    with Image.open(output.result[1]) as picture:
        assert picture.size == (160, 64) and picture.n_frames == 4


def test_a_pose_that_is_missing_is_told(folders):
    with pytest.raises(ValueError, match="nothing is connected to pose_frames"):
        combine(show_pose="side by side")
    with pytest.raises(ValueError, match="There are 3 pose_frames for 4 images"):
        combine(pose_frames=torch.rand(3, 64, 80, 3), show_pose="side by side")
    assert list(folders.rglob("*.mp4")) == []


@pytest.mark.parametrize("name", FORMATS)
def test_cancel_leaves_no_file_and_the_next_run_works(folders, monkeypatch, cancelling_bar, name):
    with monkeypatch.context() as patch, pytest.raises(comfy.model_management.InterruptProcessingException):
        patch.setattr(node_module, "ProgressBar", cancelling_bar)
        combine(format=name)
    assert cancelling_bar.seen == [1, 2] and [p for p in (folders / "output").rglob("*") if p.is_file()] == []
    assert combine(format=name).result[1].endswith(f"clip_00001_.{FORMATS[name].container}")
