"""The doctor's report: findings, then facts for a bug report, without names of people and folders."""

from collections.abc import Iterable, Mapping

from .findings import Finding, verdict, worst_first
from .redact import Root, without_paths

HEAD = "For a bug report, with all lines above:"


def write(findings: Iterable[Finding], facts: Mapping[str, str], roots: Iterable[Root]) -> str:
    """Return the whole text. facts: what a bug report needs, by name; roots: folders that must not be named."""
    findings = worst_first(findings)
    lines = [finding.line() for finding in findings]
    known = [f"{name}: {value}" for name, value in facts.items()]
    return without_paths("\n".join([verdict(findings), *lines, "", HEAD, *known]), roots)
