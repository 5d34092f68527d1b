"""The node Edit Poses: the very same poses without edits, what it applies, and the files that it gives the page."""

import json
from fractions import Fraction
from pathlib import Path
from time import thread_time

import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types

from steadydancer_pack.dwpose.edit.facing_json import facing_json
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.formats.packed_poses import pack_poses
from steadydancer_pack.dwpose.poses import KEYPOINTS, LEFT_ELBOW, PoseClip, Track
from steadydancer_pack.media.log import logger
from steadydancer_pack.nodes.pose_edit import EditPoses

ELBOW = {"op": "move", "person": 1, "from": 2, "to": 2, "joints": {"left_elbow": [0.1, -0.05]}}


def listed(*rows: dict) -> str:
    return json.dumps({"version": 1, "edits": rows})


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    """ComfyUI's temp folder."""
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    return tmp_path / "temp"


@pytest.fixture
def warnings(monkeypatch):
    """The warnings of the pack, formatted."""
    texts = []
    monkeypatch.setattr(logger, "warning", lambda text, *values: texts.append(text % values))
    return texts


def clip_of(frames: int, people: int = 1) -> PoseClip:
    generator = np.random.default_rng(0)
    tracks = [Track(i, generator.random((frames, KEYPOINTS, 2)), np.ones((frames, KEYPOINTS))) for i in range(people)]
    return PoseClip(64, 96, frames, tuple(tracks))


def test_without_edits_the_very_same_poses_go_on_in_5_ms():
    poses = to_keypoints(clip_of(200, 2))
    times = []
    for _ in range(9):
        start = thread_time()
        output = EditPoses.execute("", 16.0, poses)
        times.append(thread_time() - start)
        assert output.args == (poses, "No edits.") and output.args[0] is poses
    assert min(times) < 0.005


def test_an_edit_changes_its_frame_alone():
    clip = clip_of(5)
    result, report = EditPoses.execute(listed(ELBOW), 16.0, to_keypoints(clip)).args
    moved = from_keypoints(result).tracks[0].points - clip.tracks[0].points
    assert report == "Edits applied: 1."
    np.testing.assert_allclose(moved[2, LEFT_ELBOW], [0.1, -0.05], atol=1e-9)
    moved[2, LEFT_ELBOW] = 0
    np.testing.assert_allclose(moved, 0, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ('{"version": 2, "edits": []}', "of version 2"),
        ('{"version": 1, "edits": [NaN]}', "NaN is no number"),
    ],
)
def test_a_list_that_cannot_be_read_changes_nothing_and_is_named(warnings, text, said):
    poses = to_keypoints(clip_of(3))
    output = EditPoses.execute(text, 16.0, poses)
    assert output.args[0] is poses
    assert output.args[1].startswith("The poses go on unedited.") and said in output.args[1]
    assert output.ui["text"] == (output.args[1],) and len(warnings) == 1 and said in warnings[0]


def test_edits_that_do_not_fit_are_named_and_the_others_apply(warnings):
    text = listed(ELBOW, {**ELBOW, "person": 7}, {**ELBOW, "from": 9, "to": 9}, {"op": "melt"})
    _, report = EditPoses.execute(text, 16.0, to_keypoints(clip_of(5))).args
    assert report.splitlines()[0] == "Edits applied: 1."
    assert "there is no person 7" in report and "begins at frame 9" in report and "Edit 4 was skipped" in report
    assert warnings == [f"Edit Poses: {report}"]


def test_the_page_gets_the_poses_in_one_file_that_is_reused_and_the_turns_of_the_edited_ones(temp):
    clip, edits = clip_of(4), listed({"op": "swap_sides", "person": 1, "from": 0})
    outputs = [EditPoses.execute(text, 12.0, to_keypoints(clip)) for text in ("", edits, edits)]
    plain, edited, again = (output.ui["pose_editor"][0] for output in outputs)
    assert edited == again and [*plain] == ["poses", "facing", "fps"] and plain["fps"] == 12.0
    assert plain["poses"] == edited["poses"] and plain["facing"] != edited["facing"]
    assert len(list(temp.iterdir())) == 3
    assert plain["poses"] == {"filename": plain["poses"]["filename"], "subfolder": "", "type": "temp"}
    assert Path(temp, plain["poses"]["filename"]).read_bytes() == pack_poses(clip)
    for shown, output in (plain, outputs[0]), (edited, outputs[1]):
        assert Path(temp, shown["facing"]["filename"]).read_text() == facing_json(from_keypoints(output.args[0]))


