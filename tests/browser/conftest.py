"""A real Chromium on the real frontend of the running ComfyUI."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from steadydancer_pack.comfy_client.process import ComfyProcess
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests.browser.graph import PACK, WAIT
from steadydancer_pack.tests.comfyui import use_comfyui
from steadydancer_pack.tools.comfy_page import launch, open_graph, write_settings

use_comfyui()

from steadydancer_pack.tests.browser.mistakes import write_full_card

OFFLINE = (
    *("--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # a test that presses Download downloads nothing
)


@contextmanager
def running(base: Path, frontend: str = "") -> Iterator[ComfyProcess]:
    """A running ComfyUI without models, for a user who has seen the first-start tour.

    frontend: the folder with the page that it serves instead of its own, by default COMFYUI_FRONTEND, if that is set.
    """
    write_settings(base, {})
    write_full_card(base)
    frontend = frontend or os.environ.get("COMFYUI_FRONTEND", "")
    options = ("--front-end-root", frontend) if frontend else ()
    with ComfyProcess(Path(os.environ["COMFYUI_PATH"]), PACK, base, options, ends_with_parent=True) as server:
        yield server


@pytest.fixture(scope="session")
def one_server(tmp_path_factory) -> Iterator[ComfyProcess]:
    """The ComfyUI of all files, with the miniature's in place."""
    with running(tmp_path_factory.mktemp("comfyui")) as server:
        write_all(server.base / "models", server.base / "input")
        yield server


@pytest.fixture(scope="module")
def server(one_server) -> ComfyProcess:
    """The ComfyUI, without what an earlier file set on the page, or ran: its history would show in the graphs."""
    one_server.client.clear_history()
    write_settings(one_server.base, {})
    return one_server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium that reaches this machine alone, and tests that wait for it as long as a slow machine needs.

    Not for the whole session: while it lives, Playwright keeps an event loop, and asyncio.run fails in other tests.
    """
    expect.set_options(timeout=WAIT)
    with sync_playwright() as playwright, launch(playwright, *OFFLINE) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def view() -> dict[str, int]:
    """The size of the page in pixels."""
    return {"width": 1700, "height": 1000}


@contextmanager
def open_page(browser: Browser, server: ComfyProcess, view: dict[str, int]) -> Iterator[Page]:
    """A fresh page with ComfyUI's graph ready, and `page.errors`, the console errors so far with their addresses."""
    with browser.new_context(viewport=view) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.errors = []
        page.on("console", lambda said: page.errors.extend(error_of(said)))
        page.on("pageerror", lambda error: page.errors.append(error.stack or error.message))
        open_graph(page, server.address)
        yield page


def error_of(said: ConsoleMessage) -> list[str]:
    """Return the error with the address of what it is about, nothing for what is no error."""
    return [f"{said.text} {said.location['url']}"] if said.type == "error" else []


@pytest.fixture
def page(shared_page, view) -> Page:
    """The file's page at its size, without the errors of earlier tests; their graph may still be open."""
    shared_page.set_viewport_size(view)
    shared_page.errors.clear()
    return shared_page


@pytest.fixture(scope="module")
def shared_page(browser, server, view) -> Iterator[Page]:
    """A page for all tests of a file, one after the other, as an artist keeps it open."""
    with open_page(browser, server, view) as page:
        yield page
