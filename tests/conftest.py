"""Load the pack as `steadydancer_pack`, watched by the guard; what the tests of every tier share.

Nothing here imports ComfyUI or torch: tests/pure runs without both. The other tiers call `use_comfyui`.
"""

import ast
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PACK = Path(__file__).resolve().parent.parent
TEXT_PACKAGES = ("comfy_client", "doctor", "dwpose", "evaluation", "media", "miniature", "nodes", "steadydancer_core")
OWN_SERVERS = ("tests/server/test_farm_ray.py",)
TIERS = ("server", "browser", "fuzz", "comfy", "pure")  # the longest files first, for two processes

# Bytecode is kept whatever the environment says: the tests start about a hundred processes of ComfyUI and the pack.
os.environ["PYTHONDONTWRITEBYTECODE"], sys.dont_write_bytecode = "", False
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the processes share the cores
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != PACK]
pack = ModuleType("steadydancer_pack")
pack.__path__ = [str(PACK)]
sys.modules["steadydancer_pack"] = pack

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tiers in the order of TIERS."""
    items.sort(key=lambda item: TIERS.index(item.nodeid.split("/")[1]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Give a process one file after the other, and all tests that share a server to one."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "tests/server" if file.startswith("tests/server/") and file not in OWN_SERVERS else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Give a test the same random numbers in every run, so that none fails by chance."""
    np.random.seed(0)
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def doubles(tmp_path_factory) -> tuple[Path, Path]:
    """Paths of a YOLOX and a DW-Pose with the published inputs and outputs."""
    from steadydancer_pack.tests.doubles import write_dwpose_double, write_yolox_double

    folder = tmp_path_factory.mktemp("doubles")
    files = folder / "yolox_l.onnx", folder / "dw-ll_ucoco_384.onnx"
    write_yolox_double(files[0])
    write_dwpose_double(files[1])
    return files


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Every string in the pack's code; of an f-string, the pieces between its values."""
    files = [file for package in TEXT_PACKAGES for file in sorted((PACK / package).rglob("*.py"))]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
