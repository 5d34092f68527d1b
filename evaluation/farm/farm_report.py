"""Measure the finished pairs of an X-Dance run and put all pairs into one report, by category and misalignment.

Metrics and the sheet of a pair are kept in its folder and made again only when its video or its ground truth changed.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from av.error import FFmpegError
from PIL import Image

from ...media.atomic_write import atomic_write
from ...media.clips import BACKGROUND, frame_rate, pick, read_frames, read_photo, row_of
from .cell_sets import Pair
from .run_queue import DONE, Results

SHEET, TILE_HEIGHT, TIMES = "sheet.png", 112, 6
NOT_RUN = "not run"


def measure(pair: Pair, results: Results) -> dict:
    result = results.result(pair)
    if not result or result["status"] != DONE:
        return result or {"status": NOT_RUN}
    of = {"video": result["file_sha256"], "truth": results.sha256(pair.truth) if pair.truth else ""}
    sheet = results.of(pair) / SHEET
    if result.get("metrics_of") == of and sheet.is_file():
        return result
    result |= {"metrics": {}, "metrics_error": "", "metrics_of": of}
    try:
        result["metrics"] = metrics_of(pair, results.of(pair) / result["file"])
        draw_sheet(pair, results.of(pair) / result["file"], sheet)
    except (ValueError, FFmpegError, ImportError) as error:
        result["metrics_error"] = str(error)
    results.keep(pair, result)
    return result


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


def draw_sheet(pair: Pair, video: Path, target: Path) -> None:
    """Write a PNG: the photo, then driving video, result and ground truth below each other at six times."""
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
    with atomic_write(target) as part:
        Image.fromarray(np.concatenate([np.asarray(strip) for strip in strips])).save(part, "PNG")


def report(pairs: Sequence[Pair], results: Results) -> tuple[Path, Path]:
    """Measure what is not measured yet, write report.html and report.md into the folder of the run, return both."""
    from ..evaluation_report import report_files, write_report  # see `metrics_of`

    pairs = sorted(pairs, key=lambda pair: (group(pair), pair.name))
    found = {pair.name: measure(pair, results) for pair in pairs}
    grouped = any(map(group, pairs))
    rows = [row(pair, found[pair.name], grouped) for pair in pairs]
    sheets = ((p.name, results.of(p) / SHEET) for p in pairs if found[p.name]["status"] == DONE)
    there = [(name, file) for name, file in sheets if file.is_file()]  # numbered: files of like names would clash
    pictures = {f"{number}. {name}": np.asarray(Image.open(file)) for number, (name, file) in enumerate(there, 1)}
    files = report_files(f"X-Dance: {len(pairs)} pairs", rows, pictures, notes(found))
    return write_report(results.folder, files)


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
