"""Rows of figures as a table of texts: columns in order, means below, the best of each column marked."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .metrics import MEASURES, measure_of, number

Row = Mapping[str, object]
NAME, GROUP = "name", "group"


class Cell(NamedTuple):
    """One figure as text; best: none of the column is better."""

    text: str
    best: bool = False


class Line(NamedTuple):
    """One row; mean: whether it is the mean of others."""

    cells: tuple[Cell, ...]
    mean: bool = False


class Table(NamedTuple):
    """headings: texts, the first `texts` of them of columns to the left; lines: as many cells each; meanings: label
    and meaning of each figure."""

    headings: tuple[str, ...]
    texts: int
    lines: tuple[Line, ...]
    meanings: tuple[tuple[str, str], ...]


def make_table(rows: Sequence[Row]) -> Table:
    """Return the table of `rows`, each with a "name" and maybe a "group"; ValueError if there is none.

    "name" and "group" come first, then the figures in the order of the catalogue, then the rest as it came. Below are
    the means, of each group where there are several, and of all. Marked as best are the groups' means among each
    other, or without groups the rows. One row alone stands upright: a line for each figure.
    """
    if not rows or any(NAME not in row for row in rows):
        raise ValueError(f"A report needs at least one row, and a '{NAME}' in each.")
    columns = _columns(rows)
    if len(rows) == 1:
        return _upright(rows[0], columns)
    groups = list(_groups(rows).values()) if GROUP in columns else []
    means = [_mean(of, columns, of[0][GROUP]) for of in groups] if len(groups) > 1 else []
    total = [_mean(rows, columns, "")]
    ranked = means or rows
    best = {column: _best(column, ranked) for column in columns}
    lines = [_line(row, columns, best if ranked is rows else {}, False) for row in rows]
    lines += [_line(row, columns, best, True) for row in means] + [_line(row, columns, {}, True) for row in total]
    meanings = tuple((MEASURES[column].label, MEASURES[column].meaning) for column in columns if column in MEASURES)
    return Table(tuple(map(heading, columns)), sum(c in (NAME, GROUP) for c in columns), tuple(lines), meanings)


def heading(column: str) -> str:
    """Return the label of a column with its unit and an arrow towards better."""
    if column in (NAME, GROUP):
        return column
    measure = measure_of(column)
    arrow = {1: " (higher)", -1: " (lower)", 0: ""}[measure.better]
    return measure.label + f", {measure.unit}" * bool(measure.unit) + arrow


def _upright(row: Row, columns: Sequence[str]) -> Table:
    cells = ((heading(column), measure_of(column).meaning, number(column, row.get(column))) for column in columns)
    lines = tuple(Line(tuple(map(Cell, texts))) for texts in cells)
    return Table(("figure", "what it is", "value"), 2, lines, ())


def _columns(rows: Sequence[Row]) -> tuple[str, ...]:
    found = dict.fromkeys(column for row in rows for column in row)
    known = [column for column in (NAME, GROUP, *MEASURES) if column in found]
    return (*known, *(column for column in found if column not in known))


def _groups(rows: Sequence[Row]) -> dict[object, list[Row]]:
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.get(GROUP), []).append(row)
    return groups


def _mean(rows: Sequence[Row], columns: Sequence[str], group: object) -> Row:
    figures = {column: [row[column] for row in rows if _is_figure(row.get(column))] for column in columns}
    means = {column: math.fsum(values) / len(values) for column, values in figures.items() if values}
    return {NAME: f"mean of {len(rows)}", GROUP: group, **means}


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _best(column: str, rows: Sequence[Row]) -> float | None:
    values = {row[column] for row in rows if _is_figure(row.get(column))}
    better = measure_of(column).better
    return (max if better > 0 else min)(values) if len(values) > 1 and better else None


def _line(row: Row, columns: Sequence[str], best: Mapping[str, float | None], mean: bool) -> Line:
    cells = (
        Cell(number(column, row.get(column)), best.get(column) is not None and row.get(column) == best[column])
        for column in columns
    )
    return Line(tuple(cells), mean)
