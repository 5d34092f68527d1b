"""The cells that are still to do, between the driver and an engine: handed out, counted, set aside, kept."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import BoundedSemaphore, Condition
from typing import Protocol

from .cell import DONE, FAILED, POISONED, Cell, CellOutput, Outcome, ServerIdentity

MAX_ATTEMPTS = 3
KEEPERS, MAX_UNKEPT = 2, 8  # threads that measure and write; finished videos in memory


class Keeper(Protocol):
    """Where results are kept; both methods are the driver's."""

    def unfinished(self, cells: Sequence[Cell], identity: ServerIdentity) -> list[Cell]:
        """Return those without a result from servers of this identity."""

    def keep(self, cell: Cell, identity: ServerIdentity, outcome: Outcome) -> None:
        """Keep a cell's result, whole or not at all; OSError where it cannot be written."""


class CellQueue:
    """Hands out cells; safe to use from any thread.

    From any thread are called: on_change() after every change, on_end(cell, outcome) when a cell's result is kept, and
    on_note(text) with what the user should read.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        keeper: Keeper,
        on_change: Callable[[], None] = lambda: None,
        on_end: Callable[[Cell, Outcome], None] = lambda *_: None,
        on_note: Callable[[str], None] = lambda _: None,
    ):
        self.cells, self.keeper, self.on_change, self.on_end, self.on_note = cells, keeper, on_change, on_end, on_note
        self.identity: ServerIdentity | None = None
        self.ended: dict[str, Outcome] = {}  # by the cell's name, of this run
        self.workers: set[str] = set()
        self.error: BaseException | None = None  # why results cannot be kept any more
        self._pending: deque[Cell] = deque()
        self._running: dict[str, dict[str, Cell]] = defaultdict(dict)
        self._keeping = 0
        self._attempts: Counter[str] = Counter()
        self._changed = Condition()
        self._room = BoundedSemaphore(MAX_UNKEPT)
        self._pool = ThreadPoolExecutor(KEEPERS, "keep")

    def join(self, worker: str, identity: ServerIdentity) -> bool:
        """Return whether the worker may take cells; the first to join sets the identity of all."""
        with self._changed:
            first = self.identity is None
            if first:
                try:
                    self._pending.extend(self.keeper.unfinished(self.cells, identity))
                except OSError as error:
                    self.error = error
                self.identity = identity
            known = self.identity
            joined = known == identity
            if joined:
                self.workers.add(worker)
            self._changed.notify_all()
        if first:
            finished = len(self.cells) - self.pending
            self.on_note(f"{len(self.cells)} cells, {finished} of them finished before")
        if not joined and known is not None:
            self.on_note(f"{worker} gets no cells: it has {known.difference(identity)}. Make all servers the same.")
        self.on_change()
        return joined

    def leave(self, worker: str, reason: str = "") -> None:
        """Take a worker out whose cells have ended or were given back; a reason is shown."""
        with self._changed:
            self.workers.discard(worker)
            self._changed.notify_all()
        if reason:
            self.on_note(f"{worker}: {reason}")
        self.on_change()

    def take(self, worker: str, may: Callable[[Cell], bool] = lambda _: True) -> Cell | None:
        """Return the next cell for a worker that joined, the first for which `may` holds; None if there is none now."""
        with self._changed:
            if self.error is not None or worker not in self.workers:
                return None
            cell = next(filter(may, self._pending), None)
            if cell is None:
                return None
            self._pending.remove(cell)
            self._running[worker][cell.name] = cell
        self.on_change()
        return cell

    def finish(self, worker: str, cell: Cell, output: CellOutput) -> None:
        """End a cell with its video, which is measured and written in another thread."""
        self._end(worker, cell, DONE, "", output)

    def fail(self, worker: str, cell: Cell, error: str) -> None:
        """End a cell that would fail on every worker."""
        self._end(worker, cell, FAILED, error)

    def give_back(self, worker: str, cell: Cell, error: str = "") -> None:
        """Let another worker try; with an error that counts as an attempt, and the third sets the cell aside."""
        with self._changed:
            self._attempts[cell.name] += bool(error)
            poisoned = self._attempts[cell.name] >= MAX_ATTEMPTS
            if not poisoned:
                self._running[worker].pop(cell.name)
                self._pending.append(cell)
                self._changed.notify_all()
        if poisoned:
            self._end(worker, cell, POISONED, error)
            return
        if error:
            self.on_note(f"{cell.name} goes to another worker: {error}")
        self.on_change()

    @property
    def over(self) -> bool:
        """True when nothing is pending, running or being written, or the results cannot be written any more."""
        with self._changed:
            return self._over()

    @property
    def pending(self) -> int:
        """How many cells wait to be taken."""
        return len(self._pending)

    def running(self) -> dict[str, list[Cell]]:
        """Return the cells that each worker runs."""
        with self._changed:
            return {worker: list(self._running[worker].values()) for worker in sorted(self.workers)}

    def was_tried(self, cell: Cell) -> bool:
        """Return whether the cell was given back with an error: it may be what ended its worker."""
        return bool(self._attempts[cell.name])

    def wait(self, seconds: float) -> None:
        """Wait until something changes, at most `seconds`; return at once when over."""
        with self._changed:
            if not self._over():
                self._changed.wait(seconds)

    def abort(self, error: Exception) -> None:
        """Hand out nothing more, and be over."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()

    def close(self) -> None:
        """Wait until everything that was finished is written."""
        self._pool.shutdown()

    def _over(self) -> bool:
        busy = self._pending or any(self._running.values()) or self._keeping
        return self.error is not None or (self.identity is not None and not busy)

    def _end(self, worker: str, cell: Cell, status: str, error: str, output: CellOutput | None = None) -> None:
        outcome = Outcome(status, worker, self._attempts[cell.name] + (status != POISONED), error, output)
        self._room.acquire()
        with self._changed:
            self._running[worker].pop(cell.name)
            self._keeping += 1
        assert self.identity is not None
        kept = self._pool.submit(self.keeper.keep, cell, self.identity, outcome)
        kept.add_done_callback(lambda kept: self._kept(cell, outcome, kept.exception()))

    def _kept(self, cell: Cell, outcome: Outcome, error: BaseException | None) -> None:
        self._room.release()
        with self._changed:
            self._keeping -= 1
            if error is None:
                self.ended[cell.name] = replace(outcome, output=None)
            self.error = self.error or error
            self._changed.notify_all()
        if error is None:
            self.on_end(cell, outcome)
        self.on_change()
