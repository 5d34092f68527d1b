"""A real ComfyUI as a child process on the CPU: the pack linked in, prompts queued and watched over its own API.

    with ComfyServer(comfyui, pack) as server:
        report = server.wait(server.queue(prompt))

It lives in a base directory of its own (models, input, output, ...), by default a temporary one that goes with it.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import requests
import websocket

from .process_memory import PeakMemory

PACK_FOLDER = "steadydancer"
FOLDERS = (
    *(f"models/{name}" for name in ("diffusion_models", "vae", "clip_vision", "loras", "text_encoders")),
    *("custom_nodes", "input", "output", "temp", "user"),
)
OPTIONS = (
    *("--cpu", "--listen", "127.0.0.1", "--disable-auto-launch", "--disable-api-nodes"),
    *("--database-url", "sqlite:///:memory:", "--preview-method", "latent2rgb", "--max-upload-size", "2000"),
)
LOG_TAIL_LINES = 40
ANSWER_SECONDS = 5
PORT_TAKEN = "is already in use on address"  # ComfyUI's server.py
PREVIEW_EVENTS = (1, 4)  # ComfyUI's protocol.py: an image, an image with metadata


class ComfyServerError(RuntimeError):
    """ComfyUI did not start, did not load the pack, or went away."""


class PromptRejected(ValueError):
    """ComfyUI found errors in the prompt before running it."""


class PromptFailed(RuntimeError):
    """A node raised while the prompt ran. `node_id`, `node_type` and `exception_type` say where and what."""

    def __init__(self, data: dict):
        super().__init__(f"{data['node_type']} (node {data['node_id']}): {data['exception_message'].strip()}")
        self.node_id, self.node_type = data["node_id"], data["node_type"]
        self.exception_type = data["exception_type"]


class PromptInterrupted(RuntimeError):
    """The prompt was stopped by an interrupt."""


@dataclass
class RunReport:
    """What the websocket told of one prompt: seconds per node id, (node id, value, max) per step, previews."""

    node_seconds: dict[str, float] = field(default_factory=dict)
    progress: list[tuple[str, int, int]] = field(default_factory=list)
    previews: int = 0


class ComfyServer:
    """A ComfyUI that runs between __enter__ and __exit__.

    comfyui: folder with main.py. pack: folder of the pack. base: base directory, kept at the end if given.
    """

    def __init__(self, comfyui: Path, pack: Path, base: Path | None = None, options: tuple[str, ...] = ()):
        self.comfyui, self.pack, self.options = Path(comfyui).resolve(), Path(pack).resolve(), options
        self.owns_base = base is None
        self.base = Path(base or tempfile.mkdtemp(prefix="steadydancer-server-")).resolve()
        self.log_file = self.base / "comfyui.log"
        self.client_id = uuid.uuid4().hex
        self.http = requests.Session()
        self.http.trust_env = False  # a proxy in the environment must not stand between us and 127.0.0.1
        self.socket: websocket.WebSocket | None = None
        self.process: subprocess.Popen | None = None
        self.memory: PeakMemory | None = None

    def __enter__(self) -> "ComfyServer":
        with ExitStack() as undo:
            undo.callback(self.stop)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self, timeout: float = 300) -> None:
        """Start ComfyUI and return when it answers and the pack is in; ComfyServerError with the log if not."""
        for name in FOLDERS:
            (self.base / name).mkdir(parents=True, exist_ok=True)
        link_pack(self.pack, self.base / "custom_nodes" / PACK_FOLDER)
        try:
            self._start_at_a_port(timeout)
        except ComfyServerError:
            if PORT_TAKEN not in self.log():
                raise
            self.memory.stop()
            self._start_at_a_port(timeout)  # somebody took the first one while ComfyUI was loading
        self._check_pack()

    def _start_at_a_port(self, timeout: float) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.process = self._spawn()
        self.memory = PeakMemory(self.process.pid)
        self._wait_until_ready(timeout)

    def _spawn(self) -> subprocess.Popen:
        main = str(self.comfyui / "main.py")
        place = ("--port", self.address.rpartition(":")[2], "--base-directory", str(self.base))
        with self.log_file.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, main, *place, *OPTIONS, *self.options],
                cwd=self.comfyui,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_until_ready(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise self._error(f"ComfyUI ended with exit code {self.process.returncode} while starting")
            if self._answers():
                return
            time.sleep(0.1)
        raise self._error(f"ComfyUI did not answer within {timeout:.0f} s")

    def _answers(self) -> bool:
        """Tell whether the ComfyUI that was started here answers, and not somebody else at a port taken meanwhile."""
        try:
            answer = self.http.get(f"http://{self.address}/system_stats", timeout=ANSWER_SECONDS)
            return answer.ok and str(self.base) in answer.json()["system"]["argv"]
        except (requests.RequestException, KeyError, TypeError):
            return False

    def _check_pack(self) -> None:
        folder = os.path.join("custom_nodes", PACK_FOLDER)
        if any("IMPORT FAILED" in line and folder in line for line in self.log().splitlines()):
            raise self._error("ComfyUI could not import the pack")

    def _error(self, what: str) -> ComfyServerError:
        tail = "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])
        return ComfyServerError(f"{what}. The end of its log:\n{tail}")

    def log(self) -> str:
        """Return everything that ComfyUI has logged so far."""
        return self.log_file.read_text("utf-8", errors="replace") if self.log_file.is_file() else ""

    def get(self, path: str) -> dict:
        """Return the JSON that ComfyUI answers to GET `path`."""
        answer = self.http.get(f"http://{self.address}{path}", timeout=60)
        answer.raise_for_status()
        return answer.json()

    def object_info(self) -> dict:
        """Return /object_info: every node type with its inputs and outputs."""
        return self.get("/object_info")

    def pack_info(self) -> dict:
        """Return the part of /object_info that is about the pack's nodes."""
        module = f"custom_nodes.{PACK_FOLDER}"
        return {name: node for name, node in self.object_info().items() if node["python_module"] == module}

    def upload(self, file: Path, name: str | None = None) -> str:
        """Upload an image or video into the input folder; return the name that loader nodes take."""
        with file.open("rb") as content:
            answer = self.http.post(
                f"http://{self.address}/upload/image",
                files={"image": (name or file.name, content)},
                data={"overwrite": "true"},
                timeout=300,
            )
        answer.raise_for_status()
        return answer.json()["name"]

    def queue(self, prompt: dict, workflow: dict | None = None) -> str:
        """Queue an API prompt and return its id; PromptRejected with ComfyUI's reasons in words."""
        self._connect()
        body = {"prompt": prompt, "client_id": self.client_id}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        answer = self.http.post(f"http://{self.address}/prompt", json=body, timeout=60).json()
        if answer.get("error") or answer.get("node_errors"):
            raise PromptRejected(rejection_text(answer))
        return answer["prompt_id"]

    def _connect(self) -> None:
        if self.socket is None:
            self.socket = websocket.create_connection(f"ws://{self.address}/ws?clientId={self.client_id}", timeout=60)

    def wait(
        self, prompt_id: str, on_event: Callable[[str, dict], None] | None = None, silence: float = 600
    ) -> RunReport:
        """Watch a queued prompt to its end; prompts must be waited for in the order they were queued.

        on_event(type, data) gets every message of the prompt, previews as ("preview", {"bytes": n}).
        PromptFailed, PromptInterrupted; ComfyServerError after `silence` seconds without a message.
        """
        watch = _Watch(prompt_id, on_event or (lambda type, data: None))
        while not watch.finished:
            watch.take(self._receive(silence))
        if watch.failure:
            raise watch.failure
        return watch.report

    def _receive(self, silence: float) -> str | bytes:
        self.socket.settimeout(silence)
        try:
            return self.socket.recv()
        except websocket.WebSocketTimeoutException:
            raise self._error(f"ComfyUI said nothing for {silence:.0f} s") from None
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            raise self._error("ComfyUI went away while the prompt ran") from None

    def history(self, prompt_id: str) -> dict:
        """Return the history entry of a finished prompt; its "outputs" holds the ui dictionaries by node id."""
        return self.get(f"/history/{prompt_id}")[prompt_id]

    def interrupt(self) -> None:
        """Stop the prompt that runs now."""
        self.http.post(f"http://{self.address}/interrupt", timeout=60).raise_for_status()

    @property
    def peak_memory(self) -> int:
        """The most bytes that ComfyUI and its children held in RAM so far."""
        return self.memory.peak

    def stop(self) -> None:
        """End ComfyUI, and its base directory if it made one."""
        if self.socket is not None:
            self.socket.close()
        if self.memory is not None:
            self.memory.stop()
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.http.close()
        if self.owns_base:
            shutil.rmtree(self.base, ignore_errors=True)


