"""Command line: `python -m evaluation.farm --help`, or the path of this folder in place of `-m evaluation.farm`."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    start = Path(__file__).parents[2] / "comfy_client" / "in_process.py"
    runpy.run_path(str(start))["run_by_path"](__file__)
