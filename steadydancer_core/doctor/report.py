"""The text of the doctor: findings, then facts to paste into a bug, without names of people and folders."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .findings import Finding, verdict, worst_first

HEAD = "For a bug report, with all lines above:"
Root = tuple[str, Path | str]  # what stands for a folder in the text, and the folder
# Two folders at least, and not the tail of a relative path or of an address.
ABSOLUTE = re.compile(r"(?<![\w.~:/\\>])(?:[A-Za-z]:|\\)?[/\\](?:[^\s/\\:*?\"<>|'`]+[/\\])+([^\s/\\:*?\"<>|'`]*)")


def write(findings: Iterable[Finding], facts: Mapping[str, str], roots: Iterable[Root]) -> str:
    """Return the whole text. facts: what a bug report needs, by name; roots: folders that must not be named."""
    findings = worst_first(findings)
    lines = [finding.line() for finding in findings]
    known = [f"{name}: {value}" for name, value in facts.items()]
    return without_paths("\n".join([verdict(findings), *lines, "", HEAD, *known]), roots)


def without_paths(text: str, roots: Iterable[Root]) -> str:
    """Return `text` with each root under its short name, and of any other absolute path only the file's name."""
    spelled = {spelling: name for name, root in roots for spelling in _spellings(root)}
    for root in sorted(spelled, key=len, reverse=True):
        text = re.sub(rf"{re.escape(root)}(?![\w-])", lambda _, name=spelled[root]: f"<{name}>", text, flags=re.I)
    return ABSOLUTE.sub(lambda match: f"<path>/{match[1]}", text)


def _spellings(root: Path | str) -> set[str]:
    """Return how a folder may be written: as given, whole, and with either slash. Roots of drives name nobody."""
    paths = [path for path in (Path(root), Path(root).resolve()) if path.is_absolute() and path.parent != path]
    return {spelling for path in paths for spelling in (str(path), path.as_posix(), str(path).replace("\\", "\\\\"))}
