"""Run a Python program that ends with the process that started it, also when that is killed: `this.py MAIN.py ...`.

The parent holds the other end of standard input, which the system closes with it; that works on every system.
"""

import os
import runpy
import sys
import threading
from pathlib import Path


def end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
