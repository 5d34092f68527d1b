"""evaluation.farm against a real ComfyUI: pairs run once whatever happens, to the runner or to the server."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import av
import pytest
from PIL import Image

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt
from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.comfy_client.prompt_edit import find, set_custom, set_inputs, with_loaders
from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.evaluation.farm import command, engines
from steadydancer_pack.evaluation.farm.cell_runner import FINGERPRINT
from steadydancer_pack.evaluation.farm.servers_engine import ServersEngine
from steadydancer_pack.miniature import SIDE, shipped, write_all
from steadydancer_pack.tools.templates.names import READY_SKELETONS, STAGE_BY_STAGE
from steadydancer_pack.training import sample
from steadydancer_pack.training.world.motion import FPS

PACK = Path(__file__).resolve().parents[2]
SKELETONS = with_loaders(json.loads((PACK / "workflows" / f"{READY_SKELETONS}.json").read_text("utf-8")))
SECONDS = 300  # for a command to come to its end, on a machine that does much else


@pytest.fixture(scope="module", autouse=True)
def miniature(server):
    write_all(server.base / "models", server.base / "input")


def bundled(name):
    return shipped(name).read_bytes()


@pytest.fixture
def material(tmp_path):
    """X-Dance's layout with two photos and two driving videos, which are skeletons here, and a workflow for them."""
    files = {
        "set/Ref-Cartoon-Movie/a.png": bundled("steadydancer_sample.png"),
        "set/Driving/one.mp4": bundled("steadydancer_sample_pose.mp4"),
        "set/Driving/two.mp4": bundled("steadydancer_sample_pose_negative.mp4"),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "set/Ref-Male-Whole-Body").mkdir()
    with Image.open(tmp_path / "set/Ref-Cartoon-Movie/a.png") as photo:
        photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "set/Ref-Male-Whole-Body/b.png")
    return tmp_path


@pytest.fixture
def workflow(server, material):
    """The ready skeletons, shortened to 5 frames, in API form."""
    prompt = to_api_prompt(SKELETONS, server.client.object_info())
    set_inputs(prompt, find(prompt, "SteadyDancerReconcileConditions"), length=5, width=48, height=48)
    set_custom(prompt, find(prompt, "SteadyDancerSampler"), steps=4)
    file = material / "workflow.json"
    file.write_text(json.dumps(prompt))
    return file


@pytest.fixture
def slow_workflow(workflow):
    """The same with so many steps that a signal finds prompts running."""
    prompt = json.loads(workflow.read_text())
    set_custom(prompt, find(prompt, "SteadyDancerSampler"), steps=12)
    workflow.write_text(json.dumps(prompt))
    return workflow


PHOTOS, VIDEOS = ("Ref-Cartoon-Movie__a", "Ref-Male-Whole-Body__b"), ("one", "two")
NAMES = [f"{photo}__{video}" for photo in PHOTOS for video in VIDEOS]


def arguments(server, material, workflow, *more):
    folder = str(material / "set")
    where = ("--server", server.address, "--workflow", str(workflow), "--output", str(material / "out"))
    return [folder, folder, *where, "--video-node", "Pose video", *more]


def start(*what):
    """Start the command as a process that can be killed or interrupted."""
    # Where the tests run in the background, SIGINT is ignored, and processes inherit that.
    heed = None if os.name == "nt" else partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    line = [sys.executable, "-m", "evaluation.farm", *arguments(*what)]
    return subprocess.Popen(
        line, cwd=PACK, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed
    )


def run(*what):
    """Run the command in this process to its end; return its exit status and what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        status = command.main(arguments(*what))
    return status, said.getvalue()


def prompts_of_pairs(server):
    """Return the prompts in the server's history, less the one that compares servers."""
    prompts = (entry["prompt"][2] for entry in server.client.get("/history").values())
    return [prompt for prompt in prompts if FINGERPRINT not in {node["class_type"] for node in prompt.values()}]


