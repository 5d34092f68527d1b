"""Connect to a Ray cluster: what its machines have, and the actor that a worker runs in.

Ray's ports take commands from everybody who reaches them: a cluster belongs into a network of trusted machines.
"""

import importlib
import os
import runpy
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from .engine import NoWorkers

PACK_VARIABLE = "STEADYDANCER_PACK"
LOCAL, AUTO = "local", "auto"
LOOPBACK = "127.0.0.1"
# Ray sends statistics of its use to its makers unless this is set before it starts. A cluster that `ray start` started
# reports even that they are switched off, once, to REPORT_URL: port 9 of this machine takes nothing.
NO_STATISTICS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
}


class Node(NamedTuple):
    """A machine of the cluster that is alive."""

    id: str
    address: str
    gpus: float
    cpus: float

    def slots(self, gpus_per_worker: float) -> int:
        """Return how many workers have room; without GPUs one, because it uses all processors."""
        return int(self.gpus / gpus_per_worker) if gpus_per_worker else int(self.cpus >= 1)


def import_ray() -> Any:
    """Return the module `ray`, which sends no statistics; ValueError where it is not installed."""
    os.environ.update(NO_STATISTICS)
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ValueError(
            "--engine ray needs Ray. Install it with: python -m pip install -r evaluation/farm/requirements.txt"
        ) from None


def connect(address: str, stack: ExitStack) -> Any:
    """Return the module `ray`, connected until `stack` ends; NoWorkers where no cluster answers.

    address: "auto" for the cluster of this machine, "ray://HOST:10001", HOST:6379 for one that this machine belongs
    to, or "local" for a Ray of this machine alone, reached over its loopback address only, that ends with `stack`.
    """
    ray = import_ray()
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options |= {"include_dashboard": False, "_node_ip_address": LOOPBACK}
    try:
        ray.init(**options, log_to_driver=False, logging_level="ERROR", namespace="steadydancer")
    except (ConnectionError, RuntimeError, ValueError, AssertionError, TimeoutError) as error:
        raise NoWorkers(
            f"No Ray cluster can be used at --address {address} ({error}). Start one with: ray start --head; or give "
            "--address local."
        ) from error
    stack.callback(ray.shutdown)
    return ray


def living_nodes(ray: Any) -> dict[str, Node]:
    """Return the machines of the cluster by id."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return {
        node["NodeID"]: Node(
            node["NodeID"],
            node["NodeManagerAddress"],
            node["Resources"].get("GPU", 0),
            node["Resources"].get("CPU", 0),
        )
        for node in nodes
    }


def actor_class(ray: Any, gpus_per_worker: float) -> Any:
    """Return the actor around a RayWorker. `stop` can be called while another method runs.

    The class is local because Ray sends such a class whole to machines that do not know the pack's modules.
    """

    class Actor:
        def __init__(self, pack: str):
            folder = Path(os.environ.get(PACK_VARIABLE, pack))
            start = folder / "comfy_client" / "in_process.py"
            if not start.is_file():
                raise ValueError(f"There is no SteadyDancer pack in {folder}. Let {PACK_VARIABLE} name its folder.")
            names = runpy.run_path(str(start))
            names["use_pack"]()
            module = importlib.import_module(f"{names['PACKAGE']}.evaluation.farm.ray_worker")
            self.worker = module.RayWorker(ray.get_runtime_context().get_node_id())

        def call(self, method: str, *arguments):
            return getattr(self.worker, method)(*arguments)

        def call_with_files(self, method: str, arguments: tuple, *contents: bytes):
            return getattr(self.worker, method)(*arguments, contents)

    cpus = 0 if gpus_per_worker else 1
    return ray.remote(num_gpus=gpus_per_worker, num_cpus=cpus, max_concurrency=2, max_restarts=0)(Actor)
