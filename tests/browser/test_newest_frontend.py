"""The first hour on the newest frontend in the registry, which may be newer than the one that ComfyUI requires.

In a ComfyUI that has no model and no picture: the quick start needs nothing, and leaves its video alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.miniature import shipped
from steadydancer_pack.tests.browser.conftest import running
from steadydancer_pack.tests.browser.graph import VUE, WORKFLOWS, in_time, node_of, ours
from steadydancer_pack.tests.browser.test_renderers import check_forms, newest_video, run_in, run_in_app_mode
from steadydancer_pack.tools.templates.names import QUICK_START

# The colors at the left of each strip that shows how far people turn.
STRIPS = """() => [...document.querySelectorAll('canvas[title^="How far each person turns"]')].map(canvas =>
    [...canvas.getContext('2d').getImageData(canvas.width / 8, canvas.height / 2, 1, 1).data])"""
FRONT = [120, 210, 130, 255]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ComfyProcess]:
    """A ComfyUI with the newest frontend, which nox downloads."""
    folder = os.environ.get("NEWEST_FRONTEND")
    if not folder:
        pytest.skip("NEWEST_FRONTEND is not set: `nox -s tests` downloads the newest frontend and sets it")
    with running(tmp_path_factory.mktemp("comfyui"), folder) as server:
        yield server


def files_in(base: Path) -> list[Path]:
    """Return what lies in the folders of models, pictures and videos, less ComfyUI's own placeholders."""
    found = (file for folder in ("models", "input", "output") for file in (base / folder).rglob("*") if file.is_file())
    return [file for file in found if not file.name.startswith("put_")]


def test_the_quick_start_needs_nothing_and_shows_pictures_reports_turns_and_the_player(page, server):
    assert files_in(server.base) == []
    run_in(page, server, QUICK_START, tuple(VUE), quick=False)
    assert files_in(server.base) == [newest_video(server)]
    check_dance(server)
    assert in_time(page, lambda: page.evaluate(STRIPS), [FRONT]) == [FRONT]
    assert ours(page.errors) == []


def rgb(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)


def check_dance(server: ComfyProcess) -> None:
    """The sample is shown as it is; the video has all of its frames, begins with it and moves away from it."""
    (last,) = server.client.get("/history").values()
    (shown,) = last["outputs"][str(node_of(WORKFLOWS[QUICK_START], "SteadyDancerMiniatureSample")["id"])]["images"]
    photo = rgb(shipped("steadydancer_sample.png"))
    assert np.array_equal(rgb(server.base / shown["type"] / shown["subfolder"] / shown["filename"]), photo)
    with av.open(newest_video(server)) as file:
        frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in file.decode(video=0)]
    assert len(frames) == 33 and np.abs(frames[0] - photo).mean() < 8
    assert np.abs(frames[16] - frames[0]).mean() > 6


def test_the_quick_start_is_a_form_in_app_mode_whose_video_plays(page):
    run_in_app_mode(page)
    check_forms(page)
    assert ours(page.errors) == []
