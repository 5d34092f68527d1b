"""What an engine does for the farm. Keys, resume, results and report know nothing of it.

An engine is given a `CellQueue` and runs its cells on workers, each a ComfyUI. For one ComfyUI, `CellRunner` does all
that has to be done with a cell. The shape of an engine that has one worker:

    def run(self, queue):
        if not queue.join("worker 1", runner.identity()):
            return
        while not queue.over:
            cell = queue.take("worker 1")
            if cell is None:
                queue.wait(1)
                continue
            try:
                queue.finish("worker 1", cell, runner.run(cell))
            except CellFailed as error:
                queue.fail("worker 1", cell, str(error))
            except (CellStopped, ServerGone) as error:
                queue.give_back("worker 1", cell, str(error))
"""

from typing import Protocol

from .cell_queue import CellQueue


class NoWorkers(ConnectionError):
    """No worker could be reached or started, or all of them are gone and do not come back."""


class Engine(Protocol):
    """Runs the cells of a queue on workers."""

    def run(self, queue: CellQueue) -> None:
        """Run until `queue.over`. It is called once, in the main thread.

        A worker is any name that a person recognizes, such as an address; it is unique among those at work.

        - Every worker joins before it takes: `queue.join(worker, identity)`, the identity from one probe prompt
          (`CellRunner.identity`). False means that the worker is another than the first and gets no cells. The first
          join decides which cells there are to do.
        - Each cell that `take` returned ends in exactly one of `finish`, `fail` and `give_back`, also when its worker
          dies: then `give_back` with the cause, and `queue.leave(worker, cause)`.
        - `take` returns None when there is nothing to take now; until `queue.over` a cell may be given back, so an
          engine waits (`queue.wait`) and asks again. Once `queue.over` is true nothing of the engine runs any more.
        - `fail` is for what would fail on every worker (CellFailed), `give_back` with an error for what another attempt
          may do; the queue counts these and sets a cell aside after three. `give_back` without an error counts nothing:
          it is for cells that were not begun or are stopped by Ctrl-C.
        - Workers that join late get work; those that are gone are tried again now and then.
        - Before it returns or raises, KeyboardInterrupt included, it stops what still runs, gives running cells back
          without an error, and ends what it started. A second KeyboardInterrupt may cut that short.
        - Raise NoWorkers when nobody is left to run cells and nobody is expected.

        All methods of the queue may be called from any thread. None of them raises for a cell's sake.
        """
