"""Run a folder of photos times a folder of videos through ComfyUI's queue, as X-Dance does: one report for all pairs.

    python -m evaluation.farm PHOTOS VIDEOS --workflow workflows/dance_from_video.json --server 127.0.0.1:8188

PHOTOS and VIDEOS are any folders, or both X-Dance's own: Ref-... folders of photos beside the driving videos. Run it in
the pack's folder with ComfyUI's Python. A run that was stopped goes on where it stopped when the same command is given
again. Without --server a ComfyUI is started on the CPU with this pack and its miniature; COMFYUI_PATH says where it is.
Exit status: 0 when every pair is done, 1 after an error in words, 3 when pairs failed, 4 when the server went away, 130
after Ctrl-C.
"""

import argparse
import itertools
import sys
from contextlib import ExitStack
from pathlib import Path

import requests

from ...comfy_client.client import ComfyClient, ServerGone
from ...comfy_client.comfyui_places import find_comfyui
from ...comfy_client.in_process import PACK
from ...comfy_client.process import ComfyProcess, StartFailed
from ...comfy_client.program import FAILED, INTERRUPTED
from ...miniature import write_all
from .cell_prompt import read_template
from .cell_sets import COLUMNS, FILE_COLUMNS, PAIRS_FILE, Pair, find_pairs
from .farm_report import measure, report
from .run_queue import DONE, Results, Runner, say, to_do

PAIRS_FAILED, SERVER_GONE = 3, 4
RETRIES = 4  # after waits of 0, 2, 4 and 8 s: a server that is only slow is not given up
AGAIN = "The same command goes on from here."


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return run(options)
    except ServerGone as error:
        sys.stderr.write(f"Error: {error} {AGAIN}\n")
        return SERVER_GONE
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
    parser.add_argument("--server", help="HOST:PORT of a ComfyUI that runs; without it one is started")
    parser.add_argument("--output", type=Path, default=PACK / "output" / "xdance", help="results: %(default)s")
    parser.add_argument("--pairs", type=Path, help=f"CSV or JSON: {', '.join(COLUMNS + FILE_COLUMNS)}")
    parser.add_argument("--limit", type=_positive, help="run only the first N pairs")
    parser.add_argument("--seed", type=int, help="seed of every pair's noise; the workflow's if not given")
    parser.add_argument("--retry-failed", action="store_true", help="run the pairs again that failed")
    for what in ("photo", "video", "result"):
        kind = "saves the result" if what == "result" else f"loads the {what}"
        parser.add_argument(f"--{what}-node", metavar="ID", help=f"id or title of the node that {kind}")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of pairs, 1 or more")
    return int(text)


def run(options: argparse.Namespace) -> int:
    nodes = options.photo_node, options.video_node, options.result_node
    results = Results(options.output, read_template(options.workflow, *nodes, options.seed))
    pairs = find_pairs(options.photos, options.videos, options.pairs, options.output)[: options.limit]
    file = options.photos / PAIRS_FILE
    if options.pairs is None and file.is_file():
        say(f"There is a {file}. Give it with --pairs to run its pairs only, under its labels.")
    missing = to_do(pairs, results, options.retry_failed)
    say(f"{len(pairs)} pairs, {len(pairs) - len(missing)} of them finished before")
    try:
        if missing:
            run_pairs(options.server, missing, results)
    except ServerGone:
        if len(missing) < len(pairs) or any(map(results.result, pairs)):
            finish(pairs, results)
        raise
    return finish(pairs, results)


def run_pairs(address: str | None, pairs: list[Pair], results: Results) -> None:
    """Run the pairs at the server, or at one that is started for them; each is measured while the next one runs."""
    with ExitStack() as stack:
        if address is None:
            try:
                comfyui = find_comfyui(PACK)
            except ValueError:
                raise ValueError("Give --server HOST:PORT, or let COMFYUI_PATH name a ComfyUI to start.") from None
            own = stack.enter_context(ComfyProcess(comfyui, PACK))
            write_all(own.base / "models", own.base / "input")
            address = own.address
        client = stack.enter_context(ComfyClient(address, RETRIES))
        client.check()
        runner = Runner(client, results)
        say(f"ComfyUI at {client.address}")
        count = itertools.count(1)

        def on_kept(pair: Pair, result: dict) -> None:
            seconds = f", {result['seconds']:.1f} s" if result.get("seconds") else ""
            error = f": {result['error']}" if result.get("error") else ""
            say(f"{next(count)} of {len(pairs)}  {pair.name}: {result['status']}{seconds}{error}")
            measure(pair, results)

        runner.run(pairs, on_kept)


def finish(pairs: list[Pair], results: Results) -> int:
    files = report(pairs, results)
    done = sum((results.result(pair) or {}).get("status") == DONE for pair in pairs)
    say(f"{done} of {len(pairs)} pairs are done. Report: {files[0]} and {files[1].name}")
    if done == len(pairs):
        return 0
    say("The report says what went wrong. Failed pairs are run again with --retry-failed.")
    return PAIRS_FAILED


if __name__ == "__main__":
    sys.exit(main())
