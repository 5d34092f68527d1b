"""Findings: how bad each is, what it is and what to do about it; and the report of them all."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .redact import Root, without_paths

PROBLEM, WARNING, NOTE, OK = LEVELS = ("problem", "warning", "note", "ok")  # the worst first
HEAD = "For a bug report, with all lines above:"
LAST_SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z])(?!Then restart)")  # a restart belongs to the sentence before it


@dataclass(frozen=True)
class Finding:
    """level: one of LEVELS; what was found, and the fix, which may be "" where nothing is to be done."""

    level: str
    what: str
    fix: str = ""

    def line(self) -> str:
        fix = f" FIX: {self.fix}" if self.fix else ""
        return " ".join(f"[{self.level}] {self.what}{fix}".split())


def of_error(level: str, error: Exception, about: str = "") -> Finding:
    """Return an error as a finding: its last sentence is the fix, as in every error of this pack."""
    *what, fix = LAST_SENTENCE.split(" ".join(str(error).split()))
    return Finding(level, f"{about}{' '.join(what)}", fix) if what else Finding(level, f"{about}{fix}")


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def verdict(findings: Iterable[Finding]) -> str:
    levels = [finding.level for finding in findings]
    counts = {level: levels.count(level) for level in (PROBLEM, WARNING, NOTE)}
    parts = [f"{count} {level}" if count == 1 else f"{count} {level}s" for level, count in counts.items() if count]
    return f"SteadyDancer doctor: {', '.join(parts) or 'all is well'}."


def report(findings: Iterable[Finding], facts: Mapping[str, str], roots: Iterable[Root]) -> str:
    """Return findings and facts as text. facts: what a bug report needs, by name; roots: folders not to be named."""
    findings = worst_first(findings)
    lines = [finding.line() for finding in findings]
    known = [f"{name}: {value}" for name, value in facts.items()]
    return without_paths("\n".join([verdict(findings), *lines, "", HEAD, *known]), roots)
