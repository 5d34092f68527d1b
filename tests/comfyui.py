"""ComfyUI in this process, on the CPU and without a server.

COMFYUI_PATH names the ComfyUI tree. ComfyUI owns the top-level names `nodes`, `comfy` and `folder_paths`; the pack's
own `nodes` package must therefore never lie on sys.path.
"""

import atexit
import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path


@cache
def use_comfyui() -> None:
    """Make ComfyUI importable, with a base directory that lasts as long as the process."""
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        raise RuntimeError("COMFYUI_PATH must name a ComfyUI folder; `nox -s tests` sets it for you.")
    sys.path.insert(0, comfyui)
    from comfy.cli_args import args

    args.cpu = True
    base = Path(tempfile.mkdtemp(prefix="steadydancer-tests-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    for name in ("custom_nodes", "models", "input", "output", "temp", "user"):
        (base / name).mkdir()
    args.base_directory = str(base)
    os.environ["MPLCONFIGDIR"] = str(base / "matplotlib")  # where it keeps its list of fonts
    import folder_paths  # noqa: F401  reads args.base_directory once, so it must come after
