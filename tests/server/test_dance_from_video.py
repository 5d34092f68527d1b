"""The shipped road from photo and driving video to MP4 in a real ComfyUI: in step, in time, with the sound."""

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.dwpose.poses import BODY, NECK
from steadydancer_pack.miniature import SIDE, write_all
from steadydancer_pack.tests.prompts import VIDEO, file_of, node, pictures, run
from steadydancer_pack.tools.templates.names import FIX_BY_HAND, STAGE_BY_STAGE
from steadydancer_pack.training import sample

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
FRAMES, FPS = 33, 16
DRAW = "SteadyDancerDrawPoses"
DRAWN_BY_SDPOSE = {
    "draw_body": True, "draw_hands": True, "draw_face": False, "draw_feet": False, "stick_width": 4, "draw_head": True,
    "face_point_size": 3, "score_threshold": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def miniature(server):
    write_all(server.base / "models", server.base / "input")


def shipped(server, name):
    """Return the workflow as an API prompt."""
    workflow = json.loads((WORKFLOWS / f"{name}.json").read_text("utf-8"))
    return to_api_prompt(workflow, server.client.object_info())


@pytest.fixture(scope="module")
def finished(server):
    """Run the workflow; return its API prompt, its outputs and the poses that it drew."""
    prompt = shipped(server, STAGE_BY_STAGE)
    poses = prompt[find(prompt, DRAW)]["inputs"]["poses"]
    where = {"filename_prefix": "dance_from_video/poses", "fps": float(FPS)}
    prompt["save"] = node("SteadyDancerSavePoses", poses=poses, **where)
    _, outputs = run(server, prompt)
    (file,) = (server.base / "output" / "dance_from_video").glob("*.json")
    return prompt, outputs, json.loads(file.read_text("utf-8"))


def joints(frame):
    """Return the body joints [18, 2] of the one person of a frame, in frame heights."""
    (person,) = frame["people"]
    return np.reshape(person["pose_keypoints_2d"], (18, 3))[:, :2] / frame["canvas_height"]


def test_the_result_lasts_as_long_as_the_part_of_the_driving_video_and_sounds_like_it(server, finished):
    prompt, outputs, _ = finished
    with av.open(file_of(server, *outputs[find(prompt, VIDEO)]["images"])) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert float(video.average_rate) == FPS and video.frames == FRAMES
        sound = np.concatenate([block.to_ndarray()[0] for block in file.decode(audio)])
    heard = sample.rhythm(FRAMES / FPS)[0]
    length = min(len(sound), len(heard))
    assert len(sound) / 48000 == pytest.approx(FRAMES / FPS, abs=0.03)
    assert np.corrcoef(sound[:length], heard[:length])[0, 1] > 0.9


def test_the_skeleton_dances_what_the_driver_dances_in_the_photos_place(finished):
    """The photo's figure is another one, smaller and elsewhere: its own dance is the true answer."""
    found = np.array([joints(frame) for frame in finished[2]])
    (true,) = sample.film(sample.answer().at(slice(FRAMES)), SIDE).poses.tracks
    (driver,) = sample.film(sample.driver().at(slice(FRAMES)), SIDE).poses.tracks
    distance = np.linalg.norm(found - true.points[:, BODY], axis=2)
    assert len(found) == FRAMES
    assert np.linalg.norm(found[0, NECK] - true.points[0, NECK]) < 0.03
    assert np.median(distance) < 0.03 and np.quantile(distance, 0.95) < 0.06
    assert np.median(np.linalg.norm(found - driver.points[:, BODY], axis=2)) > 0.1


def test_the_nodes_report_what_was_found_and_show_the_overlay_and_the_first_frames(server, finished):
    prompt, outputs, _ = finished
    told = {prompt[node]["_meta"]["title"]: output["text"][0] for node, output in outputs.items() if "text" in output}
    assert "Detector: BlazePose (CPU)" in told["Poses of the video"]
    assert "16 fps -> 16 fps" in told["Poses of the video"] and "100 %" in told["Poses of the video"]
    assert told["Align Poses"].splitlines()[1].startswith("body")
    for key in (find(prompt, "SteadyDancerAlignPoses"), find(prompt, DRAW)):
        assert file_of(server, *outputs[key]["images"]).is_file()


def test_animate_from_video_draws_the_same_frames(server, finished):
    """With the settings of the workflow, the one node does what its parts do."""
    prompt, _, _ = finished
    sample_, draw = find(prompt, "SteadyDancerMiniatureSample"), find(prompt, DRAW)
    poses = {"person": "largest", "mode": "robust", "smoothing": 0.5, "lead_in": 0, "seed": 1234}
    size = {"max_frames": FRAMES, "size": "custom", "size.width": SIDE, "size.height": SIDE}
    nodes = upstream(prompt, draw)
    nodes["animate"] = node("SteadyDancerAnimateFromVideo", photo=[sample_, 0], video=[sample_, 1], **poses, **size)
    for source in ("animate", draw):
        for output in (0, 1):
            save = node("SaveImage", images=[source, output], filename_prefix=f"one_{source}_{output}/f")
            nodes[f"{source} {output}"] = save
    _, outputs = run(server, nodes)
    for output in (0, 1):
        one, many = (pictures(server, outputs[f"{source} {output}"]) for source in ("animate", draw))
        assert one.shape == (FRAMES, SIDE, SIDE, 3) and np.array_equal(one, many)


def upstream(prompt, node):
    """Return the part of the prompt that `node` needs, with it."""
    nodes = {node: prompt[node]}
    for value in prompt[node]["inputs"].values():
        if isinstance(value, list):
            nodes |= upstream(prompt, value[0])
    return nodes


def test_a_dance_begins_where_it_suits_the_photo_is_kept_as_a_file_and_drawn_by_another_pack(server):
    prompt = shipped(server, FIX_BY_HAND)
    poses = prompt[find(prompt, "SteadyDancerSavePoses")]["inputs"]["poses"]
    (video,) = (key for key, entry in prompt.items() if entry["_meta"]["title"] == "Poses of the video")
    set_inputs(prompt, video, max_frames=FRAMES)
    prompt["drawn"] = node("SDPoseDrawKeypoints", keypoints=poses, **DRAWN_BY_SDPOSE)
    prompt["pictures"] = node("SaveImage", images=["drawn", 0], filename_prefix="another_pack/f")
    _, outputs = run(server, prompt)
    start = int(re.search(r"frame (\d+)", outputs[find(prompt, "SteadyDancerBestStart")]["text"][0])[1])
    file = max((server.base / "output" / "poses").glob("SteadyDancer_*.json"))
    assert len(json.loads(file.read_text("utf-8"))) == FRAMES - start
    drawn = pictures(server, outputs["pictures"])
    assert len(drawn) == FRAMES - start and all(frame.any() for frame in drawn)
    (shown,) = outputs[find(prompt, VIDEO)]["images"]
    with av.open(str(file_of(server, shown))) as clip:
        assert clip.streams.video[0].frames == FRAMES - start and clip.streams.audio
    assert outputs[find(prompt, "SteadyDancerEditPoses")]["pose_editor"][0]["background"]