def queued(server):
    """Return how often each pair stands in the server's history."""
    prompts = prompts_of_pairs(server)
    prefixes = (node["inputs"].get("filename_prefix", "") for prompt in prompts for node in prompt.values())
    return Counter(prefix.removeprefix("xdance/") for prefix in prefixes if prefix.startswith("xdance/"))


def result(material, name):
    files = (material / "out" / name / file for file in ("cell.json", "metrics.json"))
    return {key: value for file in files if file.is_file() for key, value in json.loads(file.read_text()).items()}


def wait_for(condition, process=None):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.05)


def finished(material):
    return sorted(file.parent.name for file in (material / "out").glob("*/cell.json"))


@pytest.fixture(autouse=True)
def empty_history(server):
    server.client.clear_history()


def test_all_pairs_are_run_and_reported_and_nothing_is_done_twice(server, material, workflow):
    status, said = run(server, material, workflow, "--seed", "11")
    assert status == 0, said
    assert finished(material) == NAMES and queued(server) == dict.fromkeys(NAMES, 1)
    for name in NAMES:
        with av.open(material / "out" / name / "video.mp4") as video:
            assert video.streams.video[0].frames == 5
        told = result(material, name)
        assert told["status"] == "done" and told["seed"] == 11 and told["metrics"]["first_frame_psnr"] > 20
    report = (material / "out" / "report.md").read_text()
    assert all(name.replace("_", r"\_") in report for name in NAMES) and "4 done" in report
    assert (material / "out" / "report.html").read_text().count("<img") == len(NAMES)
    uploads = {file: file.stat().st_mtime_ns for file in (server.base / "input").glob("xdance_*")}
    status, said = run(server, material, workflow, "--seed", "11")
    assert status == 0 and "4 cells, 4 of them finished before" in said
    (material / "out" / NAMES[0] / "cell.json").unlink()
    assert run(server, material, workflow, "--seed", "11")[0] == 0
    assert finished(material) == NAMES and queued(server) == dict.fromkeys(NAMES, 1)  # fetched from the history
    assert uploads == {file: file.stat().st_mtime_ns for file in (server.base / "input").glob("xdance_*")}


def test_a_killed_run_goes_on_and_runs_every_pair_once(server, material, slow_workflow):
    process = start(server, material, slow_workflow)
    wait_for(lambda: finished(material), process)
    process.kill()
    process.communicate()
    before = {name: (material / "out" / name / "cell.json").read_bytes() for name in finished(material)}
    assert 0 < len(before) < len(NAMES)
    assert all("first_frame_psnr" in result(material, name)["metrics"] for name in before)
    status, said = run(server, material, slow_workflow)
    assert status == 0 and "was queued by an earlier run" in said, said
    assert finished(material) == NAMES and queued(server) == dict.fromkeys(NAMES, 1)
    for name, content in before.items():
        keep = ("prompt_id", "file_sha256", "seconds")
        assert {key: result(material, name)[key] for key in keep} == {key: json.loads(content)[key] for key in keep}


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_stops_the_prompts_and_leaves_a_folder_to_go_on_from(server, material, slow_workflow):
    process = start(server, material, slow_workflow)
    wait_for(lambda: queued(server).total() >= 2, process)  # the first was fetched while the second ran
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130 and "Stopped. The same command goes on" in said, said
    wait_for(lambda: not any(server.client.get("/queue").values()))
    already = finished(material)
    status, said = run(server, material, slow_workflow)
    assert status == 0 and finished(material) == NAMES, said
    assert all(queued(server)[name] == 1 for name in already)


def test_one_bad_pair_leaves_the_others_alone(server, material, workflow):
    (material / "set/Ref-Male-Whole-Body/b.png").write_text("no picture")
    (material / "set/Driving/two.mp4").write_bytes(bundled("steadydancer_sample_pose.mp4")[:2000])
    status, said = run(server, material, workflow)
    assert status == 3 and "1 of 4 cells are done" in said, said
    assert [result(material, name)["status"] for name in NAMES] == ["done", "failed", "failed", "failed"]
    assert "no picture that can be read" in result(material, NAMES[2])["error"]
    assert "1 done, 3 failed" in (material / "out" / "report.md").read_text()
    (material / "set/Driving/two.mp4").write_bytes(bundled("steadydancer_sample_pose_negative.mp4"))
    assert "2 of 4 cells are done" in run(server, material, workflow)[1]  # another file, so another pair


