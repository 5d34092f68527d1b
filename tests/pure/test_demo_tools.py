"""The demo's own parts: lossless packing, contact sheets, edits of a prompt, options."""

import av
import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.comfy_client import prompt_edit
from steadydancer_pack.comfy_client.prompt_run import saved_file
from steadydancer_pack.media import clips as media
from steadydancer_pack.tools import demo, demo_report


@pytest.fixture
def pictures(tmp_path):
    """A folder of seven noisy pictures of 20 x 32 pixels, and their arrays."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    arrays = np.random.RandomState(0).randint(0, 256, (7, 32, 20, 3), dtype=np.uint8)
    for index, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{index:04d}.png")
    return folder, arrays


def test_packing_a_folder_loses_nothing_and_a_video_is_cut(pictures, tmp_path):
    folder, arrays = pictures
    assert media.pack_video(folder, tmp_path / "a.mp4", 99) == 7
    assert media.frame_rate(tmp_path / "a.mp4") == 16
    for source in (folder, tmp_path / "a.mp4"):
        assert media.pack_video(source, tmp_path / "b.mp4", 6) == 6
        assert np.array_equal([np.asarray(frame) for frame in media.read_frames(tmp_path / "b.mp4")], arrays[:6])


def test_too_few_frames_and_mixed_sizes_are_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match="Found 4 frames .* at least 5"):
        media.pack_video(pictures[0], tmp_path / "a.mp4", 4)
    Image.new("RGB", (9, 9)).save(pictures[0] / "0003.png")
    with pytest.raises(ValueError, match=r"differ in size: \[\(9, 9\), \(20, 32\)\]"):
        media.pack_video(pictures[0], tmp_path / "a.mp4", 7)


@pytest.mark.parametrize("read", [media.read_photo, lambda file: list(media.read_frames(file))])
def test_a_missing_file_is_named(read, tmp_path):
    with pytest.raises(ValueError, match="There is no file .*nothing.png"):
        read(tmp_path / "nothing.png")


def test_the_last_frame_stands_for_those_beyond_the_end(pictures):
    folder, arrays = pictures
    for wanted, shown in (([0, 5, 8, 9], [0, 5, 6, 6]), ([2, 2, 3], [2, 2, 3])):
        assert np.array_equal([np.asarray(frame) for frame in media.pick(folder, wanted)], arrays[shown])


def folder_of(folder, colors):
    folder.mkdir()
    for index, color in enumerate(colors):
        Image.new("RGB", (200, 200), color).save(folder / f"{index:02d}.png")
    return folder


def sheet_row(sheet, row, columns):
    """Return the colors in the middle of the pictures of a row of the contact sheet."""
    height = media.GAP + media.CAPTION_HEIGHT + 100 + row * (200 + media.CAPTION_HEIGHT + media.GAP)
    return [sheet.getpixel((media.GAP + 100 + 200 * column, height)) for column in range(columns)]


def test_a_contact_sheet_shows_photo_what_is_given_and_result_side_by_side(tmp_path):
    photo, result = Image.new("RGB", (200, 200), "red"), folder_of(tmp_path / "result", ["blue"] * 9)
    colors = {"driving video": "yellow", "pose": "lime"}
    shown = {name: folder_of(tmp_path / name, [color] * 9) for name, color in colors.items()}
    assert media.contact_sheet(photo, shown, result, tmp_path / "sheet.png") == 9
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet_row(sheet, 0, 4) == [(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 0, 255)]
    assert sheet.height == media.GAP + 3 * (200 + media.CAPTION_HEIGHT + media.GAP)


def test_two_demos_that_end_in_the_same_second_keep_their_results(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_report.time, "strftime", lambda form: "steadydancer_now")
    Image.new("RGB", (200, 200), "red").save(tmp_path / "photo.png")
    kept = []
    for name, color in (("first", "blue"), ("second", "lime")):
        media.pack_video(folder_of(tmp_path / name, [color] * 5), tmp_path / f"{name}.mp4", 5)
        kept.append(demo_report.keep_results(tmp_path / f"{name}.mp4", tmp_path / "photo.png", {}, tmp_path / "output"))
    names = [[f"{stem}.mp4", f"{stem}.png"] for stem in ("steadydancer_now", "steadydancer_now_2")]
    assert [[file.name for file in files] for files in kept] == names
    for (video, sheet), name, color in zip(kept, ("first", "second"), ((0, 0, 255), (0, 255, 0)), strict=True):
        assert video.read_bytes() == (tmp_path / f"{name}.mp4").read_bytes()
        assert sheet_row(Image.open(sheet), 0, 2) == [(255, 0, 0), color]


def test_a_contact_sheet_goes_by_time_not_by_frame_number(tmp_path):
    """Two pictures a frame of the result, and the end stands still."""
    fast = folder_of(tmp_path / "fast", [(10 * i, 0, 0) for i in range(14)])
    media.pack_video(fast, tmp_path / "slow.mp4", 14)
    with av.open(str(tmp_path / "fast.mp4"), "w") as video:
        stream = video.add_stream("libx264rgb", rate=32, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 200, 200, "rgb24"
        for frame in (*map(av.VideoFrame.from_image, media.read_frames(fast)), None):
            video.mux(stream.encode(frame))
    shown = {"driving video": tmp_path / "fast.mp4"}
    media.contact_sheet(Image.new("RGB", (200, 200)), shown, tmp_path / "slow.mp4", tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    shown = [sheet_row(sheet, row, 3)[1:] for row in range(3)]
    assert shown == [[(fast, 0, 0), (slow, 0, 0)] for fast, slow in ((0, 0), (100, 50), (130, 100))]


OBJECT_INFO = {
    "Load": {"input": {}},
    "Unpack": {"input": {"required": {"video": ["VIDEO"]}}},
    "Join": {"input": {"required": {"photo": ["IMAGE"]}, "optional": {"frames": ["IMAGE"], "more": ["IMAGE"]}}},
}


def prompt():
    links = {"photo": ["4", 0], "frames": ["2", 0], "more": ["4", 0]}
    nodes = ("Load", "A", {}), ("Unpack", "", {"video": ["1", 0]}), ("Join", "", links), ("Load", "B", {})
    rows = ({"class_type": kind, "_meta": {"title": title}, "inputs": inputs} for kind, title, inputs in nodes)
    return dict(zip("1234", rows, strict=True))


def test_dropping_a_node_takes_what_needs_it_and_frees_what_does_not():
    edited = prompt()
    prompt_edit.drop(edited, "1", OBJECT_INFO)
    assert set(edited) == {"3", "4"}
    assert edited["3"]["inputs"] == {"photo": ["4", 0], "more": ["4", 0]}


def test_a_node_is_found_by_type_and_title_or_refused():
    assert prompt_edit.find(prompt(), "Load", "B") == "4"
    for wrong, message in ((("Load",), "one Load; it holds 2"), (("Join", "X"), "one Join titled 'X'; it holds 0")):
        with pytest.raises(ValueError, match=message):
            prompt_edit.find(prompt(), *wrong)


@pytest.mark.parametrize(("text", "wish"), [("256x144", (256, 144)), ("36864", 36864)])
def test_size_is_a_pair_or_an_area(text, wish):
    assert demo.parse(["--size", text]).size == wish


WRONG_OPTIONS = ["--size big", "--photo a.png", "--pose-video a", "--pose-negative a", "--frames 0", "--video a.mp4"]


@pytest.mark.parametrize("wrong", [*WRONG_OPTIONS, "--photo a.png --video a.mp4 --pose-video a"])
def test_options_that_do_not_fit_end_the_program(wrong, capsys):
    with pytest.raises(SystemExit):
        demo.parse(wrong.split())
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("driving", ["--video", "--pose-video"])
def test_bad_files_are_told_in_words_before_the_server_starts(driving, tmp_path, capsys):
    assert demo.main(["--photo", str(tmp_path / "nobody.png"), driving, str(tmp_path)]) == 1
    assert "There is no file" in capsys.readouterr().err


def test_the_pose_frames_are_written_beside_the_result():
    draw = {"class_type": demo.DRAW, "inputs": {}, "_meta": {"title": "Draw Poses"}}
    inputs = {"images": ["7", 0], "audio": ["8", 0], "fps": 16.0, "save_output": True, "crf": -1}
    video = {"class_type": demo.VIDEO_NODE, "inputs": inputs, "_meta": {"title": "Video Combine (SteadyDancer)"}}
    prompt = {"1": draw, "2": video}
    demo.add_pose_video(prompt)
    added = {"images": ["1", 0], "fps": 16.0, "save_output": False, "crf": 0}
    assert (prompt["2"]["inputs"], prompt[demo.POSE_VIDEO]["inputs"]) == (inputs, added)


def test_the_file_a_video_node_reports_is_found():
    output = {"images": [{"filename": "a.mp4", "subfolder": "b", "type": "output"}], "animated": [True]}
    assert saved_file(output) == ("output", "b", "a.mp4")
