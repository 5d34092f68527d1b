"""The quick start on the newest frontend in the registry, which may be newer than the one that ComfyUI requires."""

import os
from pathlib import Path

import pytest

from steadydancer_pack.tests.browser.graph import VUE, ours
from steadydancer_pack.tests.browser.test_renderers import check_run, run


@pytest.fixture(scope="module")
def frontend() -> Path:
    """The newest frontend, which nox downloads."""
    folder = os.environ.get("NEWEST_FRONTEND")
    if not folder:
        pytest.skip("NEWEST_FRONTEND is not set: `nox -s tests` downloads the newest frontend and sets it")
    return Path(folder)


@pytest.mark.parametrize("renderer", VUE)
def test_the_quick_start_shows_pictures_reports_and_the_player(page, server, renderer):
    run(page, "quick_start", renderer)
    check_run(page, server, "quick_start", renderer)
    assert ours(page.errors) == []
