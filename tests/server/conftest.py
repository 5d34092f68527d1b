"""One real ComfyUI on the CPU for all server tests, with the pack of this checkout in it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadydancer_pack.tools.comfy_server import ComfyServer

PACK = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def server() -> Iterator[ComfyServer]:
    """A running ComfyUI; its folders are under server.base."""
    with ComfyServer(Path(os.environ["COMFYUI_PATH"]), PACK) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(server: ComfyServer) -> dict:
    """Every node type that the running ComfyUI knows."""
    return server.object_info()
