"""How well the farm scales, at doubles of ComfyUI, and what planning many cells costs.

    python -m benchmarks.farm

Cells take 2 s each. Efficiency is the time of a single worker over that of all together; the overhead of a cell is what
a worker takes beyond its 2 s. The Ray engine is timed from when its workers are ready, on a simulated cluster.
"""

import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from steadydancer_pack.evaluation.farm import ray_cluster
from steadydancer_pack.evaluation.farm.cell_queue import CellQueue
from steadydancer_pack.evaluation.farm.ray_engine import RayEngine, RayOptions
from steadydancer_pack.evaluation.farm.result_files import open_place
from steadydancer_pack.evaluation.farm.result_store import ResultStore
from steadydancer_pack.evaluation.farm.servers_engine import ServersEngine
from steadydancer_pack.tests.fake_comfyui import FakeComfyUI  # ty: ignore[import-not-found]  tests are not type-checked
from steadydancer_pack.tests.farm_cells import read_cells, write_material  # ty: ignore[import-not-found]  tests are not type-checked
from steadydancer_pack.tests.server.test_farm_ray import NODE, Farm  # ty: ignore[import-not-found]  tests are not type-checked

SECONDS, WORKERS, PLANNED = 2.0, (1, 2, 4), 10_000
PHOTOS, VIDEOS, CELLS = "a b c d", "v w x y", 16


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds_at in (("servers", at_servers), ("ray", on_ray)):
            single = 0.0
            for workers in WORKERS:
                seconds = seconds_at(workers, Path(folder, f"{name}{workers}"))
                single = single or seconds
                efficiency, overhead = single / seconds / workers, seconds * workers / CELLS - SECONDS
                sys.stdout.write(
                    f"{name}, {workers} workers: {seconds:.1f} s, efficiency {efficiency:.2f}, "
                    f"{overhead:.2f} s a cell\n"
                )
        began = time.monotonic()
        _, cells = read_cells(Path(folder, "servers1"))
        many = [replace(cells[0], pair=replace(cells[0].pair, name=f"cell_{i}")) for i in range(PLANNED)]
        to_do = ResultStore(open_place(folder), no_measure).unfinished(many, None)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(f"{len(to_do)} cells planned in {time.monotonic() - began:.1f} s, {peak:.0f} MB in all\n")


def at_servers(workers: int, folder: Path) -> float:
    folder.mkdir()
    write_material(folder, PHOTOS, VIDEOS)
    template, cells = read_cells(folder)
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeComfyUI(SECONDS)) for _ in range(workers)]
        queue = CellQueue(cells, ResultStore(open_place(str(folder / "out")), no_measure))
        began = time.monotonic()
        ServersEngine([server.address for server in servers], template).run(queue)
        queue.close()
        return time.monotonic() - began


def on_ray(workers: int, folder: Path) -> float:
    (folder / "comfyui" / "comfy").mkdir(parents=True)
    (folder / "comfyui" / "comfy" / "sd.py").touch()
    (folder / "comfyui" / "models" / "vae").mkdir(parents=True)
    os.environ["COMFYUI_PATH"] = str(folder / "comfyui")
    ray_cluster.import_ray()
    from ray.cluster_utils import Cluster

    with ExitStack() as stack:
        cluster = Cluster(True, head_node_args={"num_cpus": 0, **NODE})
        stack.callback(cluster.shutdown)
        ray = ray_cluster.connect(cluster.address, stack)
        for _ in range(workers):
            cluster.add_node(num_cpus=1, **NODE)
        cluster.wait_for_nodes()
        farm = Farm(folder, ray, cluster).material(PHOTOS, VIDEOS, SECONDS)
        template, cells = read_cells(folder)
        queue = CellQueue(cells, farm.store)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(RayEngine(ray, template, RayOptions(gpus_per_worker=0)).run, queue)
            while len(queue.workers) < workers and not running.done():
                time.sleep(0.01)
            began = time.monotonic()
            running.result()
        queue.close()
        return time.monotonic() - began


def no_measure(*_) -> tuple[dict, bytes]:
    return {"metrics": {}}, b""


if __name__ == "__main__":
    main()
