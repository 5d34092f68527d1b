"""Two training processes that find each other through torchrun, which probes no port that others could take first."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

PACK = Path(__file__).resolve().parents[1]
TORCHRUN = ("torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2")


def run_two(*words: str, seconds: float = 600) -> tuple[int, str]:
    """Run a script with its arguments, or `-m` and a module's, in two processes on the CPU with one thread each.

    Returns torchrun's exit status and all that was said; none of the processes is left when it is over.
    subprocess.TimeoutExpired after that many seconds.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *TORCHRUN, *words],
        cwd=PACK,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
        return process.returncode, said.decode(errors="replace")
    finally:
        if process.poll() is None:  # torchrun starts its children in sessions of their own
            for each in (process, *psutil.Process(process.pid).children(recursive=True)):
                each.kill()
            process.communicate()
