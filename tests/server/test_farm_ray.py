"""The farm on a Ray cluster of simulated machines, with doubles of ComfyUI: nothing is lost and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from steadydancer_pack.evaluation.farm import ray_cluster, ray_engine
from steadydancer_pack.evaluation.farm.cell_queue import CellQueue
from steadydancer_pack.evaluation.farm.engine import NoWorkers
from steadydancer_pack.evaluation.farm.ray_engine import RayEngine, RayOptions
from steadydancer_pack.evaluation.farm.ray_worker import BASE_PREFIX
from steadydancer_pack.evaluation.farm.result_files import open_place
from steadydancer_pack.evaluation.farm.result_store import ResultStore
from steadydancer_pack.tests.farm_cells import read_cells, write_material

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ray's simulated clusters are for Linux and macOS")
PACK = Path(__file__).resolve().parents[2]
SECONDS = 120
STORE_BYTES = 80 << 20
FAST = {"gpus_per_worker": 0, "poll_seconds": 0.02, "look_seconds": 0.2, "give_up_seconds": 20}
RELEASE = "release"
# A ComfyUI that writes what it begins and ends, with its process and parent, into a file beside its folder. A cell
# whose name begins with "held" does not end before the file RELEASE is there.
MAIN = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import fake_comfyui

LOG = Path({log!r})

class Logged(fake_comfyui.FakeComfyUI):
    def _run(self, prompt_id, prompt):
        kinds = [node["class_type"] for node in prompt.values()]
        if "PreviewAny" in kinds:
            return self.find_poses(prompt)
        if fake_comfyui.FINGERPRINT in kinds:
            return super()._run(prompt_id, prompt)
        name = fake_comfyui.cell_name(prompt)
        self.say("begin", name)
        while name.startswith("held") and not LOG.with_name({release!r}).exists():
            time.sleep(0.02)
        outcome = super()._run(prompt_id, prompt)
        if outcome and outcome["status"]["status_str"] == "success":
            self.say("end", name)
        return outcome

    def queue(self, body):
        if "PreviewAny" not in [node["class_type"] for node in body["prompt"].values()]:
            return super().queue(body)
        with self.changed:
            self.pending.append((body["prompt_id"], body["prompt"]))
            self.changed.notify_all()
        return 200, {{"prompt_id": body["prompt_id"], "node_errors": {{}}}}

    def find_poses(self, prompt):
        (name,) = [node["inputs"]["file"] for node in prompt.values() if "file" in node["inputs"]]
        cache = Path(sys.argv[sys.argv.index("--base-directory") + 1], "user", "steadydancer", "pose_cache")
        cache.mkdir(parents=True, exist_ok=True)
        (cache / (name + ".npz")).write_bytes(b"poses of " + name.encode())
        self.say("poses", name)
        return fake_comfyui.success({{}}, 0)

    def say(self, what, name):
        cache = Path(sys.argv[sys.argv.index("--base-directory") + 1], "user", "steadydancer", "pose_cache")
        there = ",".join(sorted(file.name for file in cache.glob("*.npz")))
        with LOG.open("a") as file:
            file.write(f"{{what}} {{name}} {{os.getpid()}} {{os.getppid()}} {{there}}\\n")

port = int(sys.argv[sys.argv.index("--port") + 1])
with Logged({seconds}, port=port, is_process=True):
    threading.Event().wait()
"""
# Ray's processes get the guard of the tests by the module that Python imports at its start. They reach each other at
# this machine's own address. Of the guard's refusals all are written down; a look for a cloud's metadata is Ray's own.
SITE = """
import runpy, socket
from pathlib import Path
names = runpy.run_path({guard!r})
Guard = names["Guard"]
shared, is_local = Guard._watch.__globals__, names["is_local"]
shared["is_local"] = lambda host: is_local(host) or host in {own!r}
class Log(list):
    def append(self, what):
        with Path({log!r}).open("a") as file:
            file.write(what + "\\n")
Guard(Path.home()).refused = Log()
"""
METADATA = ("169.254.169.254", "metadata.google.internal")


