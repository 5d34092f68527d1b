"""The language of ComfyUI's page, for words that come from here: stages, Doctor and VRAM Check.

The page translates what it knows itself, see locales. These words stand there too, in main.json under "steadydancer".
"""

import json
from pathlib import Path
from typing import Any

import folder_paths

LOCALES = Path(__file__).resolve().parents[2] / "locales"


def page_language() -> str:
    """Return the language that the page is set to, such as "zh-TW"; "en" if none is, or with several users."""
    settings = Path(folder_paths.get_user_directory(), "default", "comfy.settings.json")
    try:
        return str(json.loads(settings.read_text("utf-8")).get("Comfy.Locale") or "en")
    except (OSError, ValueError, AttributeError):  # the page writes it, and has none yet or is writing it
        return "en"


def page_words(section: str) -> dict[str, Any]:
    """Return the words of a section in the page's language, {} if English is all there is."""
    file = LOCALES / page_language() / "main.json"
    if file.parent.parent != LOCALES or not file.is_file():
        return {}
    return json.loads(file.read_text("utf-8")).get("steadydancer", {}).get(section, {})
