"""What benchmarks/gpu.py needs on another machine beside this repository: parts of ComfyUI, and packages."""

import importlib.metadata
import lzma
import platform
import re
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import torch

MIB = 1 << 20
LIMIT = 35 * MIB
SKIPPED = {"__pycache__", "hip", "ascend"}  # folders; of comfy-kitchen's libraries only CUDA's is used
BROUGHT_BY = ("torch", "torchvision", "torchaudio")  # which a machine with a graphics card has


def comfyui_files(folder: Path) -> list[Path]:
    """Return ComfyUI's files that this process has imported."""
    files = [Path(file) for module in [*sys.modules.values()] if (file := getattr(module, "__file__", None))]
    return sorted({file for file in files if file.is_relative_to(folder) and file.is_file()})


def brought(names: Iterable[str]) -> set[str]:
    """Return these distributions and all that they require."""
    found, left = set(), list(names)
    while left:
        name = plain(left.pop())
        if name in found:
            continue
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        left += [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    return found


def plain(name: str) -> str:
    """Return a distribution's name as pip compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(there: set[str]) -> dict[str, list[Path]]:
    """Return the files of each distribution that this process has imported and that is not `there`."""
    owners = importlib.metadata.packages_distributions()
    tops = {name.partition(".")[0] for name, module in [*sys.modules.items()] if getattr(module, "__file__", None)}
    used = {plain(owner) for top in tops for owner in owners.get(top, ())}
    return {name: _files(name) for name in sorted(used - there)}


def _files(name: str) -> list[Path]:
    listed = importlib.metadata.files(name) or []
    places = [Path(str(file.locate())) for file in listed if ".." not in file.parts and not SKIPPED & set(file.parts)]
    return [place for place in places if place.is_file()]


def compressed(files: Iterable[Path]) -> int:
    """Return the bytes of the files as the archive holds them, without the names."""
    return sum(len(lzma.compress(file.read_bytes(), preset=1)) for file in files)


def report(comfyui: Path, pip_list: Path | None, archive: Path | None) -> int:
    """Print what must travel with its compressed sizes, write it to `archive` if given; 1 if it is above the limit.

    pip_list: what `pip list` or `pip freeze` prints on the other machine; without it, torch and what it requires.
    """
    there = brought(BROUGHT_BY)
    if pip_list is not None:
        there = {plain(re.split(r"[\s=@]", line)[0]) for line in pip_list.read_text("utf-8").splitlines() if line}
    parts = {"ComfyUI, the modules used": comfyui_files(comfyui), **packages(there)}
    total = 0
    for name, files in parts.items():
        size = compressed(files)
        total += size
        sys.stdout.write(f"{size / MIB:7.2f} MiB  {len(files):5d} files  {name}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{total / MIB:7.2f} MiB in all, compressed; the limit is {LIMIT / MIB:.0f}. Compiled parts are for Python "
        f"{platform.python_version()} on {platform.machine()} and PyTorch {torch.__version__}.\n"
    )
    if archive is not None:
        _write(archive, comfyui, parts)
    return int(total > LIMIT)


def _write(archive: Path, comfyui: Path, parts: dict[str, list[Path]]) -> None:
    """Write ComfyUI's files below comfyui/ and the packages' below packages/, for COMFYUI_PATH and PYTHONPATH."""
    packages_folder = Path(torch.__file__).resolve().parents[1]
    with tarfile.open(archive, "w:xz", preset=1) as tar:
        for file in (file for files in parts.values() for file in files):
            if file.is_relative_to(comfyui):
                tar.add(file, Path("comfyui", file.relative_to(comfyui)))
            else:
                tar.add(file, Path("packages", file.resolve().relative_to(packages_folder)))
