"""ComfyUI's page in a Chromium without a window."""

import json
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu")
NO_TOUR = {"Comfy.TutorialCompleted": True, "Comfy.OnboardingCoachmarks.Seen": ["appMode", "firstRun"]}
# ComfyUI loads a graph of its own at the start; one that is loaded before would be replaced by it. What runs before the
# page has its client id, from the websocket, reports to nobody.
READY = """window.app && window.app.vueAppReady && window.app.graph && window.app.graph.nodes.length > 0
    && window.app.api.clientId"""
TIME_TO_START = 240_000  # ms


def write_settings(base: Path, settings: dict) -> None:
    """Write the user's settings into ComfyUI's base directory, those of one who has seen the tours."""
    file = base / "user" / "default" / "comfy.settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(NO_TOUR | settings), encoding="utf-8")


def launch(playwright: Playwright, *flags: str) -> Browser:
    """Start the system's Chromium, else the one that Playwright installed."""
    system = next(filter(None, map(shutil.which, CHROMIUM)), None)
    return playwright.chromium.launch(executable_path=system, args=[*FLAGS, *flags])


def open_graph(page: Page, address: str) -> None:
    """Open ComfyUI's page and wait until its graph is there; playwright's TimeoutError if it does not come."""
    page.goto(f"http://{address}/")
    page.wait_for_function(READY, timeout=TIME_TO_START)
