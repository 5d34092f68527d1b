"""Versions and Python packages: old ones, missing ones, and those that overwrite each other."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from .findings import OK, PROBLEM, WARNING, Finding

OPENCV = (
    "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip
CONTRIB = "contrib"  # these have all that the others have, and other packs may need it
EVALUATE_NEEDS = "torchmetrics"
PIP = "with ComfyUI's own Python"


class Pack(NamedTuple):
    """What pyproject.toml says: the pack's version, and the oldest ComfyUI and Python that it runs on."""

    version: str
    comfyui: str
    python: str


def read_pyproject(text: str) -> Pack:
    """Return what the pack's pyproject.toml says; "?" for what it does not say. Python 3.10 has no reader of TOML."""
    patterns = (r'^version = "([^"]+)"', r'^requires-comfyui = ">=([^"]+)"', r'^requires-python = ">=([^"]+)"')
    found = (re.search(pattern, text, re.M) for pattern in patterns)
    return Pack(*(match[1] if match else "?" for match in found))


def check_version(what: str, found: str, floor: str) -> Finding:
    """Return whether version `found` of ComfyUI or Python is at least `floor`."""
    if _numbers(found) >= _numbers(floor):
        return Finding(OK, f"{what} {found}; {floor} or newer is needed.")
    return Finding(PROBLEM, f"{what} is {found}, and this pack needs {floor} or newer.", f"Update {what} and restart.")


def check_opencv(installed: Mapping[str, str], imported: str | None) -> Finding:
    """Return whether exactly one OpenCV is there.

    installed: version by name of package, of those in OPENCV; imported: the version that Python finds, None if none
    or none that works.
    """
    if not installed and imported:
        return Finding(OK, f"OpenCV {imported}, which pip has not installed.")
    if not installed:
        return Finding(PROBLEM, "OpenCV is not installed; poses cannot be drawn.", _install("opencv-python"))
    named = " and ".join(f"{name} {version}" for name, version in sorted(installed.items()))
    keep = max(installed, key=lambda name: (CONTRIB in name, "headless" not in name))
    commands = f"pip uninstall {' '.join(sorted(installed))}, then pip install {keep}"
    if not imported:
        what = f"OpenCV cannot be imported, though pip has installed {named}; poses cannot be found or drawn."
        return Finding(PROBLEM, what, f"{PIP[0].upper()}{PIP[1:]}: {commands}. Then restart ComfyUI.")
    if len(installed) == 1:
        return Finding(OK, f"One OpenCV: {named}.")
    what = f"{len(installed)} packages of OpenCV write into the same folder: {named}. The last one installed wins."
    return Finding(WARNING, what, f"Nothing, while all works. Else, {PIP}: {commands}.")


def check_torchmetrics(version: str | None) -> Finding:
    """Return whether Evaluate can measure."""
    if version:
        return Finding(OK, f"torchmetrics {version}, for Evaluate.")
    return Finding(WARNING, "torchmetrics is not installed; Evaluate cannot measure.", _install(EVALUATE_NEEDS))


def _install(name: str) -> str:
    return f"{PIP[0].upper()}{PIP[1:]}: pip install {name}. Then restart ComfyUI."


def _numbers(version: str) -> tuple[int, ...]:
    found = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return tuple(found + [0] * (3 - len(found)))
