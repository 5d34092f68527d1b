"""Rows of metrics as a table of texts: columns in order, means below, the best of each column marked."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .metrics import METRICS, metric_of, number

Row = Mapping[str, object]
NAME, GROUP = "name", "group"
DIRECTION = {1: " (higher)", -1: " (lower)", 0: ""}


class Table(NamedTuple):
    """A table of texts.

    columns: of the rows, in order. headings: of the table; the first `words` columns hold words, the others numbers.
    lines: cells; the last `means` lines are means. best: (line, column) of the best cells. meanings: label and meaning.
    """

    columns: list[str]
    headings: list[str]
    lines: list[list[str]]
    words: int
    means: int = 0
    best: frozenset[tuple[int, int]] = frozenset()
    meanings: Sequence[tuple[str, str]] = ()


def make_table(rows: Sequence[Row]) -> Table:
    """Return the table of `rows`, each with a "name" and maybe a "group"; ValueError if there is none.

    Below are the means, of each group if there are several, and of all. Marked as best are the groups' means among each
    other, or without groups the rows. A single row is turned: a line for each metric.
    """
    if not rows or any(NAME not in row for row in rows):
        raise ValueError(f"A report needs at least one row, and a '{NAME}' in each.")
    found = dict.fromkeys(column for row in rows for column in row)
    columns = [column for column in dict.fromkeys((NAME, GROUP, *METRICS, *found)) if column in found]
    headings = [heading(column) for column in columns]
    if len(rows) == 1:
        texts = ((metric_of(column).meaning, number(column, rows[0].get(column))) for column in columns)
        lines = [[label, *text] for label, text in zip(headings, texts, strict=True)]
        return Table(columns, ["metric", "meaning", "value"], lines, 2)
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get(GROUP), []).append(row)
    means = [_mean(members, columns, group) for group, members in groups.items()] if len(groups) > 1 else []
    shown = [*rows, *means, _mean(rows, columns, "")]
    lines = [[number(column, row.get(column)) for column in columns] for row in shown]
    ranked = range(len(rows), len(rows) + len(means)) if means else range(len(rows))
    best = {(line, i) for i, column in enumerate(columns) for line in best_rows(column, shown, ranked)}
    meanings = [(METRICS[column].label, METRICS[column].meaning) for column in columns if column in METRICS]
    words = sum(column in (NAME, GROUP) for column in columns)
    return Table(columns, headings, lines, words, len(means) + 1, frozenset(best), meanings)


def heading(column: str) -> str:
    if column in (NAME, GROUP):
        return column
    metric = metric_of(column)
    return ", ".join(filter(None, (metric.label, metric.unit))) + DIRECTION[metric.better]


def numbers_of(rows: Sequence[Row], column: str) -> dict[int, float]:
    """Return the numbers of a column by the index of their row; no text, nothing that is missing or NaN."""
    found = {index: row.get(column) for index, row in enumerate(rows)}
    return {
        index: value
        for index, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
    }


def best_rows(column: str, rows: Sequence[Row], ranked: range) -> list[int]:
    """Return which of the `ranked` rows are best, none where all are equal or neither way is better."""
    values = {line: value for line, value in numbers_of(rows, column).items() if line in ranked}
    better = metric_of(column).better
    if not better or len(set(values.values())) < 2:
        return []
    best = max(values.values(), key=lambda value: value * better)
    return [line for line, value in values.items() if value == best]


def _mean(rows: Sequence[Row], columns: Sequence[str], group: object) -> Row:
    numbers = {column: numbers_of(rows, column).values() for column in columns}
    means = {column: math.fsum(values) / len(values) for column, values in numbers.items() if values}
    return {NAME: f"mean of {len(rows)}", GROUP: group, **means}
