"""The first hour on the newest frontend in the registry, which may be newer than the one that ComfyUI requires."""

import os
from collections.abc import Iterator

import pytest

from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.tests.browser.conftest import running
from steadydancer_pack.tests.browser.graph import VUE, in_time, ours
from steadydancer_pack.tests.browser.test_renderers import check_forms, run_in, run_in_app_mode
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


def test_the_quick_start_shows_pictures_reports_turns_and_the_player(page, server):
    run_in(page, server, QUICK_START, tuple(VUE))
    assert in_time(page, lambda: page.evaluate(STRIPS), [FRONT]) == [FRONT]
    assert ours(page.errors) == []


def test_the_quick_start_is_a_form_in_app_mode_whose_video_plays(page):
    run_in_app_mode(page)
    check_forms(page)
    assert ours(page.errors) == []
