"""A worker of the Ray engine, in an actor's process: it starts and owns a headless ComfyUI and runs cells at it."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from ...comfy_client.client import ServerGone
from ...comfy_client.comfyui_places import find_comfyui
from ...comfy_client.in_process import PACK
from ...comfy_client.process import ComfyProcess
from ...miniature import write_all
from .cell import FILES, Cell, CellFailed, CellOutput, ServerIdentity
from .cell_prompt import PromptTemplate
from .cell_runner import CellRunner
from .pose_steps import pose_nodes, pose_prompt

BASE_PREFIX = "steadydancer-worker-"
RECEIVED = "received"
POSE_CACHE = "user/steadydancer/pose_cache"
LOG_LINES = 12
END_SECONDS = 2
NOT_MODELS = {"custom_nodes", "configs"}


class Started(NamedTuple):
    """A worker that is ready: what its server reports, the id of its machine in Ray, and the prompt's `pose_nodes`."""

    identity: ServerIdentity
    node: str
    pose_nodes: dict[str, tuple[str, ...]]


class RayWorker:
    """Owns a ComfyUI between `start` and `stop`; ServerGone, with the end of its log, when it has ended.

    Files come as (path below the base directory, content), each once; `received_path` says where a cell's are.
    """

    server: ComfyProcess
    runner: CellRunner

    def __init__(self, node: str):
        self.node = node

    def start(self, template: PromptTemplate, cpu: bool, models: str | None, poll_seconds: float) -> Started:
        """Start the ComfyUI and run the probe prompt. StartFailed, ValueError.

        models: folder of models on this machine, its ComfyUI's own if None.
        """
        remove_left_behind()
        comfyui = find_comfyui(PACK)
        self.base = Path(tempfile.mkdtemp(prefix=f"{BASE_PREFIX}{os.getpid()}-"))
        write_all(self.base / "models", self.base / "input")
        paths = self.base / "model_paths.json"  # JSON is YAML
        paths.write_text(json.dumps({"farm": model_paths(Path(models or comfyui / "models"))}), "utf-8")
        options = ("--extra-model-paths-config", str(paths))
        self.server = ComfyProcess(comfyui, PACK, self.base, options, cpu, ends_with_parent=True)
        self.server.start()
        self.runner = CellRunner(self.server.client, template, poll_seconds)
        nodes = pose_nodes(self.runner.prompt, template)
        return Started(self.runner.identity(), self.node, nodes)

    def poses(
        self, cell: Cell, node_ids: Sequence[str], paths: Sequence[str], contents: Sequence[bytes]
    ) -> dict[str, bytes]:
        """Run the pose steps of a cell; return the files, by name, that they added to the cache of poses.

        A step that fails leaves none: the cell itself says why.
        """
        here = self._receive(cell, paths, contents)
        cache = self.base / POSE_CACHE
        before = set(cache.glob("*.npz"))
        try:
            prompt = pose_prompt(self.runner.filled(here), node_ids)
            self.runner.ended(self.runner.client.queue(prompt, prompt_id=str(uuid.uuid4())))
        except ServerGone as error:
            raise self._gone(error) from None
        except (ValueError, OSError):
            return {}
        return {file.name: file.read_bytes() for file in sorted({*cache.glob("*.npz")} - before)}

    def run(self, cell: Cell, paths: Sequence[str], contents: Sequence[bytes]) -> CellOutput:
        """Run a cell. CellFailed, CellStopped, ServerGone."""
        try:
            return self.runner.run(self._receive(cell, paths, contents))
        except ServerGone as error:
            raise self._gone(error) from None
        except OSError as error:
            raise CellFailed(f"Its files cannot be written on {socket.gethostname()}: {error}") from error

    def stop(self) -> None:
        """End the ComfyUI, also while a cell runs, and remove what it left on the disk."""
        self.server.stop()
        shutil.rmtree(self.base, ignore_errors=True)

    def _receive(self, cell: Cell, paths: Sequence[str], contents: Sequence[bytes]) -> Cell:
        """Write the files; return the cell with its own as they lie here."""
        for path, content in zip(paths, contents, strict=True):
            target = self.base / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return cell.with_files(**{name: self.base / received_path(cell, name) for name in files_of(cell)})

    def _gone(self, error: ServerGone) -> ServerGone:
        try:
            what = f"ComfyUI ended with exit code {self.server.process.wait(END_SECONDS)}."
        except subprocess.TimeoutExpired:  # it runs, and does not answer
            what = str(error)
        tail = "\n".join(self.server.log().splitlines()[-LOG_LINES:])
        return ServerGone(f"{socket.gethostname()}: {what} The end of its log:\n{tail}")


def files_of(cell: Cell) -> list[str]:
    """Return which of FILES the cell has."""
    return [name for name in FILES if getattr(cell.pair, name)]


def received_path(cell: Cell, name: str) -> str:
    """Return where one of the cell's files lies below a worker's base directory."""
    return f"{RECEIVED}/{cell.hashes[name]}/{getattr(cell.pair, name).name}"


def model_paths(models: Path) -> dict[str, str]:
    """Return a section of ComfyUI's extra_model_paths.yaml for every folder in `models`; ValueError if it is none."""
    if not models.is_dir():
        raise ValueError(f"There is no folder {models} on {socket.gethostname()}. Give one with --models.")
    folders = sorted(folder.name for folder in models.iterdir() if folder.is_dir() and folder.name not in NOT_MODELS)
    return {"base_path": str(models.resolve()), **{name: name for name in folders}}


def remove_left_behind() -> None:
    """Remove the base directories of workers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{BASE_PREFIX}*"):
        owner = folder.name.removeprefix(BASE_PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
