"""How well the farm's servers engine scales, at doubles of ComfyUI, and what planning many cells costs.

    python -m benchmarks.farm

Cells take 2 s each. Efficiency is the time of a single worker over that of all together; the overhead of a cell is what
a single worker takes beyond its 2 s.
"""

import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from steadydancer_pack.evaluation.farm.cell_queue import CellQueue
from steadydancer_pack.evaluation.farm.result_files import open_place
from steadydancer_pack.evaluation.farm.result_store import ResultStore
from steadydancer_pack.evaluation.farm.servers_engine import ServersEngine
from steadydancer_pack.tests.fake_comfyui import FakeComfyUI  # ty: ignore[import-not-found]  tests are not type-checked
from steadydancer_pack.tests.farm_cells import read_cells, write_material  # ty: ignore[import-not-found]  tests are not type-checked

SECONDS, WORKERS, PLANNED = 2.0, (1, 2, 4), 10_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_material(Path(folder), "a b c d", "v w x y")
        template, cells = read_cells(Path(folder))
        single = 0.0
        for workers in WORKERS:
            with ExitStack() as stack:
                servers = [stack.enter_context(FakeComfyUI(SECONDS)) for _ in range(workers)]
                store = ResultStore(open_place(f"{folder}/{workers}"), lambda *_: ({"metrics": {}}, b""))
                queue = CellQueue(cells, store)
                began = time.monotonic()
                ServersEngine([server.address for server in servers], template).run(queue)
                queue.close()
                seconds = time.monotonic() - began
            single = single or seconds
            efficiency, overhead = single / seconds / workers, seconds * workers / len(cells) - SECONDS
            sys.stdout.write(
                f"{workers} workers: {seconds:.1f} s, efficiency {efficiency:.2f}, {overhead:.2f} s a cell\n"
            )
        began = time.monotonic()
        many = [replace(cells[0], pair=replace(cells[0].pair, name=f"cell_{i}")) for i in range(PLANNED)]
        to_do = ResultStore(open_place(folder), lambda *_: ({}, b"")).unfinished(many, None)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(f"{len(to_do)} cells planned in {time.monotonic() - began:.1f} s, {peak:.0f} MB in all\n")


if __name__ == "__main__":
    main()