class _Watch:
    """The messages of one prompt, put into a RunReport."""

    def __init__(self, prompt_id: str, on_event: Callable[[str, dict], None]):
        self.prompt_id, self.on_event = prompt_id, on_event
        self.report = RunReport()
        self.finished = False
        self.failure: Exception | None = None
        self.node: str | None = None
        self.since = 0.0

    def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._preview(message)
            return
        message = json.loads(message)
        data = message.get("data") or {}
        if data.get("prompt_id") != self.prompt_id:
            return
        handler = getattr(self, f"_{message['type']}", None)
        if handler:
            handler(data)
        self.on_event(message["type"], data)

    def _preview(self, message: bytes) -> None:
        if struct.unpack(">I", message[:4])[0] in PREVIEW_EVENTS:
            self.report.previews += 1
            self.on_event("preview", {"bytes": len(message) - 4})

    def _executing(self, data: dict) -> None:
        now = time.monotonic()
        if self.node is not None:
            seconds = self.report.node_seconds
            seconds[self.node] = seconds.get(self.node, 0.0) + now - self.since
        self.node, self.since = data["node"], now
        self.finished = data["node"] is None

    def _progress(self, data: dict) -> None:
        self.report.progress.append((data["node"], data["value"], data["max"]))

    def _execution_error(self, data: dict) -> None:
        self.failure = PromptFailed(data)

    def _execution_interrupted(self, data: dict) -> None:
        self.failure = PromptInterrupted(f"Prompt {self.prompt_id} was interrupted.")


def rejection_text(answer: dict) -> str:
    """Return ComfyUI's answer to a bad prompt as lines: the error, then one per node and input."""
    error = answer.get("error") or {}
    lines = [f"{error['message']} {error.get('details', '')}".strip()] if error else []
    for node_id, node in answer.get("node_errors", {}).items():
        reasons = (f"{e['message']}: {e['details']}" for e in node["errors"])
        lines += [f"{node['class_type']} (node {node_id}): {reason}" for reason in reasons]
    return "\n".join(lines)


def link_pack(pack: Path, target: Path) -> None:
    """Put the pack into custom_nodes: a link, or on Windows, where links need rights, a copy of what ComfyUI reads."""
    if target.exists():
        return
    if os.name == "nt":
        shutil.copytree(pack, target, ignore=shutil.ignore_patterns(".*", "__pycache__", "output", "tests"))
    else:
        target.symlink_to(pack, target_is_directory=True)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
