"""Bad input on the road from photo and driving video to pose frames, in a real ComfyUI: it works, or the node says why.

What an artist brings: photos and videos with nobody in them, stills, phone videos, broken files, poses of other packs,
the wrong ONNX file, no ONNX Runtime. Nothing may end in an error that only a programmer understands.
"""

import copy
import json
import os
import random
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import folder_paths
import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.prompt_edit import find
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptInterrupted
from steadydancer_pack.dwpose.detect import runtime
from steadydancer_pack.dwpose.pipeline import drawing_size
from steadydancer_pack.dwpose.poses import NECK, PoseClip
from steadydancer_pack.media.frame_size import MAX_ASPECT_DIFFERENCE, aspect_difference, default_size
from steadydancer_pack.miniature import shipped, write_all
from steadydancer_pack.nodes import pose_detector
from steadydancer_pack.nodes.common import pose_detection
from steadydancer_pack.tests.prompts import node, pictures
from steadydancer_pack.tools.templates.names import READY_SKELETONS
from steadydancer_pack.training import sample

PACK = Path(__file__).resolve().parents[2]
FPS = 16
DRIVING_SIZE = 384, 512
DETECTOR, EXTRACT, LOAD, DRAW = "LoadPoseDetector", "ExtractPoses", "LoadPoses", "DrawPoses"
RECONCILE, ANIMATE = "ReconcileConditions", "AnimateFromVideo"
CUSTOM_SIZE = {"size": "custom", "size.width": 96, "size.height": 176}
QUARTER_TURN = bytes.fromhex("00000000 00010000 00000000 FFFF0000" + "00000000" * 4 + "40000000")  # display matrix


# --- the files


def driving_frames():
    """Return 31 frames of the sample's dance in portrait format; the dancer is found in each by itself."""
    with av.open(str(shipped("steadydancer_sample_dance.mp4"))) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(file.decode(video=0), 10, 41)]
    return [np.pad(frame, ((64, 64), (0, 0), (0, 0)), "edge") for frame in frames]


def portrait():
    """Return the sample's photo as a portrait of 288x512."""
    photo = np.asarray(Image.open(shipped("steadydancer_sample.png")).convert("RGB"))
    return np.pad(photo[:, 22 : 22 + 288], ((64, 64), (0, 0), (0, 0)), "edge")


def write_video(path, frames, times=None):
    """Write the frames at 16 per second, or each at its time in 16ths of a second."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
            picture.pts, picture.time_base = times[number] if times else number, Fraction(1, FPS)
            file.mux(stream.encode(picture))
        file.mux(stream.encode())


def write_sound(path):
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=sample.AUDIO_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(sample.rhythm(1.0), "fltp", "mono")
        frame.sample_rate, frame.time_base = sample.AUDIO_RATE, Fraction(1, sample.AUDIO_RATE)
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


def turn(path, target):
    """Write the video with the display matrix of a phone that was held upright."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + len(QUARTER_TURN)] = QUARTER_TURN
    target.write_bytes(data)


