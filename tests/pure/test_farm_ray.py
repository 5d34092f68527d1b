"""The farm on a Ray cluster of simulated machines, with doubles of ComfyUI: nothing is lost and nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import psutil
import pytest

from steadydancer_pack.evaluation.farm import ray_cluster
from steadydancer_pack.evaluation.farm.cell_queue import CellQueue
from steadydancer_pack.evaluation.farm.ray_engine import RayEngine, RayOptions
from steadydancer_pack.evaluation.farm.result_files import open_place
from steadydancer_pack.evaluation.farm.result_store import ResultStore
from steadydancer_pack.tests.farm_cells import read_cells, write_material

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Ray's simulated clusters are for Linux and macOS")
PACK = Path(__file__).resolve().parents[2]
SECONDS = 60
STORE_BYTES = 80 << 20
FAST = {"gpus_per_worker": 0, "poll_seconds": 0.02, "look_seconds": 0.2, "give_up_seconds": 20}
# A ComfyUI that writes what it begins and ends, with its process and parent, into a file beside its folder.
MAIN = """
import os, sys, threading
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
        self.say("begin", fake_comfyui.cell_name(prompt))
        outcome = super()._run(prompt_id, prompt)
        if outcome and outcome["status"]["status_str"] == "success":
            self.say("end", fake_comfyui.cell_name(prompt))
        return outcome

    def find_poses(self, prompt):
        (name,) = [node["inputs"][key] for node in prompt.values() for key in ("file", "image") if key in node["inputs"]]
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
        text = MAIN.format(tests=str(PACK / "tests"), log=str(self.log_file), seconds=seconds)
        (comfyui / "main.py").write_text(text)
        return self

    @property
    def store(self):
        return ResultStore(open_place(str(self.folder / "out")), lambda *_: ({"metrics": {}}, b""))

    def run(self, during=None, **options):
        """Run the cells; return how each cell of this run ended, by name."""
        template, cells = read_cells(self.folder)
        queue = CellQueue(cells, self.store, on_note=self.notes.append)
        self.queue = queue
        self.engine = RayEngine(self.ray, template, RayOptions(**{**FAST, **options}))
        errors = []

        def watched():
            try:
                during()
            except BaseException as error:
                errors.append(error)

        thread = Thread(target=watched, daemon=True) if during else None
        if thread:
            thread.start()
        try:
            self.engine.run(queue)
        finally:
            queue.close()
        if thread:
            thread.join(SECONDS)
        assert errors == []
        return {name: outcome.status for name, outcome in sorted(queue.ended.items())}

    def log(self, what):
        """Return (name, process, parent, poses there) of what the ComfyUIs began or ended."""
        lines = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        rows = [line.split(" ") for line in lines]
        return [(row[1], int(row[2]), int(row[3]), row[4]) for row in rows if row[0] == what]

    def names(self, what):
        return Counter(row[0] for row in self.log(what))

    def results(self):
        return self.store.results(read_cells(self.folder)[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three machines, of which the driver's has no processor for workers; what Ray's processes were refused."""
    folder = tmp_path_factory.mktemp("cluster")
    refused = folder / "refused.txt"
    (folder / "sitecustomize.py").write_text(SITE.format(guard=str(PACK / "tests" / "guard.py"), log=str(refused), own=own_addresses()))
    (folder / "comfyui" / "comfy").mkdir(parents=True)
    (folder / "comfyui" / "comfy" / "sd.py").touch()
    (folder / "comfyui" / "models" / "vae").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("COMFYUI_PATH", str(folder / "comfyui"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        ray_cluster.import_ray()
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={"num_cpus": 0, **NODE})
        stack.callback(cluster.shutdown)
        ray = ray_cluster.connect(cluster.address, stack)
        yield ray, cluster, refused


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


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_every_cell_is_done_once(farm):
    farm.material("a b", "v w")
    began = time.monotonic()
    assert list(farm.run().values()) == ["done"] * 4
    print(time.monotonic() - began)
    assert set(farm.names("end").values()) == {1} and len({row[1] for row in farm.log("end")}) == 2
