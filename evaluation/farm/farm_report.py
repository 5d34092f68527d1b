"""Measure a cell's video, and put all cells of a run into a report, by category and misalignment, and a matrix."""

import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from av.error import FFmpegError
from PIL import Image

from ...media.clips import BACKGROUND, frame_rate, pick, read_frames, read_photo, row_of
from .cell import DONE, Cell
from .cell_sets import Pair
from .matrix_page import MATRIX_FILE, matrix_page
from .result_store import SHEET, ResultStore

TILE_HEIGHT, TIMES = 112, 6
NOT_RUN = "not run"
MAX_SHEETS = 200  # in the page; each cell's folder has its own


def measure(cell: Cell, video: bytes, suffix: str) -> tuple[dict, bytes]:
    """Return {"metrics", "metrics_error"} of a video, and its sheet as PNG, b"" where it cannot be drawn."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"video{suffix}")
        file.write_bytes(video)
        try:
            return {"metrics": metrics_of(cell.pair, file), "metrics_error": ""}, draw_sheet(cell.pair, file)
        except (ValueError, OSError, FFmpegError, ImportError) as error:
            return {"metrics": {}, "metrics_error": str(error).replace(str(file), "The video")}, b""


def metrics_of(pair: Pair, video: Path) -> dict[str, float]:
    from ...media.frames import to_float  # the rest needs no torch
    from ..evaluate import Case, evaluate

    photo = to_float(np.array(read_photo(pair.photo)))[None]
    truth = frames_of(pair.truth) if pair.truth else None
    return evaluate(Case(frames_of(video), photo, truth)).values


def frames_of(video: Path):
    """Return a video's frames as a uint8 tensor [F, H, W, 3]; ValueError if it has none."""
    import torch

    frames = [np.asarray(frame) for frame in read_frames(video)]
    if not frames:
        raise ValueError(f"{video} holds no frame.")
    return torch.from_numpy(np.stack(frames))


def draw_sheet(pair: Pair, video: Path) -> bytes:
    """Return a PNG: the photo, then driving video, result and ground truth below each other at six times."""
    rate, count = frame_rate(video), sum(1 for _ in read_frames(video))
    times = [round(i * (count - 1) / (TIMES - 1)) / rate for i in range(TIMES)]
    photo = read_photo(pair.photo)
    rows = [("driving video", pair.video, None), ("photo, result", video, photo)]
    if pair.truth:
        rows.append(("ground truth", pair.truth, None))
    width, height = pick(video, [0])[0].size
    tile = round(TILE_HEIGHT * width / height), TILE_HEIGHT
    blank = Image.new("RGB", tile, BACKGROUND)
    strips = []
    for caption, source, first in rows:
        rate_of_source = frame_rate(source)
        indices = [round(time * rate_of_source) for time in times]
        strips.append(row_of([first or blank, *pick(source, indices)], tile, caption))
    target = io.BytesIO()
    Image.fromarray(np.concatenate([np.asarray(strip) for strip in strips])).save(target, "PNG")
    return target.getvalue()


def report(cells: Sequence[Cell], store: ResultStore) -> str:
    """Write report.html, .md and .csv and the matrix beside the results; return where the page is.

    Metrics are measured anew where the ground truth is another than before.
    """
    from ..evaluation_report import PAGE_FILE, report_files  # see `metrics_of`

    cells = sorted(cells, key=lambda cell: (group(cell.pair), cell.name))
    found = with_metrics(cells, store)
    grouped = any(group(cell.pair) for cell in cells)
    rows = [row(cell.pair, found[cell.name], grouped) for cell in cells]
    done = [cell.name for cell in cells if found[cell.name]["status"] == DONE]
    sheets = store.files.read_all(f"{name}/{SHEET}" for name in done[:MAX_SHEETS])
    pictures = {  # numbered: files of like names would clash
        f"{number}. {path.partition('/')[0]}": np.asarray(Image.open(io.BytesIO(content)))
        for number, (path, content) in enumerate(sheets.items(), 1)
    }
    lines = notes(found)
    if len(done) > MAX_SHEETS:
        lines.append(f"Shown are the first {MAX_SHEETS} sheets; {MATRIX_FILE} shows every video.")
    files = report_files(f"Photos and dances: {len(cells)} cells", rows, pictures, lines)
    for name, content in (*files.items(), (MATRIX_FILE, matrix_page(cells, found))):
        store.files.write(name, content)
    return f"{store.files.place}/{PAGE_FILE}"


def with_metrics(cells: Iterable[Cell], store: ResultStore) -> dict[str, dict]:
    """Return by name what is known of each cell: its cell.json with its metrics, or that it was not run."""
    found = store.results(cells)
    for cell in cells:
        result = found.setdefault(cell.name, {"status": NOT_RUN})
        if result["status"] == DONE:
            result |= store.metrics(cell, result)
    return found


def group(pair: Pair) -> str:
    return ", ".join(filter(None, (pair.category, pair.misalignment)))


def row(pair: Pair, result: dict, grouped: bool) -> dict:
    seconds = {"seconds": result["seconds"]} if "seconds" in result else {}
    heading = {"group": group(pair) or "-"} if grouped else {}
    return {"name": pair.name, **heading, **result.get("metrics", {}), **seconds, "status": result["status"]}


def notes(found: dict[str, dict]) -> list[str]:
    counts = Counter(result["status"] for result in found.values())
    wrong = ((name, result.get("error") or result.get("metrics_error")) for name, result in found.items())
    return [", ".join(f"{count} {status}" for status, count in sorted(counts.items()))] + [
        f"{name}: {error}" for name, error in wrong if error
    ]
