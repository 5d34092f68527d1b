"""A real ComfyUI as a child process, by default on the CPU, with the pack linked in and a client to talk to it.

    with ComfyProcess(comfyui, pack) as server:
        report = server.client.wait(server.client.queue(prompt))

It lives in a base directory of its own (models, input, output, ...), by default a temporary one that goes with it.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from .client import ComfyClient, ServerGone
from .process_memory import PeakMemory

PACK_FOLDER = "steadydancer"
END_WITH_PARENT = Path(__file__).parent / "end_with_parent.py"
FOLDERS = (
    *(f"models/{name}" for name in ("diffusion_models", "vae", "clip_vision", "loras", "text_encoders")),
    *("custom_nodes", "input", "output", "temp", "user"),
)
OPTIONS = (
    *("--listen", "127.0.0.1", "--disable-auto-launch", "--disable-api-nodes"),
    *("--database-url", "sqlite:///:memory:", "--preview-method", "latent2rgb", "--max-upload-size", "2000"),
)
NOT_COPIED = (".*", "__pycache__", "output", "tests")  # what ComfyUI does not read of the pack
LOG_TAIL_LINES = 40
ANSWER_SECONDS = 5
STOP_SECONDS = 10
PORT_TAKEN = "is already in use on address"  # ComfyUI's server.py


class StartFailed(RuntimeError):
    """ComfyUI did not start, or did not load the pack."""


class ComfyProcess:
    """A ComfyUI that runs between __enter__ and __exit__; ServerGone leaves the block with the end of its log.

    comfyui: folder with main.py. pack: folder of the pack. base: base directory, kept at the end if given. cpu: compute
    on the CPU only. ends_with_parent: ComfyUI ends also when this process is killed.
    """

    address: str
    client: ComfyClient
    process: subprocess.Popen
    memory: PeakMemory

    def __init__(
        self,
        comfyui: Path,
        pack: Path,
        base: Path | None = None,
        options: tuple[str, ...] = (),
        cpu: bool = True,
        ends_with_parent: bool = False,
    ):
        self.comfyui, self.pack = Path(comfyui).resolve(), Path(pack).resolve()
        self.options = ("--cpu", *options) if cpu else options
        self.ends_with_parent = ends_with_parent
        self._cleanup = ExitStack()
        if base is None:
            base = Path(tempfile.mkdtemp(prefix="steadydancer-server-"))
            self._cleanup.callback(shutil.rmtree, base, ignore_errors=True)
        self.base = Path(base).resolve()
        self.log_file = self.base / "comfyui.log"

    def __enter__(self) -> "ComfyProcess":
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, _, error: BaseException | None, __) -> None:
        message = self._with_log(str(error)) if isinstance(error, ServerGone) else ""
        self.stop()
        if message:
            raise ServerGone(message) from error

    def start(self, timeout: float = 300) -> None:
        """Start ComfyUI and return when it answers and the pack is in; StartFailed with the log if not."""
        for name in FOLDERS:
            (self.base / name).mkdir(parents=True, exist_ok=True)
        target = self.base / "custom_nodes" / PACK_FOLDER
        if not target.exists():
            if os.name == "nt":  # where links need rights
                shutil.copytree(self.pack, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
            else:
                target.symlink_to(self.pack, target_is_directory=True)
        try:
            self._launch(timeout)
        except StartFailed:
            if PORT_TAKEN not in self.log():
                raise
            self._launch(timeout)  # another program took the first one while ComfyUI was loading
        if self.failed_to_import(PACK_FOLDER):
            raise StartFailed(self._with_log("ComfyUI could not import the pack."))

    def stop(self) -> None:
        self._cleanup.close()

    def log(self) -> str:
        return self.log_file.read_text("utf-8", errors="replace") if self.log_file.is_file() else ""

    def failed_to_import(self, folder: str) -> bool:
        """Return whether ComfyUI says that it could not import what lies in this folder of custom_nodes."""
        pack = str(Path("custom_nodes", folder))
        return any("IMPORT FAILED" in line and line.endswith(pack) for line in self.log().splitlines())

    def pack_info(self) -> dict:
        module = f"custom_nodes.{PACK_FOLDER}"
        return {name: node for name, node in self.client.object_info().items() if node["python_module"] == module}

    def _launch(self, timeout: float) -> None:
        port = str(free_port())
        self.address = f"127.0.0.1:{port}"
        self.client = self._cleanup.enter_context(ComfyClient(self.address))
        place = ("--port", port, "--base-directory", str(self.base))
        runner = (str(END_WITH_PARENT),) if self.ends_with_parent else ()
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *runner, str(self.comfyui / "main.py"), *place, *OPTIONS, *self.options],
                cwd=self.comfyui,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.PIPE if self.ends_with_parent else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._cleanup.callback(end, self.process)
        self.memory = PeakMemory(self.process.pid)
        self._cleanup.callback(self.memory.stop)
        deadline = time.monotonic() + timeout
        while not self._answers():
            if self.process.poll() is not None:
                raise StartFailed(
                    self._with_log(f"ComfyUI ended with exit code {self.process.returncode} while starting.")
                )
            if time.monotonic() > deadline:
                raise StartFailed(self._with_log(f"ComfyUI did not answer within {timeout:.0f} s."))
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Return whether this ComfyUI answers, and not another program at a port taken meanwhile."""
        try:
            return str(self.base) in self.client.get("/system_stats", ANSWER_SECONDS)["system"]["argv"]
        except (OSError, KeyError, TypeError):
            return False

    def _with_log(self, message: str) -> str:
        tail = "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])
        return f"{message} The end of its log:\n{tail}"


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
