"""A report of figures as HTML and Markdown: one row for a clip, or many rows for the runs of a comparison."""

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ..media.atomic_write import atomic_write, atomic_write_new
from .metric_table import Cell, Line, Row, Table, make_table

PAGE_FILE, TEXT_FILE = "report.html", "report.md"
UNENCODABLE = "backslashreplace"  # names of files on Linux need not be UTF-8
STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }
th { vertical-align: bottom; white-space: normal; }
th.text, td.text { text-align: left; }
tr.mean td { background: #8882; }
td.best { font-weight: bold; }
img { max-width: 100%; height: auto; image-rendering: auto; }
dt { font-weight: bold; } dd { margin: 0 0 .5rem; }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_report(
    rows: Sequence[Row],
    folder: Path,
    title: str,
    pictures: Mapping[str, np.ndarray] | None = None,
    notes: Sequence[str] = (),
) -> tuple[Path, Path]:
    """Write report.html, which holds its pictures, and report.md with PNG files beside it; return both paths.

    rows: as `table.make_table` takes them, first "name", maybe "group", then figures. pictures: title to uint8
    [H, W, 3] RGB. notes: sentences below the table. The same input gives the same bytes. ValueError without a row, for
    pictures whose files would have one name, or if nothing can be written.
    """
    files = report_files(rows, title, pictures, notes)
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with atomic_write(folder / name) as part:
                part.write_bytes(data)
    return folder / PAGE_FILE, folder / TEXT_FILE


def write_new_report(
    rows: Sequence[Row],
    names: Iterable[Path],
    title: str,
    pictures: Mapping[str, np.ndarray] | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write what `write_report` does into a folder that gets the first free of `names`, and return that."""
    files = report_files(rows, title, pictures, notes)
    with _explained(next(iter(names))), atomic_write_new(names) as new:
        new.part.mkdir()
        for name, data in files.items():
            (new.part / name).write_bytes(data)
    return new.path


def report_files(
    rows: Sequence[Row], title: str, pictures: Mapping[str, np.ndarray] | None = None, notes: Sequence[str] = ()
) -> dict[str, bytes]:
    """Return the files of a report by name; see `write_report`."""
    table, pictures = make_table(rows), dict(pictures or {})
    files = {name: f"{_file_name(name)}.png" for name in pictures}
    if len(set(files.values())) < len(files):
        raise ValueError(f"Two pictures of the report would have one file name: {', '.join(files.values())}.")
    encoded = {name: png_bytes(picture) for name, picture in pictures.items()}
    return {
        PAGE_FILE: as_html(table, title, encoded, notes).encode(errors=UNENCODABLE),
        TEXT_FILE: as_markdown(table, title, files, notes).encode(errors=UNENCODABLE),
        **{files[name]: data for name, data in encoded.items()},
    }


def as_html(table: Table, title: str, pictures: Mapping[str, bytes], notes: Sequence[str] = ()) -> str:
    """Return a page of its own; pictures: title to the bytes of a PNG."""
    head = "".join(f"<th{_kind(i, table)}>{html.escape(text)}</th>" for i, text in enumerate(table.headings))
    lines = "\n".join(_html_line(line, table) for line in table.lines)
    parts = [f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>']
    parts += ["<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>"] * bool(notes)
    for name, data in pictures.items():
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        parts.append(f'<h2>{html.escape(name)}</h2>\n<img alt="{html.escape(name)}" src="{source}">')
    meanings = "\n".join(f"<dt>{html.escape(a)}</dt><dd>{html.escape(b)}</dd>" for a, b in table.meanings)
    parts += [f"<h2>What the figures mean</h2>\n<dl>\n{meanings}\n</dl>"] * bool(meanings)
    return PAGE.format(title=html.escape(title), style=STYLE, body="\n".join(parts))


def as_markdown(table: Table, title: str, pictures: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    """Return the same as Markdown; pictures: title to file."""
    lines = [f"# {_plain(title)}", "", _markdown_line(map(_plain, table.headings))]
    lines += [_markdown_line("---" if i < table.texts else "---:" for i in range(len(table.headings)))]
    lines += [_markdown_line(map(_markdown_cell, line.cells)) for line in table.lines]
    lines += ["", *[f"- {_plain(note)}" for note in notes]] if notes else []
    for name, file in pictures.items():
        lines += ["", f"## {_plain(name)}", "", f"![{_plain(name)}]({file})"]
    lines += ["", "## What the figures mean", ""] * bool(table.meanings)
    lines += [f"- **{label}**: {meaning}" for label, meaning in table.meanings]
    return "\n".join(lines) + "\n"


def png_bytes(picture: np.ndarray) -> bytes:
    """Return uint8 [H, W, 3] RGB as the bytes of a PNG."""
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(target, "PNG")
    return target.getvalue()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an OSError of writing into a ValueError in words."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"The report cannot be written into {folder}: {error.strerror or error}. Free some space, make the folder "
            "writable, or choose another."
        ) from error


def _file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "picture"


def _kind(column: int, table: Table) -> str:
    return ' class="text"' * (column < table.texts)


def _html_line(line: Line, table: Table) -> str:
    kinds = (' class="best"' if cell.best else _kind(i, table) for i, cell in enumerate(line.cells))
    cells = (f"<td{kind}>{html.escape(cell.text)}</td>" for kind, cell in zip(kinds, line.cells, strict=True))
    mean = ' class="mean"' * line.mean
    return f"<tr{mean}>{''.join(cells)}</tr>"


def _markdown_line(texts) -> str:
    return f"| {' | '.join(texts)} |"


def _markdown_cell(cell: Cell) -> str:
    text = _plain(cell.text)
    return f"**{text}**" if cell.best else text


def _plain(text: str) -> str:
    """Return one line that Markdown shows as it is, in a table too."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))
