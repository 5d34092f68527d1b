"""The language of ComfyUI's page, for words that come from here: stages, Doctor and VRAM Check.

The page translates what it knows itself, see locales. These words stand there too, in main.json under "steadydancer".
"""

import json
import re
from pathlib import Path
from typing import Any

import folder_paths

SENTENCE_END = r"[.!?] |\u3002|\uff1a|FIX: |\] "  # or what stands before a sentence
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


def in_page_language(report: str) -> str:
    """Return a report in the page's language, as far as it has words for the sentences of the report.

    Those words are templates, English to translated; {1}, {2} stand for what varies.
    """
    templates = page_words("reports")
    patterns = [(_pattern(english), words) for english, words in templates.items()]
    lines = report.split("\n")
    for pattern, words in patterns:
        filled = re.sub(r"\{(\d)\}", r"\\g<v\1>", words)
        lines = [pattern.sub(filled, line) for line in lines]
    return "\n".join(lines)


def _pattern(template: str) -> re.Pattern:
    """Return what finds the template in a line; what varies holds no end of a sentence unless it ends the line."""
    parts = re.split(r"(\{\d\})", template)
    last = parts[-2] if parts[-1] == "" and len(parts) > 1 else ""
    pieces = []
    for part in parts:
        if not re.fullmatch(r"\{\d\}", part):
            pieces.append(re.escape(part))
        elif part == last:
            pieces.append(f"(?P<v{part[1]}>.+)$")
        else:
            pieces.append(rf"(?P<v{part[1]}>(?:(?!{SENTENCE_END}).)+?)")
    return re.compile("".join(pieces))