def test_a_prompt_that_comfyui_refuses_fails_in_its_words(server, material, workflow):
    prompt = json.loads(workflow.read_text())
    set_inputs(prompt, find(prompt, "VAELoader", "Load VAE"), vae_name="not_there.safetensors")
    workflow.write_text(json.dumps(prompt))
    status, said = run(server, material, workflow, "--limit", "1")
    assert status == 3 and "VAELoader (node" in said and "not_there.safetensors" in said


def test_a_server_that_goes_away_costs_what_ran_and_no_more(server, material, slow_workflow, monkeypatch):
    monkeypatch.setattr(engines, "ServersEngine", partial(ServersEngine, retries=1, give_up_seconds=1))
    away = ComfyProcess(Path(os.environ["COMFYUI_PATH"]), PACK, ends_with_parent=True)
    with away as other, ThreadPoolExecutor(1) as pool:
        write_all(other.base / "models", other.base / "input")
        running = pool.submit(run, other, material, slow_workflow)
        wait_for(lambda: running.done() or queued(other).total() >= 2)
        other.process.kill()
        status, said = running.result(SECONDS)
    already = finished(material)
    assert status == 4 and 0 < len(already) < len(NAMES), said
    assert "No ComfyUI answers" in said and "The same command goes on from here." in said
    assert f"{len(already)} done" in (material / "out" / "report.md").read_text()
    status, said = run(server, material, slow_workflow)
    assert status == 0 and finished(material) == NAMES, said
    assert queued(server) == dict.fromkeys(set(NAMES) - set(already), 1)


def write_poses(file, count):
    """Write the dance of the photo's figure, as a file of poses."""
    pose_json.save(sample.film(sample.answer().at(slice(count)), SIDE).poses, file, FPS)


def test_poses_and_the_ground_truth_of_a_pairs_file_and_a_workflow_as_saved(server, material):
    """The shipped workflow with poses from files in the place of its detector."""
    saved = with_loaders(json.loads((PACK / "workflows" / f"{STAGE_BY_STAGE}.json").read_text("utf-8")))
    small = {"SteadyDancerReconcileConditions": {0: 48, 1: 48, 2: 5}, "SteadyDancerDrawPoses": {0: 48, 1: 48}}
    for node in saved["nodes"] + saved["definitions"]["subgraphs"][0]["nodes"]:
        for place, value in (small | {"SteadyDancerSampler": {1: 4}}).get(node["type"], {}).items():
            node["widgets_values"][place] = value
    (material / "saved.json").write_text(json.dumps(saved))
    for name, count in (("a.json", 1), ("one.json", 5)):
        write_poses(material / "set" / name, count)
    row = "photo,video,misalignment,truth,photo_poses,driving_poses\n"
    row += "Ref-Cartoon-Movie/a.png,Driving/one.mp4,start gap,Driving/two.mp4,a.json,one.json\n"
    (material / "set" / "pairs.csv").write_text(row)
    more = ("--pairs", str(material / "set" / "pairs.csv"), "--video-node", "Driving video")
    status, said = run(server, material, material / "saved.json", *more)
    assert status == 0, said
    told = result(material, NAMES[0])
    assert {"first_frame_psnr", "truth_psnr", "flicker"} <= told["metrics"].keys()
    assert (told["misalignment"], told["metrics_error"]) == ("start gap", "")
    (prompt,) = prompts_of_pairs(server)
    kinds = Counter(node["class_type"] for node in prompt.values())
    assert kinds["SteadyDancerLoadPoses"] == 2 and kinds["SteadyDancerExtractPoses"] == 0
    assert "Ref-Cartoon-Movie, start gap" in (material / "out" / "report.md").read_text()
