"""Load the pack as `steadydancer_pack` inside a CPU-only ComfyUI, without starting a server.

COMFYUI_PATH names the ComfyUI tree. ComfyUI owns the top-level names `nodes`, `comfy` and `folder_paths`;
the pack's own `nodes` package must therefore never lie on sys.path.
"""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PACK = Path(__file__).resolve().parent.parent


def _bootstrap() -> None:
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        raise RuntimeError("COMFYUI_PATH must name a ComfyUI folder; `nox -s tests` sets it for you.")
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != PACK]
    sys.path.insert(0, comfyui)
    pack = ModuleType("steadydancer_pack")
    pack.__path__ = [str(PACK)]
    sys.modules["steadydancer_pack"] = pack

    from comfy.cli_args import args

    args.cpu = True
    base = Path(tempfile.mkdtemp(prefix="steadydancer-tests-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    for name in ("custom_nodes", "models", "input", "output", "temp", "user"):
        (base / name).mkdir()
    args.base_directory = str(base)
    import folder_paths  # noqa: F401  reads args.base_directory once, so it must come after


_bootstrap()

from steadydancer_pack.tests.guard import Guard  # noqa: E402  the pack has its name from here on

GUARD = Guard()


@pytest.fixture(autouse=True)
def refusals() -> Iterator[list[str]]:
    """What the guard refused in this test: nothing, unless the test takes it away."""
    GUARD.refused.clear()
    yield GUARD.refused
    assert GUARD.refused == []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """Let pytest write its cache and reports where it likes."""
    GUARD.watching = False