@pytest.mark.parametrize(("frames", "kind", "ending"), [(1, "photo", ".jpg"), (3, "video", ".mp4")])
def test_images_become_a_photo_or_a_video_behind_the_poses(temp, frames, kind, ending):
    poses, images = to_keypoints(clip_of(3)), torch.rand(frames, 33, 24, 3)
    shown = [EditPoses.execute("", 16.0, poses, images=images).ui["pose_editor"][0]["background"] for _ in range(2)]
    assert shown[0] == shown[1] and shown[0]["kind"] == kind and shown[0]["filename"].endswith(ending)
    assert len(list(temp.iterdir())) == 3 and (temp / shown[0]["filename"]).stat().st_size > 0


def test_a_video_in_a_folder_of_comfyui_stays_there_and_another_is_written_once(temp, tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    inside = tmp_path / "input" / ".dances" / "a.mp4"
    inside.parent.mkdir(parents=True)
    frames = InputImpl.VideoFromComponents(Types.VideoComponents(torch.rand(3, 32, 32, 3), Fraction(16)))
    frames.save_to(str(inside))
    outside = tmp_path / "b.mp4"
    outside.write_bytes(inside.read_bytes())

    def background(video) -> dict:
        return EditPoses.execute("", 16.0, to_keypoints(clip_of(3)), video=video).ui["pose_editor"][0]["background"]

    found = background(InputImpl.VideoFromFile(str(inside), start_time=0.1))
    assert found == {"filename": "a.mp4", "subfolder": ".dances", "type": "input", "kind": "video", "start": 0.1}
    for video in (InputImpl.VideoFromFile(str(outside)), frames):
        found = background(video)
        assert found == background(video) and found["type"] == "temp" and Path(temp, found["filename"]).stat().st_size
    assert len(list(temp.glob("*.mp4"))) == 2


def test_a_temp_folder_that_takes_nothing_costs_the_editor_alone(temp, warnings):
    temp.write_text("a file, no folder")
    poses = to_keypoints(clip_of(3))
    output = EditPoses.execute("", 16.0, poses)
    (shown,) = output.ui["pose_editor"]
    assert output.args[0] is poses and [*shown] == ["error"]
    assert warnings == [f"Edit Poses: the editor cannot be opened. {shown['error']}"]


def test_two_backgrounds_are_refused():
    poses, images = to_keypoints(clip_of(1)), torch.zeros(1, 8, 8, 3)
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(16)))
    with pytest.raises(ValueError, match="Connect at most one of the two"):
        EditPoses.execute("", 16.0, poses, images=images, video=video)


def test_without_poses_a_skeleton_is_placed_on_a_photo_or_a_video():
    placed = {"op": "place", "person": 1, "from": 0, "joints": {"nose": [0.5, 0.2], "neck": [0.5, 0.3]}}
    images = torch.rand(4, 48, 32, 3)
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images, Fraction(16)))
    for source, frames in ({"images": images[:1]}, 1), ({"images": images}, 4), ({"video": video}, 4):
        clip = from_keypoints(EditPoses.execute(listed(placed), 16.0, **source).args[0])
        (person,) = clip.tracks
        assert (clip.width, clip.height, clip.frames) == (32, 48, frames) and person.number == 1
        np.testing.assert_allclose(person.points[:, :2], [[[0.5, 0.2], [0.5, 0.3]]] * frames, atol=1e-9)
    with pytest.raises(ValueError, match="neither poses nor a picture"):
        EditPoses.execute("", 16.0)
