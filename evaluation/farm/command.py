"""Run a folder of photos times a folder of videos on ComfyUI servers, as X-Dance does: one report for all cells.

    python -m evaluation.farm PHOTOS VIDEOS --workflow "workflows/3 Fast, 4 steps.json" --output RESULTS \\
        --server 192.168.1.20:8188 --server 192.168.1.21:8188

PHOTOS and VIDEOS are any folders, or both X-Dance's own: Ref-... folders of photos beside the driving videos. Run it in
the pack's folder with ComfyUI's Python. A run that was stopped or killed goes on where it stopped when the same command
is given again; servers may come and go. Without --server a ComfyUI is started on the CPU with this pack and its
miniature; COMFYUI_PATH says where it is. Exit status: 0 when every cell is done, 1 after an error in words, 3 when
cells failed, 4 when no server is left, 130 after Ctrl-C.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

from ...comfy_client.client import ServerGone
from ...comfy_client.in_process import PACK
from ...comfy_client.process import StartFailed
from ...comfy_client.program import FAILED, INTERRUPTED
from .cell import DONE, Cell
from .cell_prompt import read_template
from .cell_queue import CellQueue
from .cell_sets import COLUMNS, FILE_COLUMNS, PAIRS_FILE, find_pairs
from .engine import Engine, NoWorkers
from .engines import ENGINES, add_options
from .farm_report import NOT_RUN, measure, report
from .progress import Progress
from .result_files import open_place
from .result_store import ResultStore, make_cells
from .run_lock import RunLock

CELLS_FAILED, NO_WORKERS = 3, 4
AGAIN = "The same command goes on from here."


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return run(options)
    except (NoWorkers, ServerGone) as error:
        sys.stderr.write(f"Error: {error} {AGAIN}\n")
        return NO_WORKERS
    except (ValueError, OSError, StartFailed, requests.RequestException) as error:
        sys.stderr.write(f"Error: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write(f"Stopped. {AGAIN}\n")
        return INTERRUPTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    how = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m evaluation.farm", description=__doc__, formatter_class=how)
    parser.add_argument("photos", type=Path, help="folder of photos; the folders in it are categories")
    parser.add_argument("videos", type=Path, help="folder of driving videos; may be the same one")
    parser.add_argument("--workflow", type=Path, required=True, help="a saved workflow, or one in API form")
    parser.add_argument(
        "--output", default=str(PACK / "output" / "xdance"), help="folder or fsspec URL of the results: %(default)s"
    )
    add_options(parser)
    parser.add_argument("--pairs", type=Path, help=f"CSV or JSON: {', '.join(COLUMNS + FILE_COLUMNS)}")
    parser.add_argument("--limit", type=_positive, help="run only the first N cells")
    parser.add_argument("--seed", type=int, help="seed of every cell's noise; the workflow's if not given")
    parser.add_argument("--retry-failed", action="store_true", help="run the cells again that failed")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the cells and what exists already, and run nothing"
    )
    for what in ("photo", "video", "result"):
        kind = "saves the result" if what == "result" else f"loads the {what}"
        parser.add_argument(f"--{what}-node", metavar="ID", help=f"id or title of the node that {kind}")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of cells, 1 or more")
    return int(text)


def run(options: argparse.Namespace) -> int:
    nodes = options.photo_node, options.video_node, options.result_node
    template = read_template(options.workflow, *nodes, options.seed)
    files = open_place(options.output)
    leave_out = None if "://" in options.output else Path(options.output)
    pairs = find_pairs(options.photos, options.videos, options.pairs, leave_out)[: options.limit]
    file = options.photos / PAIRS_FILE
    if options.pairs is None and file.is_file():
        say(f"There is a {file}. Give it with --pairs to run its pairs only, under its labels.")
    cells = make_cells(pairs, template.sha256, options.seed)
    store = ResultStore(files, measure, options.retry_failed)
    if options.dry_run:
        return dry_run(cells, store)
    with RunLock(files) as lock, ExitStack() as stack:
        engine = ENGINES[options.engine](options, template, stack)
        try:
            run_cells(engine, cells, store, lock)
        except NoWorkers:
            if store.results(cells):
                finish(cells, store)
            raise
        return finish(cells, store)


def run_cells(engine: Engine, cells: Sequence[Cell], store: ResultStore, lock: RunLock) -> None:
    """Run what has no result yet; ValueError when results cannot be written any more."""
    progress = Progress(len(cells))
    queue = CellQueue(cells, store, progress.on_change, progress.on_end, progress.on_note)
    progress.queue, lock.on_lost = queue, queue.abort
    try:
        engine.run(queue)
    finally:
        queue.close()
        progress.close()
    if isinstance(queue.error, OSError):
        raise ValueError(
            f"A result cannot be written to {store.files.place}: {queue.error.strerror or queue.error}. Free some "
            f"space and make it writable. {AGAIN}"
        ) from queue.error
    if queue.error:
        raise queue.error


def dry_run(cells: Sequence[Cell], store: ResultStore) -> int:
    """Print what is known of each cell. Which servers made a result is compared when a run begins."""
    found = store.results(cells)
    statuses = [found.get(cell.name, {}).get("status", NOT_RUN) for cell in cells]
    say("\n".join(f"{cell.name}: {status}" for cell, status in zip(cells, statuses, strict=True)))
    counts = ", ".join(f"{count} {status}" for status, count in sorted(Counter(statuses).items()))
    say(
        f"{len(cells)} cells: {counts}. Results of servers with other models or another version of the pack are redone."
    )
    return 0


def finish(cells: Sequence[Cell], store: ResultStore) -> int:
    page = report(cells, store)
    done = sum(result["status"] == DONE for result in store.results(cells).values())
    say(f"{done} of {len(cells)} cells are done. Report: {page}; every clip: matrix.html beside it")
    if done == len(cells):
        return 0
    say("The report says what went wrong. Failed cells are run again with --retry-failed.")
    return CELLS_FAILED


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
