"""ComfyUI's Python modules in a program of our own, without a server."""

import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn

PACKAGE = "steadydancer_pack"
PACK = Path(os.path.abspath(__file__)).parent.parent  # noqa: PTH100  not resolved: it may be linked into custom_nodes


def use_comfyui(cpu: bool = True) -> Path:
    """Make `comfy` importable ahead of the pack and return ComfyUI's folder; ValueError where it is not found."""
    from .comfyui_places import find_comfyui  # here, because this file is also run on its own

    folder = find_comfyui(PACK)
    sys.path.insert(0, str(folder))
    from comfy.cli_args import args

    args.cpu = cpu
    return folder


def use_pack() -> None:
    """Make the pack importable as `steadydancer_pack`, with every package in it; ComfyUI chooses another name."""
    pack = ModuleType(PACKAGE)
    pack.__path__ = [str(PACK)]
    sys.modules.setdefault(pack.__name__, pack)


def has_gpu() -> bool:
    """Return whether PyTorch sees a device beside the CPU; before 2.6 it has no `torch.accelerator`."""
    import torch

    if hasattr(torch, "accelerator"):
        return torch.accelerator.is_available()
    return torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available()


def run_by_path(file: str) -> NoReturn:
    """Run the command in `file`, FOLDER/NAME.py of the pack or a package's __main__.py, as a module of the pack.

    An isolated Python (`python -I`, and that of the portable ComfyUI for Windows) looks for modules in its own folders
    only; another one looks in FOLDER first, whose modules must not stand in for others.
    """
    folder, name = Path(file).resolve().parent, Path(file).stem
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != folder]
    use_pack()
    module = ".".join((*folder.relative_to(PACK.resolve()).parts, "command" if name == "__main__" else name))
    try:
        runpy.run_module(f"{PACKAGE}.{module}", run_name="__main__")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(PACKAGE):
            raise
        sys.exit(
            f"Error: {sys.executable} has no {error.name}, so it is not the Python that ComfyUI runs in. Run this with "
            "ComfyUI's own Python: python_embeded\\python.exe of the portable ComfyUI, .venv\\Scripts\\python.exe or "
            ".venv/bin/python of Comfy Desktop."
        )
    sys.exit()
