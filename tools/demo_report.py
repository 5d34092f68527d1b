"""What the demo prints: progress while it runs, files, times and memory at the end."""

import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from steadydancer_pack.media.atomic_write import atomic_write_new
from steadydancer_pack.media.clips import contact_sheet, read_photo


class Stopwatch:
    """Seconds by stage, in the order of their ends."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        since = time.monotonic()
        yield
        self.stages[name] = time.monotonic() - since
        sys.stdout.write(f"{name}: {self.stages[name]:.1f} s\n")

    def add_nodes(self, node_seconds: dict[str, float], prompt: dict) -> None:
        """Add ComfyUI's nodes under their titles; equal titles are summed."""
        for node_id, seconds in node_seconds.items():
            title = prompt[node_id]["_meta"]["title"]
            self.stages[title] = self.stages.get(title, 0.0) + seconds


class ProgressLines:
    def __init__(self, prompt: dict):
        self.prompt = prompt
        self.last = ""

    def on_event(self, kind: str, data: dict) -> None:
        if kind == "executing" and data["node"] is not None:
            self._write(self.prompt[data["node"]]["_meta"]["title"])
        elif kind == "progress":
            self._write(f"  {data['value']:.0f} of {data['max']:.0f}")

    def _write(self, line: str) -> None:
        if line != self.last:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        self.last = line


def keep_results(video: Path, photo: Path, shown: dict[str, Path], folder: Path) -> tuple[Path, Path]:
    """Copy the video into `folder`, draw its contact sheet beside it, return both. shown: videos by their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = time.strftime("steadydancer_%Y%m%d_%H%M%S")
    stems = (stem, *(f"{stem}_{number}" for number in range(2, 100)))  # other demos may end in the same second
    with atomic_write_new([folder / f"{name}{video.suffix}" for name in stems]) as new:
        shutil.copyfile(video, new.part)
    sheet = new.path.with_suffix(".png")
    contact_sheet(read_photo(photo), shown, new.path, sheet)
    return new.path, sheet


def write_metrics(
    results: tuple[Path, Path], notes: list[str], previews: int, peak_memory: int, watch: Stopwatch
) -> None:
    rows = [(f"{seconds:8.1f} s", name) for name, seconds in watch.stages.items()]
    total = time.monotonic() - watch.started
    rows += [(f"{total:8.1f} s", "in all"), (f"{peak_memory / 1e6:7.0f} MB", "most memory ComfyUI held")]
    rows += [(f"{previews:8d}  ", "previews while sampling")]
    lines = [f"{value}  {name}" for value, name in rows]
    lines += ["", *notes, "", f"Video:         {results[0]}", f"Contact sheet: {results[1]}"]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
