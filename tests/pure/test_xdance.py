"""evaluation.farm without a server: which pairs there are, what a template takes, how a prompt ended."""

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from steadydancer_pack.comfy_client.client import ComfyClient, ServerGone
from steadydancer_pack.comfy_client.prompt_run import State, prompt_state
from steadydancer_pack.evaluation.farm import cell_sets as xdance_sets
from steadydancer_pack.evaluation.farm import command as xdance
from steadydancer_pack.evaluation.farm.cell_prompt import model_names, read_template, with_pose_file
from steadydancer_pack.evaluation.farm.cell_sets import Pair, find_pairs
from steadydancer_pack.tests.fake_comfyui import WORKFLOW

OBJECT_INFO = {node["class_type"]: {} for node in WORKFLOW.values()}


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def shown(pairs):
    return [(pair.photo.name, pair.video.name, pair.category) for pair in pairs]


def test_every_photo_goes_with_every_video_but_results_and_folders_are_categories(tmp_path):
    photos = touch(tmp_path / "photos", "b.PNG", "anime/a.webp", "notes.txt", ".hidden/c.png", "anime/._a.webp")
    videos = touch(tmp_path / "videos", "fast/x.mp4", "y.mov", "y.txt", "out/a__y/video.mp4")
    pairs = find_pairs(photos, videos, leave_out=videos / "out")
    assert shown(pairs[:2]) == [("a.webp", "x.mp4", "anime / fast"), ("a.webp", "y.mov", "anime")]
    assert shown(pairs[2:]) == [("b.PNG", "x.mp4", "fast"), ("b.PNG", "y.mov", "")]
    assert [pair.name for pair in pairs] == ["anime_fast__a__x", "anime__a__y", "fast__b__x", "b__y"]


@pytest.mark.parametrize(
    ("videos", "found"),
    [
        (["v.mp4", "truth/t.mp4"], [("v.mp4", "R")]),
        (["Driving_Videos/v.mp4", "Driving_Videos/fast/w.mp4", "u.mp4"], [("w.mp4", "R / fast"), ("v.mp4", "R")]),
        (["Driving-A/v.mp4", "driving b/w.mp4"], [("v.mp4", "R / Driving-A"), ("w.mp4", "R / driving b")]),
    ],
)
def test_the_layout_of_x_dance_in_one_folder(tmp_path, videos, found):
    touch(tmp_path, "Ref-Female-Upper-Body/a.jpg", "thumbs/no.jpg", "preview.png", *videos)
    want = [("a.jpg", video, category.replace("R", "Ref-Female-Upper-Body")) for video, category in found]
    assert shown(find_pairs(tmp_path, tmp_path)) == want


@pytest.mark.parametrize(
    ("photos", "files", "words"),
    [
        ("", "a.txt b.txt sub/c.txt", "Found no photos in .* 2 .txt, 1 folder"),
        ("", "a.png", "Found no videos in .* 1 .png"),
        ("", "Ref-X/a.png other/v.mp4", "Found no videos in"),
        ("nowhere", "a.png", "nowhere is no folder"),
    ],
)
def test_a_folder_without_material_says_what_it_holds_and_a_missing_one_is_named(tmp_path, photos, files, words):
    with pytest.raises(ValueError, match=words):
        find_pairs(touch(tmp_path, *files.split()) / photos, tmp_path)


TABLE = {"photo": "Ref-A/a.png", "video": "v.mp4", "misalignment": "scale", "truth": "truth/t.mp4", "dancer": "7"}
TABLE["driving_poses"] = "truth/v.json"
CSV = "\ufeff" + "\n".join(map(",".join, (TABLE, TABLE.values()))) + "\n"


@pytest.mark.parametrize(
    ("name", "text"), [("p.csv", CSV), ("p.csv", CSV.replace(",", ";")), ("p.json", json.dumps([TABLE]))]
)
def test_a_pairs_file_restricts_and_labels(tmp_path, name, text):
    touch(tmp_path / "set", "Ref-A/a.png", "Ref-A/b.png", "v.mp4", "truth/t.mp4", "truth/v.json")
    (tmp_path / "set" / name).write_text(text, "utf-8")
    (pair,) = find_pairs(tmp_path / "set", tmp_path / "set", tmp_path / "set" / name)
    assert (pair.category, pair.misalignment, pair.labels) == ("Ref-A", "scale", {"dancer": "7"})
    assert all(file.is_file() for file in (pair.photo, pair.video, pair.truth, pair.driving_poses))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.csv", "photo,film\na.png,v.mp4\n", r"row 1: no video \(found photo, film\)"),
        ("p.csv", "photo,video\n", "holds no rows"),
        ("p.csv", "photo,video\na.png,v.mp4\na.png,v.mp4\n", "a.png with v.mp4 more than once"),
        ("p.json", "{", "cannot be read"),
        ("p.json", '{"photo": "a.png"}', "must be a JSON list"),
    ],
)
def test_a_pairs_file_that_makes_no_sense(tmp_path, name, text, words):
    touch(tmp_path, "a.png", "v.mp4")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        find_pairs(tmp_path, tmp_path, tmp_path / name)


