"""A report of metrics as HTML, Markdown and CSV: one row for a clip, or a row for each run of a comparison."""

import csv
import io
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ..dwpose.packages.pip_advice import in_report
from ..media.atomic_write import atomic_write, atomic_write_new
from .html_page import html_list, html_page, html_picture, html_table, html_terms
from .metric_table import Row, Table, make_table

PAGE_FILE, TEXT_FILE, ROWS_FILE = "report.html", "report.md", "report.csv"
UNENCODABLE = "backslashreplace"  # names of files on Linux need not be UTF-8
MEANINGS = "What the metrics mean"


def report_files(
    title: str, rows: Sequence[Row], pictures: Mapping[str, np.ndarray] | None = None, notes: Sequence[str] = ()
) -> dict[str, bytes]:
    """Return the files of a report by name: a page that holds its pictures, Markdown with PNG files beside it, CSV.

    rows: as `make_table` takes them. pictures: title to uint8 [H, W, 3] RGB. notes: sentences below the table.
    ValueError without a row, or for pictures whose files would have one name.
    """
    table, notes = make_table(rows), [in_report(note) for note in notes]
    encoded = {name: png_bytes(picture) for name, picture in (pictures or {}).items()}
    stems = {name: re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in encoded}
    files = {name: f"{stem or 'picture'}.png" for name, stem in stems.items()}
    if len(set(files.values())) < len(files):
        raise ValueError(f"Two pictures of the report would have one file name: {', '.join(files.values())}.")
    parts = [html_table(table.headings, table.lines, table.words, table.means, table.best)]
    if notes:
        parts.append(html_list(notes))
    parts += [html_picture(name, data) for name, data in encoded.items()]
    if table.meanings:
        parts.append(html_terms(MEANINGS, table.meanings))
    texts = {
        PAGE_FILE: html_page(title, parts),
        TEXT_FILE: as_markdown(table, title, files, notes),
        ROWS_FILE: as_csv(rows, table.columns),
    }
    return {name: text.encode(errors=UNENCODABLE) for name, text in texts.items()} | {
        files[name]: data for name, data in encoded.items()
    }


def write_report(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, Path]:
    """Write a report into `folder`, which is made; return the page and the Markdown. ValueError if that fails."""
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            with atomic_write(folder / name) as part:
                part.write_bytes(data)
    return folder / PAGE_FILE, folder / TEXT_FILE


def write_new_report(names: Iterable[Path], files: Mapping[str, bytes]) -> Path:
    """Write a report into a new folder that gets the first free of `names`, and return it. ValueError if that fails."""
    with _explained(next(iter(names))), atomic_write_new(names) as new:
        new.part.mkdir()
        for name, data in files.items():
            (new.part / name).write_bytes(data)
    return new.path


def as_markdown(table: Table, title: str, pictures: Mapping[str, str], notes: Sequence[str] = ()) -> str:
    cells = [[_plain(text) for text in line] for line in table.lines]
    for line, column in table.best:
        cells[line][column] = f"**{cells[line][column]}**"
    rule = ["---" if column < table.words else "---:" for column in range(len(table.headings))]
    lines = [f"# {_plain(title)}", ""]
    lines += [f"| {' | '.join(line)} |" for line in ([_plain(text) for text in table.headings], rule, *cells)]
    if notes:
        lines += ["", *(f"- {_plain(note)}" for note in notes)]
    for name, file in pictures.items():
        lines += ["", f"## {_plain(name)}", "", f"![{_plain(name)}]({file})"]
    if table.meanings:
        lines += ["", f"## {MEANINGS}", "", *(f"- **{label}**: {meaning}" for label, meaning in table.meanings)]
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def png_bytes(picture: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(target, "PNG")
    return target.getvalue()


@contextmanager
def _explained(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"The report cannot be written into {folder}: {error.strerror or error}. Free some space, make the folder "
            "writable, or choose another."
        ) from error


def _plain(text: str) -> str:
    """Return one line that Markdown shows unchanged, in a table too."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(text.split()))
