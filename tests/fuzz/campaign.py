"""Try mutated inputs on every reader of files: `python tests/fuzz/campaign.py --count 5000 --seed 1 [--only TARGET]`.

With ComfyUI's Python and COMFYUI_PATH set. Prints what was found, and how to try one input again. An input is decided
by its target and its number alone.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
WEIGHTS = ("safetensors", "checkpoint", "gguf", "prompt_embeddings", "shard_index")
TARGETS = ("pose_json", *WEIGHTS, "chunk_store", "pose_cache", "media")
LONGEST, MOST_GROWTH = 10.0, 2**30  # seconds of one input, bytes by which it may raise the process's peak
STARTING = 300.0
GOOD = ("accepted", "refused")


class Fault(NamedTuple):
    """kind: crash, hang, growth, outside (a file or connection elsewhere) or wrong (a result that is no longer so)."""

    target: str
    seed: int
    kind: str
    said: str


class Worker:
    """The process that tries inputs; started again after one that it does not survive."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self.peak = 0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = None

    def attempt(self, target: str, seed: int) -> Fault | str:
        """Return what came of an input: "accepted", "refused" or the fault."""
        first = self.process is None
        if first:
            self._start()
        answer = self._ask(target, seed, STARTING if first else LONGEST)
        if answer is None:
            ended = self.process.poll()
            self.stop()
            if ended is None:
                return Fault(target, seed, "hang", f"no answer within {LONGEST:.0f} s")
            return Fault(target, seed, "crash", f"the process ended with {ended}")
        grown, self.peak = answer["peak"] - self.peak, answer["peak"]
        if not first and grown > MOST_GROWTH:
            self.stop()
            return Fault(target, seed, "growth", f"{grown / 2**30:.1f} GiB")
        return answer["kind"] if answer["kind"] in GOOD else Fault(target, seed, answer["kind"], answer["said"])

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answers: Queue[str] = Queue()
        threading.Thread(target=_pump, args=(self.process.stdout, self._answers), daemon=True).start()

    def _ask(self, target: str, seed: int, seconds: float) -> dict | None:
        self.process.stdin.write(f"{target} {seed}\n")
        self.process.stdin.flush()
        try:
            line = self._answers.get(timeout=seconds)
        except Empty:
            return None
        return json.loads(line) if line else None


def _pump(stream, answers: Queue) -> None:
    for line in stream:
        answers.put(line)
    answers.put("")


def run(targets: Iterable[str], count: int, seed: int = 0) -> tuple[Counter, list[Fault]]:
    """Try `count` inputs of each target; return how many were accepted and refused by target, and the faults."""
    counts, faults = Counter(), []
    with Worker() as worker:
        for target in targets:
            for number in range(seed, seed + count):
                result = worker.attempt(target, number)
                if isinstance(result, Fault):
                    faults.append(result)
                counts[target, result.kind if isinstance(result, Fault) else result] += 1
    return counts, faults


def main() -> int:
    """Run; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", choices=TARGETS, action="append", help="only this target; may be given again")
    options = parser.parse_args()
    counts, faults = run(options.only or TARGETS, options.count, options.seed)
    for (target, kind), count in sorted(counts.items()):
        sys.stdout.write(f"{target:20} {kind:10} {count}\n")
    for fault in faults:
        sys.stdout.write(f"\n--only {fault.target} --seed {fault.seed} --count 1: {fault.kind}\n{fault.said}\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
