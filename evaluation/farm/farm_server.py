"""The queue of a ComfyUI that runs somewhere: files by their content, prompts under ids of our own, results fetched.

Everything is asked over HTTP and nothing is remembered here, so a prompt that another process queued can be watched
as well.
"""

import re
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ...comfy_client.comfy_server import ComfyServer, PromptFailed, PromptRejected, rejection_text
from ...media.atomic_write import atomic_write

RETRIES = 4  # after waits of 0, 2, 4 and 8 s: a server that is only slow is not given up
TIMEOUT = 60
REFUSALS = {401, 403, 407, 502, 503, 504}
UPLOAD_PREFIX, HASH_DIGITS = "xdance_", 20
BLOCK = 1 << 20


class ServerGone(ConnectionError):
    """The server does not answer, or not as a ComfyUI does."""


class State(Enum):
    """Where a prompt is; LOST when the server knows nothing of it."""

    WAITING, DONE, FAILED, INTERRUPTED, LOST = "waiting", "done", "failed", "interrupted", "lost"


class PromptState(NamedTuple):
    """What the server tells of a prompt: the text of an error, the seconds it ran, the outputs of its nodes by id."""

    state: State
    error: str = ""
    seconds: float = 0.0
    outputs: dict | None = None


class RunningServer(ComfyServer):
    """A ComfyUI at HOST:PORT that somebody else starts and ends. Every call raises ServerGone when it is away."""

    def __init__(self, address: str, retries: int = RETRIES):
        super().__init__(comfyui=Path(), pack=Path(), base=Path())  # what it would start, were it not there already
        self.address = re.sub(r"^http://|/+$", "", address)
        self.http = _Session(self.address, retries)

    def start(self, timeout: float = 180) -> None:
        """See whether a ComfyUI answers there; at first there is nothing to be patient for."""
        try:
            with _Session(self.address, 0) as http:
                answer = http.get(f"http://{self.address}/system_stats", timeout=TIMEOUT)
            known = answer.ok and "system" in answer.json()
        except ValueError:  # another web server
            known = False
        if not known:
            raise ServerGone(f"What answers at {self.address} is no ComfyUI. Give the HOST:PORT that ComfyUI prints.")

    def upload_once(self, file: Path, sha256: str) -> str:
        """Upload a file under a name made of its content, unless it lies there whole; return the name."""
        name = f"{UPLOAD_PREFIX}{sha256[:HASH_DIGITS]}{file.suffix.lower()}"
        there = self.http.head(f"http://{self.address}/view", params={"filename": name, "type": "input"})
        if there.ok and int(there.headers.get("Content-Length", -1)) == file.stat().st_size:
            return name
        return self.upload(file, name)

    def queue_as(self, prompt: dict, prompt_id: str) -> str:
        """Queue an API prompt under a UUID of the caller's and return its id; PromptRejected as `queue`."""
        body = {"prompt": prompt, "prompt_id": prompt_id}
        answer = self.http.post(f"http://{self.address}/prompt", json=body, timeout=TIMEOUT)
        if answer.status_code != 400:  # 400 comes with its reasons
            answer.raise_for_status()
        answer = answer.json()
        if answer.get("error") or answer.get("node_errors"):
            raise PromptRejected(rejection_text(answer))
        return answer["prompt_id"]

    def look_up(self, prompt_id: str) -> PromptState:
        """Return where a prompt is. The queue is asked first: what leaves it in between is in the history."""
        queue = self.get("/queue")
        if any(item[1] == prompt_id for part in ("queue_running", "queue_pending") for item in queue[part]):
            return PromptState(State.WAITING)
        entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        return prompt_state(entry) if entry else PromptState(State.LOST)

    def stop_prompts(self, prompt_ids: list[str]) -> None:
        """Take prompts out of the queue and interrupt those that run; other people's go on."""
        for path, body in (("queue", {"delete": prompt_ids}), *(("interrupt", {"prompt_id": i}) for i in prompt_ids)):
            self.http.post(f"http://{self.address}/{path}", json=body, timeout=TIMEOUT).raise_for_status()

    def download(self, kind: str, subfolder: str, name: str, target: Path) -> None:
        """Fetch a file of the server's folder `kind` ("output", "temp"); `target` is whole or not there.

        ServerGone also where the server dies half-way.
        """
        where = {"filename": name, "subfolder": subfolder, "type": kind}
        with (
            self.http.get(f"http://{self.address}/view", params=where, timeout=TIMEOUT, stream=True) as answer,
            atomic_write(target) as part,
        ):
            answer.raise_for_status()
            try:
                with part.open("wb") as file:
                    for block in answer.iter_content(BLOCK):
                        file.write(block)
            except requests.RequestException as error:
                raise ServerGone(f"The ComfyUI at {self.address} went away while {name} was fetched.") from error


class _Session(requests.Session):
    """Requests that are tried again for a while and end in ServerGone, not in one of a dozen exceptions."""

    def __init__(self, address: str, retries: int):
        super().__init__()
        self.address = address
        self.trust_env = False
        # connections are tried again for every request, answers only where asking twice does no harm
        again = Retry(retries, backoff_factor=1, allowed_methods=("GET", "HEAD"))
        self.mount("http://", HTTPAdapter(max_retries=again))

    def request(self, *what, **how) -> requests.Response:
        try:
            answer = super().request(*what, **how)
        except requests.RequestException as error:
            reason = str(getattr(error.args[0] if error.args else error, "reason", error)).rpartition(": ")[2]
            what_to_do = "Start it, or give the HOST:PORT of one that runs."
            raise ServerGone(f"No ComfyUI answers at {self.address} ({reason}). {what_to_do}") from error
        if answer.status_code in REFUSALS:
            raise ServerGone(
                f"The server at {self.address} refuses with {answer.status_code} {answer.reason}. "
                "Give the HOST:PORT of ComfyUI itself, without a password or proxy in front of it."
            )
        return answer


def prompt_state(entry: dict) -> PromptState:
    """Return what an entry of ComfyUI's history says."""
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
