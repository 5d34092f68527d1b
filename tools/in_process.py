"""ComfyUI's Python modules in a program of our own, without a server."""

import os
import sys
from pathlib import Path
from types import ModuleType

PACK = Path(__file__).resolve().parent.parent


def use_comfyui(cpu: bool = True) -> None:
    """Make `comfy` importable before the pack's own folder, which has a `nodes` too; on the CPU, or on what is there.

    ComfyUI is the one that COMFYUI_PATH names, else the one the pack lies in; ValueError where neither is.
    """
    folder = os.environ.get("COMFYUI_PATH") or PACK.parent.parent
    if not Path(folder, "comfy", "sd.py").is_file():
        raise ValueError("COMFYUI_PATH must name a ComfyUI folder.")
    sys.path[:0] = [str(folder), str(PACK)]
    from comfy.cli_args import args

    args.cpu = cpu


def use_pack() -> None:
    """Make the pack importable as `steadydancer_pack`, with every room in it, as ComfyUI imports it under some name."""
    pack = ModuleType("steadydancer_pack")
    pack.__path__ = [str(PACK)]
    sys.modules.setdefault(pack.__name__, pack)
