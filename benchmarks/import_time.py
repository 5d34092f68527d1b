"""Time in which ComfyUI loads the pack, against the time in which it loads its own module `nodes`, in the same process.

As when ComfyUI starts: after its server and its extra nodes. Python collects the garbage of all that was loaded before
now and then; whether that falls into the loading of this pack or of another is chance, so it is reported separately.
"""

import asyncio
import gc
import json
import logging
import statistics
import sys
import time

from benchmarks.harness import in_fresh_process
from comfy_client.in_process import PACK, use_comfyui

ROUNDS, LIMIT = 7, 0.5  # seconds for the pack, collecting included
ONCE = "--once"


class Collections:
    """Seconds spent in garbage collection since it was made."""

    def __init__(self):
        self.seconds, self.since = 0.0, 0.0
        gc.callbacks.append(self.note)

    def note(self, phase: str, _info: dict) -> None:
        now = time.perf_counter()
        if phase == "stop":
            self.seconds += now - self.since
        self.since = now


def measure() -> dict[str, float]:
    """Load ComfyUI and then the pack into this process; return the seconds of each, and those of collecting."""
    use_comfyui()
    logging.disable()  # extra nodes that lack a package of ComfyUI's own say so at length
    start = time.perf_counter()
    import nodes

    comfyui = time.perf_counter() - start
    import server  # noqa: F401  main.py has it loaded before any pack

    asyncio.run(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))
    collections, start = Collections(), time.perf_counter()
    if not asyncio.run(nodes.load_custom_node(str(PACK))):
        raise SystemExit("ComfyUI could not load the pack.")
    pack = time.perf_counter() - start
    return {"comfyui": comfyui, "pack": pack, "collecting": collections.seconds}


def main() -> int:
    """Print the medians and their ratio; 1 when the pack takes longer than the limit."""
    in_fresh_process("import_time", ONCE)  # compiles what has changed, and fills the disk's cache
    runs = [in_fresh_process("import_time", ONCE) for _ in range(ROUNDS)]
    comfyui, pack, collecting = (statistics.median(run[what] for run in runs) for what in runs[0])
    sys.stdout.write(f"ComfyUI's nodes: {comfyui:.3f} s\nthe pack: {pack:.3f} s, {collecting:.3f} s of it collecting\n")
    ratio = statistics.median((run["pack"] - run["collecting"]) / run["comfyui"] for run in runs)
    sys.stdout.write(f"the pack without collecting / ComfyUI's nodes: {ratio:.3f}\n")
    return int(pack > LIMIT)


if __name__ == "__main__":
    if sys.argv[1:] == [ONCE]:
        sys.stdout.write(f"{json.dumps(measure())}\n")
    else:
        sys.exit(main())
