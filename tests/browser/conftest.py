"""A real Chromium on the real frontend of the running ComfyUI."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from steadydancer_pack.miniature import write_all
from steadydancer_pack.tools.comfy_server import ComfyServer

PACK = Path(__file__).resolve().parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # a test that presses Download downloads nothing
)
# ComfyUI loads a graph of its own at the start; one that is loaded before would be replaced by it.
READY = "window.app && window.app.vueAppReady && window.app.graph && window.app.graph.nodes.length > 0"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[ComfyServer]:
    """A running ComfyUI with the miniature files in place, for a user who has seen the first-start tour."""
    base = tmp_path_factory.mktemp("comfyui")
    settings = base / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"Comfy.TutorialCompleted": True}), encoding="utf-8")
    with ComfyServer(Path(os.environ["COMFYUI_PATH"]), PACK, base) as running:
        write_all(running.base / "models", running.base / "input")
        yield running


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, else the one that Playwright installed.

    Not for the whole session: while it lives, Playwright keeps an event loop, and asyncio.run fails in other tests.
    """
    system = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=system, args=list(FLAGS))
        yield chromium
        chromium.close()


@contextmanager
def open_page(browser: Browser, server: ComfyServer) -> Iterator[Page]:
    """A fresh page with ComfyUI's graph ready, and `page.errors`, the console errors so far with their addresses."""
    context = browser.new_context(viewport={"width": 1700, "height": 1000})
    page = context.new_page()
    page.errors = []
    page.on("console", lambda said: page.errors.extend(error_of(said)))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"http://{server.address}/")
    page.wait_for_function(READY, timeout=120_000)
    yield page
    context.close()


def error_of(said: ConsoleMessage) -> list[str]:
    """Return the error with the address of what it is about, nothing for what is no error."""
    return [f"{said.text} {said.location['url']}"] if said.type == "error" else []


@pytest.fixture
def page(browser, server) -> Iterator[Page]:
    """A page for one test alone."""
    with open_page(browser, server) as page:
        yield page


@pytest.fixture(scope="module")
def shared_page(browser, server) -> Iterator[Page]:
    """A page for all tests of a file, one after the other, as an artist keeps it open."""
    with open_page(browser, server) as page:
        yield page