@pytest.fixture(scope="module", autouse=True)
def dance(server):
    """The frames of the driving video; all files lie in the input folder."""
    write_all(server.base / "models", server.base / "input")
    folder = server.base / "input"
    frames = driving_frames()
    grey = np.full_like(frames[0], 128)
    write_video(folder / "dance.mp4", frames[:8])
    write_video(folder / "nobody.mp4", [grey] * 4)
    write_video(folder / "late.mp4", [grey] * 3 + frames[:5])
    write_video(folder / "gap.mp4", frames[:4] + [grey] * 3 + frames[7:11])
    write_video(folder / "one.mp4", frames[:1])
    write_video(folder / "uneven.mp4", [frames[0], frames[4], frames[5], frames[7]], [0, 4, 5, 7])
    write_video(folder / "wide.mp4", [np.pad(frame, ((0, 0), (200, 200), (0, 0)), "edge") for frame in frames[:8]])
    write_video(folder / "lying.mp4", [np.rot90(frame) for frame in frames[:8]])
    turn(folder / "lying.mp4", folder / "phone.mp4")
    write_video(folder / "long.mkv", frames)
    write_video(folder / "longer.mkv", [*frames] * 8)
    whole = (folder / "long.mkv").read_bytes()
    (folder / "torn.mkv").write_bytes(whole[: len(whole) // 2])
    write_sound(folder / "sound.mp4")
    (folder / "cut.mp4").write_bytes((folder / "dance.mp4").read_bytes()[:-1000])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video at all\n" * 20)
    Image.fromarray(frames[0]).save(folder / "still.png")
    photo = portrait()
    Image.fromarray(photo).save(folder / "photo.png")
    Image.fromarray(np.full_like(photo, 150)).save(folder / "plain.png")
    Image.fromarray(np.pad(photo, ((0, 0), (300, 300), (0, 0)), "edge")).save(folder / "wide.png")
    return frames


# --- prompts


@pytest.fixture(scope="module")
def ours(object_info):
    """Return a function that makes one of our nodes, its widgets at their defaults."""

    def make(name, **inputs):
        widgets = {}
        for key, (_, options) in object_info[f"SteadyDancer{name}"]["input"]["required"].items():
            default = options.get("default", (options.get("options") or [None])[0])
            widgets |= {key: default} if default is not None else {}
        return node(f"SteadyDancer{name}", **widgets | inputs)

    return make


@pytest.fixture(scope="module")
def chain(ours):
    """Return a function that makes the prompt from photo and driving video to pose frames, with other settings."""

    def make(video="dance.mp4", photo="photo.png", size=(96, 176), **extract):
        width, height = size
        return {
            "photo": node("LoadImage", image=photo),
            "video": node("LoadVideo", file=video),
            "detector": ours(DETECTOR, provider="CPU"),
            "stands": ours(EXTRACT, detector=["detector", 0], images=["photo", 0]),
            "poses": ours(EXTRACT, detector=["detector", 0], video=["video", 0], **extract),
            "aligned": ours("AlignPoses", photo=["photo", 0], photo_poses=["stands", 0], poses=["poses", 0]),
            "negative": ours("AugmentPoses", poses=["aligned", 0]),
            "drawn": ours(DRAW, poses=["aligned", 0], negative_poses=["negative", 0], width=width, height=height),
            "shown": node("PreviewImage", images=["drawn", 0]),
        }

    return make


@pytest.fixture(scope="module")
def one_node(ours):
    """Return a function that makes the prompt of Poses From Video."""

    def make(video="dance.mp4", photo="photo.png", **inputs):
        animate = ours(ANIMATE, photo=["photo", 0], video=["video", 0], **CUSTOM_SIZE | inputs)
        return {
            "photo": node("LoadImage", image=photo),
            "video": node("LoadVideo", file=video),
            "animate": animate,
            "shown": node("PreviewImage", images=["animate", 0]),
        }

    return make


@pytest.fixture(scope="module")
def reconciled(server, object_info, ours):
    """Return a function that adds Reconcile Conditions to a prompt, fed from two outputs of one of its nodes."""
    workflow = json.loads((PACK / "workflows" / f"{READY_SKELETONS}.json").read_text("utf-8"))
    quick = to_api_prompt(workflow, object_info)
    wanted = quick[find(quick, f"SteadyDancer{RECONCILE}")]["inputs"]
    sources = {name: wanted[name] for name in ("positive", "negative", "vae")}

    def make(prompt, source, **size):
        frames = {"pose_frames": [source, 0], "pose_negative_frames": [source, 1]}
        inputs = copy.deepcopy(sources) | frames | {"photo": ["photo", 0], "length": 5} | size
        latent = node("SaveLatent", samples=["reconciled", 3], filename_prefix="latents/pose")
        needed = {number: quick[number] for number, _ in sources.values()}
        return prompt | needed | {"reconciled": ours(RECONCILE, **inputs), "latent": latent}

    return make


def run(server, prompt):
    prompt_id = server.client.queue(prompt)
    server.client.wait(prompt_id)
    return server.client.history(prompt_id)["outputs"]


def told(outputs, name):
    return "\n".join(outputs[name]["text"])


def saved(server, ours, prompt, source, name):
    """Run the prompt and return the poses that `source` gives, a list of frames."""
    nodes = prompt | {"save": ours("SavePoses", poses=[source, 0], filename_prefix=f"bad_input/{name}")}
    outputs = run(server, nodes)
    return json.loads(Path(told(outputs, "save").splitlines()[0]).read_text("utf-8"))


def joints(frames):
    """Return the body joints of the one person in each frame, in parts of the frame; NaN where nobody is seen."""
    size = frames[0]["canvas_width"], frames[0]["canvas_height"]
    people = [frame["people"][0]["body_raw_2d"] if frame["people"] else [np.nan] * 36 for frame in frames]
    return np.reshape(people, (-1, 18, 2)) / size


# --- photo and video


def test_a_photo_without_a_person_is_told_in_words(server, chain, one_node):
    with pytest.raises(PromptFailed, match=r"ExtractPoses \(node stands\): BlazePose .* found nobody in the picture"):
        run(server, chain(photo="plain.png"))
    with pytest.raises(PromptFailed, match="Photo: BlazePose .* found nobody in the picture. Use one in which"):
        run(server, one_node(photo="plain.png"))


# Driving video: what is said of it.
REFUSED = {
    "nobody.mp4": "found nobody in any of the 4 frames",
    "sound.mp4": "'sound.mp4' holds only sound. Load a file that shows the dance",
    "cut.mp4": "'cut.mp4' cannot be read as a video: .* cut off, damaged",
    "text.mp4": "'text.mp4' cannot be read as a video",
    "empty.mp4": r"'empty.mp4' is empty \(0 bytes\)",
}


@pytest.mark.parametrize("file", REFUSED)
def test_a_video_that_cannot_serve_is_told_in_words(server, chain, one_node, file):
    for prompt in (chain(file), one_node(file)):
        with pytest.raises(PromptFailed, match=REFUSED[file]) as error:
            run(server, prompt)
        assert error.value.exception_type == "ValueError"


@pytest.mark.parametrize("file", ["one.mp4", "still.png"])
def test_a_single_picture_gives_one_pose_and_is_too_short_for_the_model(server, chain, one_node, reconciled, file):
    outputs = run(server, chain(file))
    assert "single picture" in told(outputs, "poses") and len(pictures(server, outputs["shown"])) == 1
    assert "single picture" in told(run(server, one_node(file)), "animate")
    with pytest.raises(PromptFailed, match=r"Found 1 pose frame\(s\); SteadyDancer needs at least 5"):
        run(server, reconciled(one_node(file), "animate"))


def test_a_video_with_gaps_or_a_torn_end_is_used_with_a_warning(server, chain, one_node):
    found = told(run(server, chain("torn.mkv")), "poses")
    assert "Warning: 'torn.mkv' breaks off: its pictures end at" in found and "What could be read is used." in found
    assert "breaks off" in told(run(server, one_node("torn.mkv")), "animate")
    warning = "Warning: the person chosen is not seen in 3 of 11 frames. Gaps of up to 5 frames are filled in"
    assert warning in told(run(server, one_node("gap.mp4")), "animate")


def test_uneven_times_keep_the_beat_and_a_phone_video_is_seen_upright(server, ours, chain):
    even = joints(saved(server, ours, chain(), "poses", "even"))
    uneven = joints(saved(server, ours, chain("uneven.mp4"), "poses", "uneven"))
    assert len(uneven) == len(even) == 8
    for shown, wanted in enumerate([0, 0, 0, 0, 4, 5, 5, 7]):
        assert np.median(np.abs(uneven[shown] - even[wanted])) < 0.01
    turned = saved(server, ours, chain("phone.mp4"), "poses", "phone")
    assert (turned[0]["canvas_width"], turned[0]["canvas_height"]) == DRIVING_SIZE
    assert np.median(np.abs(joints(turned) - even)) < 0.01


# Rule: the frames whose poses the frames then have; None is a frame without a skeleton.
RULES = {
    ("gap.mp4", "hold"): [0, 1, 2, 3, 3, 3, 3, 7, 8, 9, 10],
    ("gap.mp4", "blank"): [0, 1, 2, 3, None, None, None, 7, 8, 9, 10],
    ("gap.mp4", "end"): [0, 1, 2, 3],
    ("late.mp4", "hold"): [3, 3, 3, 3, 4, 5, 6, 7],
    ("late.mp4", "blank"): [None, None, None, 3, 4, 5, 6, 7],
    ("late.mp4", "end"): [3, 3, 3, 3, 4, 5, 6, 7],
}


@pytest.mark.parametrize(("file", "rule"), RULES)
def test_frames_without_anybody_follow_the_rule_through_to_the_drawing(server, ours, chain, file, rule):
    prompt = chain(file, when_nobody=rule)
    found = joints(saved(server, ours, prompt, "poses", "rule"))
    seen = joints(saved(server, ours, chain(file, when_nobody="blank"), "poses", "seen"))
    wanted = [seen[number] if number is not None else np.full((18, 2), np.nan) for number in RULES[file, rule]]
    assert np.array_equal(found, wanted, equal_nan=True)
    drawn = pictures(server, run(server, prompt)["shown"])
    assert [bool(picture.any()) for picture in drawn] == [number is not None for number in RULES[file, rule]]


@pytest.mark.parametrize("rule", ["hold", "blank"])
def test_refine_fills_the_stretch_without_anybody(server, ours, chain, rule):
    prompt = chain("gap.mp4", when_nobody=rule)
    refine = {"poses": ["poses", 0], "smoothing": 0.0, "repair_swaps": False}
    prompt["refined"] = ours("RefinePoses", gap_frames=5, **refine)
    filled = joints(saved(server, ours, prompt, "refined", "filled"))
    neck = filled[:, NECK]
    steps = np.diff(neck[3:8], axis=0)
    assert np.isfinite(neck).all() and (np.linalg.norm(steps, axis=1) > 0).all()
    prompt["refined"] = ours("RefinePoses", gap_frames=2, **refine)
    left = joints(saved(server, ours, prompt, "refined", "left"))
    assert np.array_equal(left, joints(saved(server, ours, prompt, "poses", "left")), equal_nan=True)


# --- shapes and sizes


@pytest.mark.parametrize(("photo", "video"), [("photo.png", "wide.mp4"), ("wide.png", "dance.mp4")])
def test_a_photo_and_a_video_of_other_shapes_meet_at_the_neck(server, ours, chain, photo, video):
    prompt = chain(video, photo)
    aligned = joints(saved(server, ours, prompt, "aligned", "shapes"))
    stands = joints(saved(server, ours, prompt, "stands", "shapes"))
    assert aligned[0, NECK] == pytest.approx(stands[0, NECK], abs=0.002)


# Size asked of Draw Poses, size asked of Reconcile Conditions.
SIZES = [((0, 0), (96, 0)), ((0, 96), (0, 96)), ((96, 0), (0, 96)), ((176, 96), (176, 96)), ((96, 176), (96, 96))]


@pytest.mark.parametrize(("drawn", "asked"), SIZES)
@pytest.mark.parametrize(("photo", "video"), [("photo.png", "wide.mp4"), ("wide.png", "dance.mp4")])
def test_drawn_poses_fit_reconcile_conditions(server, chain, reconciled, photo, video, drawn, asked):
    prompt = reconciled(chain(video, photo, drawn), "drawn", width=asked[0], height=asked[1])
    width, height = map(int, told(run(server, prompt), "reconciled").partition(",")[0].split("x"))
    assert (width, height) == asked or 0 in asked


def test_a_drawing_of_any_size_fits_any_photo():
    """In the tolerance of Reconcile Conditions, which refuses poses of another shape than the photo's."""
    pick = random.Random(0)
    for _ in range(2000):
        width = pick.randint(400, 4000)
        photo = width, round(width * pick.uniform(1 / 3, 3))
        asked = [pick.choice((0, 16, 96, 480, 832, pick.randrange(16, 2048, 16))) for _ in range(2)]
        drawn = drawing_size([PoseClip(*default_size(*photo), 5)], *asked)
        assert aspect_difference(drawn, photo) <= MAX_ASPECT_DIFFERENCE, (photo, asked, drawn)


@pytest.mark.parametrize("source", ["poses", "led"])
def test_negative_poses_of_other_poses_are_refused(server, ours, chain, source):
    prompt = chain()
    prompt["led"] = ours("LeadIn", poses=["aligned", 0], photo_poses=["stands", 0], frames=4)
    prompt["negative"]["inputs"]["poses"] = [source, 0]
    with pytest.raises(PromptFailed, match=r"The negative poses are \d+ frames of .* Give Augment Poses the same"):
        run(server, prompt)


# --- poses of others


@pytest.fixture(scope="module")
def poses(server, ours, chain):
    """Poses as Save Poses writes them."""
    return saved(server, ours, chain(), "poses", "dialects")


@pytest.fixture(scope="module")
def load(server, ours, chain):
    """Return a function that puts poses into the input folder and makes the prompt that draws them."""

    def make(content, **size):
        text = content if isinstance(content, str) else json.dumps(content)
        (server.base / "input" / "loaded.json").write_text(text, "utf-8")
        return chain() | {"poses": ours(LOAD, file="loaded.json", **size)}

    return make


def as_others_write(frames, change):
    """Return the poses without our own keys, after change(person, size) of each person."""
    frames = copy.deepcopy(frames)
    for frame in frames:
        for person in frame["people"]:
            for key in ("id", "scores", "body_raw_2d"):
                del person[key]
            change(person, (frame["canvas_width"], frame["canvas_height"], 1))
    return frames


def normalize(person, size):
    for part, values in person.items():
        person[part] = [value / size[i % 3] for i, value in enumerate(values)]


def empty_hands(person, size):
    person |= dict.fromkeys(("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d"))


def lose_a_wrist(value):
    def change(person, size):
        person["pose_keypoints_2d"][12:15] = [value] * 3

    return change


@pytest.mark.parametrize("change", [normalize, empty_hands], ids=["normalized", "nulls"])
def test_poses_as_others_write_them_draw_the_same(server, chain, load, poses, change):
    wanted = pictures(server, run(server, chain())["shown"])
    found = pictures(server, run(server, load(as_others_write(poses, change)))["shown"])
    assert np.abs(found.astype(float) - wanted).mean() < 0.2


@pytest.mark.parametrize("value", [None, float("nan"), 1e300])
def test_a_keypoint_that_is_no_number_is_not_seen(server, load, poses, value):
    found = pictures(server, run(server, load(as_others_write(poses, lose_a_wrist(value))))["shown"])
    absent = pictures(server, run(server, load(as_others_write(poses, lose_a_wrist(0))))["shown"])
    assert found.any() and np.array_equal(found, absent)


def test_poses_without_a_size_need_one(server, load, poses):
    bare = as_others_write(poses, lambda person, size: None)
    for frame in bare:
        del frame["canvas_width"], frame["canvas_height"]
    with pytest.raises(PromptFailed, match="Give the width and height of the video that they were made from"):
        run(server, load(bare))
    width, height = DRIVING_SIZE
    assert pictures(server, run(server, load(bare, width=width, height=height))["shown"]).any()


CANVAS, FEW = {"canvas_width": 64, "canvas_height": 64}, {"pose_keypoints_2d": [1.0] * 27}
NO_POSES = {
    "animals": ([{"version": "ap10k", "animals": [[[1, 2, 1]] * 17]}], "poses of animals"),
    "nobody": ([{"people": [], **CANVAS}], "Nobody is seen in any frame"),
    "too few keypoints": ([{"people": [FEW], **CANVAS}], "pose_keypoints_2d holds 9 keypoints; 18"),
    "no frame": ([], "hold no frame"),
    "a workflow": ({"nodes": [], "links": []}, "These are no poses: found frame 0 with the keys nodes, links"),
    "no JSON": ("{people", "loaded.json is not JSON"),
    "nothing": ("", "loaded.json is empty"),
}


@pytest.mark.parametrize("case", NO_POSES)
def test_what_is_no_poses_of_people_is_told_in_words(server, load, case):
    content, message = NO_POSES[case]
    with pytest.raises(PromptFailed, match=message) as error:
        run(server, load(content))
    assert error.value.exception_type == "ValueError"


def test_saved_and_loaded_poses_draw_the_same(server, ours, chain):
    prompt = chain() | {"save": ours("SavePoses", poses=["aligned", 0], filename_prefix="bad_input/again")}
    outputs = run(server, prompt)
    file = Path(told(outputs, "save").splitlines()[0]).relative_to(server.base / "output").as_posix()
    prompt["aligned"] = ours(LOAD, file=f"{file} [output]")
    del prompt["save"]
    assert np.array_equal(pictures(server, run(server, prompt)["shown"]), pictures(server, outputs["shown"]))


# --- the detector


@pytest.fixture(scope="module")
def networks(server):
    """Write what stands in for DW-Pose's files, and a text with the name of an ONNX file, into models/dwpose."""
    from steadydancer_pack.tests.doubles import write_dwpose_double, write_yolox_double

    folder = server.base / "models" / "dwpose"
    folder.mkdir(exist_ok=True)
    write_yolox_double(folder / "yolox_l.onnx")
    write_dwpose_double(folder / "dw-ll_ucoco_384.onnx")
    (folder / "text.onnx").write_text("no network at all")


WRONG_FILES = {
    ("dw-ll_ucoco_384.onnx", "auto"): "cannot be used as the yolox file. Found a DW-Pose network of 133 keypoints",
    ("auto", "yolox_l.onnx"): "cannot be used as the dwpose file. Found a YOLOX person detector",
    ("text.onnx", "auto"): "text.onnx is not a whole ONNX file",
    ("auto", "text.onnx"): "text.onnx is not a whole ONNX file",
}


def test_a_wrong_file_in_either_slot_is_named_and_the_right_ones_find_the_dancer(server, ours, chain, networks):
    prompt = chain()
    for (yolox, dwpose), message in WRONG_FILES.items():
        files = {"yolox_file": yolox, "dwpose_file": dwpose}
        prompt["detector"] = ours(DETECTOR, detector=pose_detector.FROM_FILES, **files)
        with pytest.raises(PromptFailed, match=message):
            run(server, prompt)
    prompt["detector"] = ours(DETECTOR, detector=pose_detector.FROM_FILES)
    outputs = run(server, prompt)
    assert "DW-Pose (CPU)" in told(outputs, "poses") and pictures(server, outputs["shown"]).any()


def test_two_builds_of_onnx_runtime_are_told_where_the_gpu_stays_unused(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "installed_builds", lambda: ["onnxruntime", "onnxruntime-gpu"])
    monkeypatch.setattr(pose_detection, "gpu_name", lambda: "NVIDIA GeForce RTX 4090")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "dwpose", ([str(tmp_path)], {".onnx"}))
    _, report = pose_detector.LoadPoseDetector.execute().result
    assert "The GPU (NVIDIA GeForce RTX 4090) is not used for pose detection." in report
    assert "Both onnxruntime and onnxruntime-gpu are installed; they overwrite each other." in report


def test_without_onnx_runtime_the_quick_start_finds_its_poses_with_opencv(object_info, poses, tmp_path):
    (tmp_path / "poses.json").write_text(json.dumps(poses), "utf-8")
    script = [sys.executable, str(Path(__file__).with_name("without_onnxruntime.py")), str(tmp_path / "poses.json")]
    result = subprocess.run(script, capture_output=True, text=True, env=os.environ, timeout=300)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["drawn"] == [[8, 128, 96, 3, True]] * 2 + [[9, 96, 96, 3, True]] and not found["loaded"]
    assert found["nodes"] == sum(name.startswith("SteadyDancer") for name in object_info)
    for text in found["told"]:
        assert "\nBlazePose (OpenCV)\n" in f"\n{text}" and text.count("ONNX Runtime is not installed.") == 1
        assert f"{sys.executable} -m pip install onnxruntime\n" in text


def test_an_interrupt_stops_the_search_and_the_next_one_runs(server, ours, chain):
    prompt = chain("longer.mkv", detect_every=1, use_cache=False)
    seen = []

    def stop(kind, data):
        if kind == "progress" and data["node"] == "poses":
            seen.append(data["value"])
            if len(seen) == 1:
                server.client.interrupt()

    with pytest.raises(PromptInterrupted):
        server.client.wait(server.client.queue(prompt), stop)
    assert seen[-1] < 8 * 31
    assert len(pictures(server, run(server, chain("long.mkv"))["shown"])) == 31
