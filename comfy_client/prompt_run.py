"""What ComfyUI reports of a prompt: why it was rejected, its progress, how it ended and which files it saved."""

import json
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

PREVIEW_EVENTS = (1, 4)  # ComfyUI's protocol.py: an image, an image with metadata


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


class State(Enum):
    """Where a prompt is; LOST when the server does not know it."""

    WAITING, DONE, FAILED, INTERRUPTED, LOST = "waiting", "done", "failed", "interrupted", "lost"


class PromptState(NamedTuple):
    """Where a prompt is, the text of its error, the seconds it ran, the outputs of its nodes by id."""

    state: State
    error: str = ""
    seconds: float = 0.0
    outputs: dict = {}  # noqa: RUF012  never changed


@dataclass
class RunReport:
    """What the websocket reported of one prompt: seconds per node id, (node id, value, max) per step, previews."""

    node_seconds: dict[str, float] = field(default_factory=dict)
    progress: list[tuple[str, int, int]] = field(default_factory=list)
    previews: int = 0


class RunWatcher:
    """Puts the websocket messages of one prompt into a RunReport, until `finished`."""

    def __init__(self, prompt_id: str, on_event: Callable[[str, dict], None]):
        self.prompt_id, self.on_event = prompt_id, on_event
        self.report = RunReport()
        self.finished = False
        self.failure: Exception | None = None
        self.node: str | None = None
        self.since = 0.0

    def take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if struct.unpack(">I", message[:4])[0] in PREVIEW_EVENTS:
                self.report.previews += 1
                self.on_event("preview", {"bytes": len(message) - 4})
            return
        event = json.loads(message)
        kind, data = event["type"], event.get("data") or {}
        if data.get("prompt_id") != self.prompt_id:
            return
        if kind == "executing":
            now = time.monotonic()
            if self.node is not None:
                seconds = self.report.node_seconds
                seconds[self.node] = seconds.get(self.node, 0.0) + now - self.since
            self.node, self.since = data["node"], now
            self.finished = self.node is None
        elif kind == "progress":
            self.report.progress.append((data["node"], data["value"], data["max"]))
        elif kind == "execution_error":
            self.failure = PromptFailed(data)
        elif kind == "execution_interrupted":
            self.failure = PromptInterrupted(f"Prompt {self.prompt_id} was interrupted.")
        self.on_event(kind, data)


def rejection_text(answer: dict) -> str:
    error = answer.get("error") or {}
    lines = [f"{error['message']} {error.get('details', '')}".strip()] if error else []
    for node_id, node in answer.get("node_errors", {}).items():
        reasons = (f"{e['message']}: {e['details']}" for e in node["errors"])
        lines += [f"{node['class_type']} (node {node_id}): {reason}" for reason in reasons]
    return "\n".join(lines)


def prompt_state(entry: dict) -> PromptState:
    status = entry.get("status") or {}
    messages = dict(status.get("messages") or ())
    times = [data["timestamp"] for data in messages.values() if "timestamp" in data]
    seconds = (max(times) - min(times)) / 1000 if times else 0.0
    if "execution_interrupted" in messages:
        return PromptState(State.INTERRUPTED, "The prompt was interrupted at the server.", seconds)
    if "execution_error" in messages:
        return PromptState(State.FAILED, str(PromptFailed(messages["execution_error"])), seconds)
    if status.get("status_str") != "success":
        return PromptState(State.FAILED, f"ComfyUI ended the prompt with '{status.get('status_str')}'.", seconds)
    return PromptState(State.DONE, "", seconds, entry["outputs"])


def saved_file(output: dict) -> tuple[str, str, str]:
    """Return (type, subfolder, filename) of the one file that a node's ui reports: output/steadydancer/a.mp4."""
    files = [item for items in output.values() for item in items if isinstance(item, dict) and "filename" in item]
    if len(files) != 1:
        raise ValueError(f"The video node should report one file; it reported {output}.")
    return files[0]["type"], files[0]["subfolder"], files[0]["filename"]
