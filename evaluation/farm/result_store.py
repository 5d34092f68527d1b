"""The results of a run: for each cell a folder with its video, metrics, sheet, and last of all cell.json.

A folder without a cell.json that can be read is no result, so what is written is there whole or not at all.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from ...media.file_hash import file_sha256
from .cell import DONE, FAILED, POISONED, Cell, Outcome, ServerIdentity
from .cell_queue import Keeper
from .cell_sets import Pair
from .result_files import ResultFiles

MANIFEST, METRICS, SHEET = "cell.json", "metrics.json", "sheet.png"
VIDEO = "video"
Measure = Callable[[Cell, bytes, str], tuple[dict, bytes]]  # cell, video, suffix -> metrics.json, sheet.png
READERS = min(8, os.cpu_count() or 1)


class ResultStore(Keeper):
    """Results at a place. retry_failed: those that failed or were set aside count as missing.

    measure(cell, video, suffix) returns the content of metrics.json, and sheet.png or b"".
    """

    def __init__(self, files: ResultFiles, measure: Measure, retry_failed: bool = False):
        self.files, self.measure, self.retry_failed = files, measure, retry_failed

    def unfinished(self, cells: Sequence[Cell], identity: ServerIdentity | None) -> list[Cell]:
        """Return the cells to do; without an identity a result of any servers counts."""
        found = self.results(cells, identity)
        final = {DONE} if self.retry_failed else {DONE, FAILED, POISONED}
        return [cell for cell in cells if found.get(cell.name, {}).get("status") not in final]

    def results(self, cells: Iterable[Cell], identity: ServerIdentity | None = None) -> dict[str, dict]:
        """Return by name the cell.json of each cell that has one, of these files, workflow and seed, and identity."""
        by_path = {f"{cell.name}/{MANIFEST}": cell for cell in cells}
        found = {}
        for path, content in self.files.read_all(by_path).items():
            cell, manifest = by_path[path], _parsed(content)
            if manifest and is_of(manifest, cell, identity):
                found[cell.name] = manifest
        return found

    def keep(self, cell: Cell, identity: ServerIdentity, outcome: Outcome) -> None:
        """Write a cell's result; an older one of the same name is gone first."""
        self.files.remove(f"{cell.name}/{MANIFEST}")
        manifest = {
            "status": outcome.status,
            "error": outcome.error,
            "worker": outcome.worker,
            "attempts": outcome.attempts,
            **about(cell),
            "key": cell.key(identity),
            "fingerprint": identity.fingerprint,
            "pack_version": identity.pack_version,
            "models": dict(identity.models),
        }
        if outcome.output is not None:
            output = outcome.output
            file = f"{VIDEO}{output.suffix}"
            self.files.write(f"{cell.name}/{file}", output.video)
            digest = sha256(output.video).hexdigest()
            manifest |= {"file": file, "file_sha256": digest, "seconds": output.seconds, "prompt_id": output.prompt_id}
            self._write_metrics(cell, output.video, output.suffix, digest)
        self.files.write(f"{cell.name}/{MANIFEST}", json.dumps(manifest, indent=2).encode())

    def metrics(self, cell: Cell, manifest: dict) -> dict:
        """Return the metrics of a cell that is done, measured anew where its ground truth is another than before."""
        found = _parsed(self.files.read(f"{cell.name}/{METRICS}") or b"")
        if found and found.get("metrics_of") == measured_of(cell, manifest["file_sha256"]):
            return found
        video = self.files.read(f"{cell.name}/{manifest['file']}")
        if video is None:
            return {"metrics": {}, "metrics_error": f"There is no {manifest['file']} any more."}
        return self._write_metrics(cell, video, Path(manifest["file"]).suffix, manifest["file_sha256"])

    def _write_metrics(self, cell: Cell, video: bytes, suffix: str, digest: str) -> dict:
        metrics, sheet = self.measure(cell, video, suffix)
        metrics["metrics_of"] = measured_of(cell, digest)
        if sheet:
            self.files.write(f"{cell.name}/{SHEET}", sheet)
        self.files.write(f"{cell.name}/{METRICS}", json.dumps(metrics, indent=2).encode())
        return metrics


def make_cells(pairs: Sequence[Pair], workflow_sha256: str, seed: int | None) -> list[Cell]:
    """Return the cells of the pairs; every file is read once, for its hash."""
    wanted = {file for pair in pairs for file in (pair.photo, pair.video, pair.photo_poses, pair.driving_poses) if file}
    with ThreadPoolExecutor(READERS) as pool:
        hashes = dict(zip(wanted, pool.map(hash_or_nothing, wanted), strict=True))
    return [
        Cell(
            pair,
            {
                "photo": hashes[pair.photo],
                "video": hashes[pair.video],
                "photo_poses": hashes[pair.photo_poses] if pair.photo_poses else None,
                "driving_poses": hashes[pair.driving_poses] if pair.driving_poses else None,
            },
            workflow_sha256,
            seed,
        )
        for pair in pairs
    ]


def hash_or_nothing(file: Path) -> str:
    """Return a file's sha256, "" where it cannot be read: its cells fail when they open it, with the reason."""
    try:
        return file_sha256(file)
    except OSError:
        return ""


def about(cell: Cell) -> dict:
    """Return what cell.json says of the cell itself."""
    pair = cell.pair
    names = {"photo": str(pair.photo), "video": str(pair.video), "category": pair.category}
    return {"name": cell.name, **names, "misalignment": pair.misalignment, "labels": pair.labels, **cell.work()}


def is_of(manifest: dict, cell: Cell, identity: ServerIdentity | None) -> bool:
    """Return whether a cell.json is of this cell, and of servers of this identity where one is given."""
    if identity is not None:
        return manifest.get("key") == cell.key(identity)
    return cell.work().items() <= manifest.items()


def measured_of(cell: Cell, video_sha256: str) -> dict:
    truth = hash_or_nothing(cell.pair.truth) if cell.pair.truth else ""
    return {"video": video_sha256, "truth": truth}


def _parsed(content: bytes) -> dict:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and (found.get("status") or "metrics" in found) else {}
