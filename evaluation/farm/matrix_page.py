"""The matrix of a run: photos down, dances across, each cell with its metrics and its clip, which plays in the page."""

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from ...media.clips import read_photo
from ..html_page import html_grid, html_image, html_page, html_video
from ..metrics import metric_of, number
from .cell import DONE, Cell

MATRIX_FILE = "matrix.html"
THUMBNAIL = 96, 96  # pixels
MANY = 100  # clips, of which a page does not load the first frames unasked


def matrix_page(cells: Sequence[Cell], found: Mapping[str, dict]) -> bytes:
    """Return the page. found: by the cells' names, cell.json with the metrics. Clips lie beside the page, by name."""
    photos = list(dict.fromkeys(cell.pair.photo for cell in cells))
    videos = list(dict.fromkeys(cell.pair.video for cell in cells))
    by_place = {(cell.pair.photo, cell.pair.video): cell for cell in cells}
    lines = []
    for photo in photos:
        there = [by_place.get((photo, video)) for video in videos]
        shown = [_cell(cell, found[cell.name], len(cells) > MANY) if cell else "" for cell in there]
        lines.append((f"{_thumbnail(photo)}<br>{escape(photo.stem)}", shown))
    headings = [escape(video.stem) for video in videos]
    return html_page("Photos and dances", [html_grid(headings, lines)]).encode(errors="backslashreplace")


def _cell(cell: Cell, result: dict, many: bool) -> str:
    if result["status"] != DONE:
        return escape(": ".join(filter(None, (result["status"], result.get("error", "")))))
    clip = html_video(f"{quote(cell.name)}/{quote(result['file'])}", cell.name, "none" if many else "metadata")
    metrics = [
        f"{metric_of(name).label}: {number(name, value)} {metric_of(name).unit}".rstrip()
        for name, value in result.get("metrics", {}).items()
    ]
    return "<br>".join([clip, *map(escape, metrics)])


def _thumbnail(photo: Path) -> str:
    try:
        picture = read_photo(photo)
    except ValueError:  # its cells say so
        return ""
    picture.thumbnail(THUMBNAIL)
    target = io.BytesIO()
    picture.save(target, "PNG")
    return html_image(photo.stem, target.getvalue())
