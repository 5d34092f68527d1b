"""The progress of a run: a bar on a terminal, with a line for each failed cell; elsewhere a line for each cell."""

import sys
from collections import Counter
from threading import Lock

from .cell import DONE, Cell, Outcome
from .cell_queue import CellQueue

SHOWN_WORKERS, SHOWN_NAME = 4, 24  # workers, and characters of a cell's name


class Progress:
    """Shows a queue's cells until `close`; on_change, on_end and on_note are the queue's."""

    def __init__(self, total: int):
        from tqdm import tqdm  # ComfyUI requires it

        self.queue: CellQueue | None = None
        self.is_terminal = sys.stderr.isatty()
        self.ended = 0
        self._lock = Lock()
        self._bar = tqdm(total=total, unit="cell", smoothing=0, dynamic_ncols=True, disable=not self.is_terminal)
        self._started = False

    def on_change(self) -> None:
        queue = self.queue
        if queue is None or queue.identity is None or not self.is_terminal:
            return
        with self._lock:
            if not self._started:
                self._bar.initial = self._bar.n = len(queue.cells) - queue.pending
                self._started = True
            self._bar.n = self._bar.initial + len(queue.ended)
            self._bar.set_postfix_str(describe(queue))

    def on_end(self, cell: Cell, outcome: Outcome) -> None:
        with self._lock:
            self.ended += 1
        if self.is_terminal and outcome.status == DONE:
            return
        error = f": {outcome.error}" if outcome.error else ""
        seconds = f", {outcome.output.seconds:.1f} s" if outcome.output else ""
        self.on_note(f"{cell.name}: {outcome.status}{seconds} at {outcome.worker}{error}")

    def on_note(self, text: str) -> None:
        with self._lock:
            self._bar.write(text)
            sys.stdout.flush()

    def close(self) -> None:
        self._bar.close()


def describe(queue: CellQueue) -> str:
    """Return how many cells failed and what each worker runs."""
    counts = Counter(outcome.status for outcome in list(queue.ended.values()))
    failed = counts.total() - counts[DONE]
    running = [(worker, cells[0].name[:SHOWN_NAME]) for worker, cells in queue.running().items() if cells]
    shown = [f"{worker} {name}" for worker, name in running[:SHOWN_WORKERS]]
    if len(running) > SHOWN_WORKERS:
        shown.append(f"{len(running) - SHOWN_WORKERS} more")
    return "; ".join([f"{failed} failed", *shown])
