"""Versions and Python packages: old ones and missing ones."""

import importlib.metadata
import re

from .findings import OK, PROBLEM, Finding

EVALUATE_USES = {"torchmetrics": "LPIPS", "matplotlib": "the curves"}  # neither is required


def read_pyproject(text: str) -> list[str]:
    """Return the pack's version and the oldest ComfyUI and Python by its pyproject.toml; "?" for what it lacks."""
    patterns = (r'^version = "([^"]+)"', r'^requires-comfyui = ">=([^"]+)"', r'^requires-python = ">=([^"]+)"')
    found = (re.search(pattern, text, re.M) for pattern in patterns)
    return [match[1] if match else "?" for match in found]


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_version(what: str, found: str, floor: str) -> Finding:
    if _numbers(found) >= _numbers(floor):
        return Finding(OK, f"{what} {found}; {floor} or newer is needed.")
    return Finding(PROBLEM, f"{what} is {found}, and this pack needs {floor} or newer.", f"Update {what} and restart.")


def check_evaluate(package: str, version: str | None) -> Finding:
    if version:
        return Finding(OK, f"{package} {version}, for Evaluate.")
    without = f"Evaluate works without {EVALUATE_USES[package]} and says how to add it."
    return Finding(OK, f"{package} is not installed: {without}")


def in_own_python(pip: str) -> str:
    return f"With ComfyUI's own Python: python -m pip {pip}. Then restart ComfyUI."


def _numbers(version: str) -> tuple[int, ...]:
    found = [int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return tuple(found + [0] * (3 - len(found)))