def test_names_are_safe_short_unlike_and_of_the_place_in_the_set(tmp_path):
    def names(root):
        files = ["a b.png", "a_b.png", "A?b.png", f"{'long' * 40}.png", "ok.png"]
        return [
            pair.name for pair in xdance_sets.named([Pair(root / file, root / "v.mp4") for file in files], root, root)
        ]

    found = names(tmp_path / "one")
    assert found == names(tmp_path / "two") and found[-1] == "ok__v"
    assert len({name.lower() for name in found}) == 5
    assert all(re.fullmatch(r"[\w.-]{1,90}", name) for name in found)


@pytest.mark.parametrize(
    ("photo", "video"), [("\u821e" * 200, "v"), ("a", "\U00020000" * 200), ("a" * 79 + "\u821e", "\u821e")]
)
def test_a_name_leaves_room_for_endings_in_the_255_bytes_of_a_file_name(tmp_path, photo, video):
    (pair,) = xdance_sets.named([Pair(tmp_path / f"{photo}.png", tmp_path / f"{video}.mp4")], tmp_path, tmp_path)
    (tmp_path / f"{pair.name}_00001_.mp4").touch()
    assert len(pair.name.encode()) <= 90 and re.fullmatch(r"\w+-[0-9a-f]{8}", pair.name)


@pytest.fixture
def workflow(tmp_path):
    """A function that writes WORKFLOW, with changes, and reads it as a template."""

    def write(changes=None, **options):
        file = tmp_path / "workflow.json"
        file.write_text(json.dumps({**WORKFLOW, **(changes or {})}))
        return read_template(file, **options)

    return write


def test_a_pair_goes_into_its_nodes(workflow):
    template = workflow(seed=7)
    ready = template.prompt(OBJECT_INFO)
    filled = template.fill(ready, "p.png", "v.mp4", "pair")
    result = {"filename_prefix": "xdance/pair", "video": ["2", 0]}
    inputs = [{"image": "p.png"}, {"file": "v.mp4"}, {"seed": 7, "steps": 4}, result]
    assert [filled[i]["inputs"] for i in "1234"] == inputs
    assert ready["1"]["inputs"] == {"image": "x.png"} and template.workflow == WORKFLOW


def more(kind, title):
    return {"9": {"class_type": kind, "inputs": {}, "_meta": {"title": title}}}


def test_of_several_nodes_the_title_or_the_option_decides(workflow):
    assert workflow(more("LoadImage", "Another")).photo == "1"
    assert workflow(more("LoadImage", "Another"), photo="Another").photo == "9"
    assert workflow(more("LoadVideo", "Mask"), video="9").video == "9"
    with pytest.raises(ValueError, match=r"titled 'Result'.*it holds 4 'V', 9 'W'.*--result-node"):
        workflow(more("SaveVideo", "W"))


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"1": WORKFLOW["3"]}, {}, "one node for the photo.*LoadImage; it holds none"),
        ({}, {"video": "8"}, "--video-node 8, of type LoadVideo; it holds 2 'Driving video'"),
        ({"3": WORKFLOW["1"]}, {"seed": 1, "photo": "1"}, "no sampler that could take --seed 1"),
    ],
)
def test_a_workflow_that_cannot_serve_and_a_node_that_the_server_lacks(workflow, changes, options, words):
    with pytest.raises(ValueError, match=words):
        workflow(changes, **options)
    with pytest.raises(ValueError, match="lacks the nodes KSampler"):
        workflow().prompt({name: {} for name in OBJECT_INFO if name != "KSampler"})


@pytest.mark.parametrize(("text", "words"), [("{", "can be read"), ("[]", "no workflow"), ('{"a": 1}', "no workflow")])
def test_a_file_that_is_no_workflow(tmp_path, text, words):
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_template(tmp_path / "w.json")


def test_the_hash_of_a_workflow_is_of_what_it_does(tmp_path):
    nodes = [{"id": int(i), "type": n["class_type"], "title": n["_meta"]["title"]} for i, n in WORKFLOW.items()]
    hashes = []
    for photo, sampler in (({}, {}), ({"pos": [9, 9], "widgets_values": ["y.png"]}, {}), ({}, {"widgets_values": [2]})):
        saved = {"nodes": [nodes[0] | photo, nodes[1], nodes[2] | sampler, *nodes[3:]], "links": []}
        (tmp_path / "w.json").write_text(json.dumps(saved))
        hashes.append(read_template(tmp_path / "w.json").sha256)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("node", "inputs", "same"),
    [
        ("1", {"image": "other.png"}, True),
        ("2", {"file": "other.mp4"}, True),
        ("4", {"filename_prefix": "other", "video": ["2", 0]}, True),
        ("3", {"seed": 1, "steps": 5}, False),
        ("4", {"filename_prefix": "x", "video": ["1", 0]}, False),
    ],
)
def test_the_names_of_files_and_titles_are_no_part_of_the_hash(workflow, node, inputs, same):
    changed = {"class_type": WORKFLOW[node]["class_type"], "inputs": inputs, "_meta": {"title": "Result"}}
    assert (workflow({node: changed}).sha256 == workflow().sha256) is same


