"""Command line: `python PATH_OF_THIS_FOLDER --help`."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    start = Path(__file__).parents[1] / "comfy_client" / "in_process.py"
    runpy.run_path(str(start))["run_by_path"](__file__)
