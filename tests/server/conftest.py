"""One real ComfyUI on the CPU for all server tests, with the pack of this checkout in it and a broken one beside it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.tests.comfyui import use_comfyui

use_comfyui()

PACK = Path(__file__).resolve().parents[2]
BROKEN_PACK, MISSING_MODULE = "broken_pack", "a_module_that_nobody_has"


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[ComfyProcess]:
    """A running ComfyUI in a fresh home, in which it leaves nothing; its folders are under server.base."""
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("HOME", "USERPROFILE", "LOCALAPPDATA"):
                patch.setenv(name, str(home))
            process = ComfyProcess(Path(os.environ["COMFYUI_PATH"]), PACK, ends_with_parent=True)
            broken = process.base / "custom_nodes" / BROKEN_PACK
            broken.mkdir(parents=True)
            (broken / "__init__.py").write_text(f"import {MISSING_MODULE}\n")
            running = stack.enter_context(process)
        yield running
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.fixture(scope="session")
def object_info(server: ComfyProcess) -> dict:
    """Every node type that the running ComfyUI knows."""
    return server.client.object_info()