def test_the_model_files_of_a_prompt_are_found_by_their_endings():
    more = {"8": {"class_type": "Two", "inputs": {"a": "sub/B.GGUF", "b": "m.safetensors", "c": 1, "d": ["1", 0]}}}
    assert model_names({**WORKFLOW, **more}) == ["m.safetensors", "sub/B.GGUF"]


DONE = [["execution_start", {"timestamp": 1000}], ["execution_success", {"timestamp": 3500}]]
ERROR = {"node_type": "N", "node_id": "3", "exception_message": "bad\n", "exception_type": "E", "timestamp": 1}


@pytest.mark.parametrize(
    ("messages", "status", "state", "seconds", "error"),
    [
        (DONE, "success", State.DONE, 2.5, ""),
        ([["execution_error", ERROR]], "error", State.FAILED, 0.0, "N (node 3): bad"),
        ([["execution_interrupted", {"timestamp": 1}]], "error", State.INTERRUPTED, 0.0, "interrupted at the server"),
        ([], None, State.FAILED, 0.0, "ended the prompt with 'None'"),
    ],
)
def test_the_history_says_how_a_prompt_ended(messages, status, state, seconds, error):
    found = prompt_state({"status": {"status_str": status, "messages": messages}, "outputs": {"4": {}}})
    assert (found.state, found.seconds) == (state, seconds) and error in found.error
    assert found.outputs == ({"4": {}} if found.state is State.DONE else {})


def with_poses(**links):
    """Give poses to a prompt with one Extract Poses on the video and a node with `links` (input: output) to it."""
    extract = {"class_type": "SteadyDancerExtractPoses", "inputs": {"video": ["2", 0], "fps": 12.0}}
    inputs = {name: ["5", output] for name, output in links.items()}
    prompt = {"2": WORKFLOW["2"], "5": extract, "6": {"class_type": "Draw", "inputs": inputs}}
    draw = {"required": {"poses": [], "shown": []}, "optional": {"sound": []}}
    with_pose_file(prompt, "2", "p.json", {"Draw": {"input": draw}})
    return prompt


def test_ready_poses_take_the_place_of_the_detector_and_are_refused_without_one():
    prompt = with_poses(poses=0, fps=2, count=4, sound=3)
    assert prompt["5"]["class_type"] == "SteadyDancerLoadPoses"
    assert prompt["5"]["inputs"] == {"file": "p.json", "fps": 12.0, "width": 0, "height": 0}
    assert prompt["6"]["inputs"] == {"poses": ["5", 0], "fps": ["5", 1], "count": ["5", 2]}
    assert set(with_poses(poses=0, shown=1)) == {"2", "5"}
    with pytest.raises(ValueError, match="connected to 'Driving video'; the workflow holds 0"):
        with_pose_file({"2": WORKFLOW["2"]}, "2", "p.json", {})


HALF = b"half a video"


class Answers(BaseHTTPRequestHandler):
    """A web server that is no ComfyUI: status and body by path; of HALF it promises more than it sends."""

    pages = {"/html": (200, b"<html>"), "/json": (200, b"{}"), "/no": (403, b""), "/view": (200, HALF)}

    def do_GET(self):
        status, body = self.pages.get(self.path.partition("?")[0].removesuffix("/system_stats"), (404, b""))
        self.send_response(status)
        if body == HALF:
            self.send_header("Content-Length", str(2 * len(HALF)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = HTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_that_is_no_comfyui_refuses_is_away_or_dies_while_a_video_is_fetched(web, tmp_path):
    words = dict.fromkeys((f"http://{web}/{path}/" for path in ("html", "json", "other")), "is no ComfyUI")
    words |= {f"http://{web}/no/": "refuses with 403", "127.0.0.1:9": r"No ComfyUI answers at 127.0.0.1:9 \("}
    for address, said in words.items():
        with pytest.raises(ServerGone, match=said):
            ComfyClient(address).check()
    with pytest.raises(ServerGone, match=r"The ComfyUI at .* went away while v.mp4 was fetched"):
        ComfyClient(web).fetch("output", "", "v.mp4", tmp_path / "video.mp4")


@pytest.mark.parametrize("wrong", ["a", "a b", "a b --workflow w --limit 0"])
def test_options_that_make_no_sense_end_the_program(wrong, capsys):
    with pytest.raises(SystemExit):
        xdance.parse(wrong.split())
    assert "error" in capsys.readouterr().err