class Farm:
    """Material, a cluster and what its ComfyUIs wrote of one test."""

    def __init__(self, folder, ray, cluster):
        self.folder, self.ray, self.cluster, self.notes = folder, ray, cluster, []
        self.log_file = folder / "log.txt"

    def material(self, photos, videos, seconds=0.2, more=None):
        write_material(self.folder, photos, videos)
        if more:
            workflow = json.loads((self.folder / "workflow.json").read_text())
            (self.folder / "workflow.json").write_text(json.dumps(workflow | more))
        comfyui = Path(os.environ["COMFYUI_PATH"])
        text = MAIN.format(tests=str(PACK / "tests"), log=str(self.log_file), release=RELEASE, seconds=seconds)
        (comfyui / "main.py").write_text(text)
        return self

    def release(self):
        self.log_file.with_name(RELEASE).touch()

    def wait_for_servers(self, count, without=()):
        """Return what `count` ComfyUIs began, one row each, leaving out the processes `without`."""
        rows = {}

        def found():
            rows.update({row[1]: row for row in self.log("begin") if row[1] not in without})
            return len(rows) >= count

        wait_for(found)
        return list(rows.values())

    @property
    def store(self):
        return ResultStore(open_place(str(self.folder / "out")), lambda *_: ({"metrics": {}}, b""))

    def run(self, during=None, **options):
        """Run the cells; return how each cell of this run ended, by name."""
        template, cells = read_cells(self.folder)
        queue = CellQueue(cells, self.store, on_note=self.notes.append)
        self.queue = queue
        self.engine = RayEngine(self.ray, template, RayOptions(**{**FAST, **options}))
        try:
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(self.engine.run, queue)
                if during:
                    during()
                running.result(SECONDS)
        finally:
            queue.close()
        return {name: outcome.status for name, outcome in sorted(queue.ended.items())}

    def log(self, what):
        """Return (name, process, parent, poses there) of what the ComfyUIs began or ended."""
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        rows = [line.split(" ") for line in lines]
        return [(row[1], int(row[2]), int(row[3]), row[4]) for row in rows if row[0] == what]

    def names(self, what):
        return Counter(row[0] for row in self.log(what))

    def repeated(self):
        """Return the cells that ComfyUIs ran to their end more than once."""
        return {name for name, count in self.names("end").items() if count > 1}

    def given_back(self):
        return {note.split(" goes to another worker")[0] for note in self.notes if " goes to another worker" in note}

    def results(self):
        return self.store.results(read_cells(self.folder)[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three machines, of which the driver's has no processor for workers; what Ray's processes were refused."""
    folder = tmp_path_factory.mktemp("cluster")
    refused = folder / "refused.txt"
    (folder / "sitecustomize.py").write_text(
        SITE.format(guard=str(PACK / "tests" / "guard.py"), log=str(refused), own=own_addresses())
    )
    (folder / "comfyui" / "comfy").mkdir(parents=True)
    (folder / "comfyui" / "comfy" / "sd.py").touch()
    (folder / "comfyui" / "models" / "vae").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("COMFYUI_PATH", str(folder / "comfyui"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        ray_cluster.import_ray()
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={"num_cpus": 0, "_system_config": NOTICE, **NODE})
        stack.callback(cluster.shutdown)
        ray = ray_cluster.connect(cluster.address, stack)
        yield ray, cluster, refused


# A machine that was killed is noticed within 5 s; sooner, and one that only starts slowly would count as lost.
NOTICE = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
NODE = {"object_store_memory": STORE_BYTES, "include_dashboard": False}


@pytest.fixture
def farm(cluster, tmp_path):
    ray, simulated, refused = cluster
    while len(simulated.worker_nodes) < 2:
        simulated.add_node(num_cpus=1, **NODE)
    simulated.wait_for_nodes()
    yield Farm(tmp_path, ray, simulated)
    lines = refused.read_text().splitlines() if refused.exists() else []
    assert [line for line in lines if not line.endswith(METADATA)] == []


def own_addresses():
    return {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}


def runs(process_id):
    """Return whether a process runs; one that has ended may wait for its parent to take note."""
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_every_cell_is_done_once(farm):
    farm.material("held_a held_b", "v w")

    def wait():
        farm.wait_for_servers(2)
        farm.release()

    assert list(farm.run(wait).values()) == ["done"] * 4
    assert set(farm.names("end").values()) == {1} and len({row[1] for row in farm.log("end")}) == 2


def test_a_killed_actor_and_a_killed_comfyui_cost_no_cell_and_servers_end_with_their_actor(farm):
    farm.material("held_a held_b", "v w x y")
    killed = []

    def kill():
        (_, _, actor, _), (_, server, _, _) = farm.wait_for_servers(2)
        killed.extend(psutil.Process(actor).children())
        os.kill(actor, signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        farm.release()

    assert list(farm.run(kill).values()) == ["done"] * 8
    assert farm.repeated() <= farm.given_back() and len(farm.results()) == 8
    assert killed and not any(runs(process.pid) for process in killed)
    said = "\n".join(farm.notes)
    assert "ComfyUI ended with exit code -9" in said and said.count("goes to another worker") >= 1
    left = [Path(folder) for folder in Path(tempfile.gettempdir()).glob(f"{BASE_PREFIX}*")]
    assert [folder for folder in left if runs(int(folder.name.split("-")[2]))] == []


def test_a_machine_that_leaves_costs_no_cell_and_one_that_joins_late_gets_work(farm):
    farm.material("held_a held_b", "v w x y")
    late = []

    def change():
        before = {row[1] for row in farm.wait_for_servers(2)}
        farm.cluster.remove_node(min(farm.cluster.worker_nodes, key=lambda node: node.unique_id), False)
        farm.cluster.add_node(num_cpus=1, **NODE)
        late.extend(farm.wait_for_servers(1, before))
        farm.release()

    assert list(farm.run(change).values()) == ["done"] * 8
    assert late and farm.repeated() <= farm.given_back() and len(farm.results()) == 8
    assert "goes to another worker" in "\n".join(farm.notes)


def test_a_cell_that_ends_three_comfyuis_is_set_aside_and_a_bad_one_fails(farm):
    farm.material("a killer error b", "v", seconds=0.05)
    (farm.folder / "photos" / "b.png").write_text("no picture")
    statuses = {"a__v": "done", "b__v": "failed", "error__v": "failed", "killer__v": "poisoned"}
    assert farm.run() == statuses and farm.names("begin")["killer__v"] == 3
    results = farm.results()
    assert results["killer__v"]["attempts"] == 3
    assert "ComfyUI ended with exit code 1." in results["killer__v"]["error"]
    assert "b.png is no picture that can be read" in results["b__v"]["error"]
    assert results["error__v"]["error"] == "N (node 3): out of memory"


def test_a_killed_driver_leaves_nothing_running_and_the_next_one_repeats_no_finished_cell(farm):
    farm.material("a held", "v w", seconds=0.1)
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluation.farm", *(str(farm.folder / name) for name in ("photos", "videos"))]
        + ["--workflow", str(farm.folder / "workflow.json"), "--output", str(farm.folder / "out")]
        + ["--engine", "ray", "--address", farm.cluster.address, "--gpus-per-worker", "0"],
        cwd=PACK,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(farm.results()) == 2 or process.poll() is not None)
    process.kill()
    process.wait()
    finished = farm.results().keys()
    assert finished == {"a__v", "a__w"}
    servers = {row[1] for row in farm.log("begin")}
    wait_for(lambda: not any(map(runs, servers)))
    again = Counter(farm.names("begin"))
    farm.release()
    assert farm.run().keys() == farm.queue.ended.keys() and len(farm.results()) == 4
    assert not finished & (farm.names("begin") - again).keys() and not finished & farm.queue.ended.keys()


def test_the_poses_of_a_dance_are_found_once_and_sent_to_every_worker(farm):
    extract = {"class_type": "SteadyDancerExtractPoses", "inputs": {"video": ["2", 0]}, "_meta": {"title": "P"}}
    farm.material("held_a held_b held_c held_d", "v", more={"6": extract})

    def wait():
        farm.wait_for_servers(2)
        farm.release()

    assert list(farm.run(wait).values()) == ["done"] * 4
    (video,) = farm.names("poses")
    assert farm.names("poses") == {video: 1}
    assert {row[3] for row in farm.log("begin")} == {f"{video}.npz"} and len({row[1] for row in farm.log("begin")}) == 2


def test_ctrl_c_gives_running_cells_back_and_ends_every_comfyui(farm, monkeypatch):
    farm.material("a slow", "v w", seconds=0.3)
    look = RayEngine._look

    def interrupted(engine):
        look(engine)
        if farm.queue.ended:
            raise KeyboardInterrupt

    monkeypatch.setattr(RayEngine, "_look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        farm.run()
    assert farm.queue.pending + len(farm.queue.ended) == 4 and not any(farm.queue.running().values())
    servers = {row[1] for row in farm.log("begin")}
    wait_for(lambda: not any(map(runs, servers)))


def test_machines_without_what_a_worker_needs_end_the_run_in_words(farm, monkeypatch):
    farm.material("a", "v")
    with pytest.raises(NoWorkers, match="had 1 GPUs for a worker .* --gpus-per-worker 0"):
        farm.run(gpus_per_worker=1, give_up_seconds=0.5)
    monkeypatch.setattr(ray_engine, "MAX_FAILED_STARTS", 1)
    with pytest.raises(NoWorkers, match="There is no folder /nowhere on .* --models"):
        farm.run(models="/nowhere")
