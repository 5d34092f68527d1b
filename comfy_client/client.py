"""HTTP client of a ComfyUI server: queue, history, uploads and results; progress over its websocket."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import requests
import websocket
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from .prompt_run import PromptRejected, PromptState, RunReport, RunWatcher, State, prompt_state, rejection_text

TIMEOUT = 60  # seconds
REFUSALS = {401, 403, 407, 502, 503, 504}
BLOCK = 1 << 20


class ServerGone(ConnectionError):
    """The server does not answer, or not as a ComfyUI does."""


class ComfyClient:
    """Calls to the ComfyUI at HOST:PORT; every one raises ServerGone when it does not answer.

    retries: how often a connection is tried again, after 0, 2, 4, 8 ... seconds.
    """

    def __init__(self, address: str, retries: int = 0):
        self.address = re.sub(r"^http://|/+$", "", address)
        self.client_id = uuid.uuid4().hex
        self.http = _Session(self.address, retries)
        self.socket: websocket.WebSocket | None = None

    def __enter__(self) -> "ComfyClient":
        return self

    def __exit__(self, *_) -> None:
        if self.socket is not None:
            self.socket.close()
        self.http.close()

    def check(self) -> None:
        """Raise ServerGone unless a ComfyUI answers; without retries."""
        try:
            with ComfyClient(self.address) as client:
                known = "system" in client.get("/system_stats")
        except (ValueError, requests.HTTPError):  # another web server
            known = False
        if not known:
            raise ServerGone(f"What answers at {self.address} is no ComfyUI. Give the HOST:PORT that ComfyUI prints.")

    def get(self, path: str, timeout: float = TIMEOUT) -> dict:
        answer = self.http.get(path, timeout=timeout)
        answer.raise_for_status()
        return answer.json()

    def object_info(self) -> dict:
        return self.get("/object_info")

    def upload(self, file: Path, name: str | None = None) -> str:
        """Upload an image or video into the input folder; return the name that loader nodes take."""
        with file.open("rb") as content:
            files = {"image": (name or file.name, content)}
            answer = self.http.post("/upload/image", files=files, data={"overwrite": "true"}, timeout=300)
        answer.raise_for_status()
        return answer.json()["name"]

    def upload_once(self, file: Path, name: str) -> str:
        """Upload a file unless the input folder holds one of that name and size; return the name."""
        there = self.http.head("/view", params={"filename": name, "type": "input"}, timeout=TIMEOUT)
        if there.ok and int(there.headers.get("Content-Length", -1)) == file.stat().st_size:
            return name
        return self.upload(file, name)

    def fetch(self, kind: str, subfolder: str, name: str, target: Path) -> None:
        """Copy a file of the server's folder `kind` ("output", "temp") to `target`."""
        where = {"filename": name, "subfolder": subfolder, "type": kind}
        with self.http.get("/view", params=where, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            try:
                with target.open("wb") as file:
                    for block in answer.iter_content(BLOCK):
                        file.write(block)
            except requests.RequestException as error:
                raise ServerGone(f"The ComfyUI at {self.address} went away while {name} was fetched.") from error

    def queue(
        self, prompt: dict, workflow: dict | None = None, prompt_id: str | None = None, front: bool = False
    ) -> str:
        """Queue an API prompt and return its id; PromptRejected with ComfyUI's reasons.

        workflow: stored in the metadata of what is saved. prompt_id: a UUID of the caller's, for a prompt that is
        looked up; one without is watched with `wait`. front: ahead of the prompts that wait.
        """
        body: dict = {"prompt": prompt}
        if front:
            body["front"] = True
        if prompt_id is None:
            self._connect()
            body["client_id"] = self.client_id
        else:
            body["prompt_id"] = prompt_id
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        answer = self.http.post("/prompt", json=body, timeout=TIMEOUT)
        if answer.status_code != 400:  # 400 comes with its reasons
            answer.raise_for_status()
        content = answer.json()
        if content.get("error") or content.get("node_errors"):
            raise PromptRejected(rejection_text(content))
        return content["prompt_id"]

    def wait(
        self, prompt_id: str, on_event: Callable[[str, dict], None] | None = None, silence: float = 600
    ) -> RunReport:
        """Watch a queued prompt to its end, in the order of queueing; on_event(type, data) gets every message of it.

        PromptFailed, PromptInterrupted; ServerGone after `silence` seconds without a message.
        """
        watcher = RunWatcher(prompt_id, on_event or (lambda *_: None))
        connection = self._connect()
        connection.settimeout(silence)
        while not watcher.finished:
            try:
                message = connection.recv()
            except websocket.WebSocketTimeoutException:
                raise ServerGone(f"The ComfyUI at {self.address} sent nothing for {silence:.0f} s.") from None
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                raise ServerGone(f"The ComfyUI at {self.address} went away while the prompt ran.") from None
            watcher.take(message)
        if watcher.failure:
            raise watcher.failure
        return watcher.report

    def look_up(self, prompt_id: str) -> PromptState:
        """Return where a prompt is. The queue is read first: what leaves it in between is in the history."""
        queue = self.get("/queue")
        if any(item[1] == prompt_id for part in ("queue_running", "queue_pending") for item in queue[part]):
            return PromptState(State.WAITING)
        entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        return prompt_state(entry) if entry else PromptState(State.LOST)

    def known_prompts(self, newest: int) -> set[str]:
        """Return the ids of the prompts in the queue, and of the newest ones in the history."""
        queue = self.get("/queue")
        ids = {item[1] for part in ("queue_running", "queue_pending") for item in queue[part]}
        return ids | self.get(f"/history?max_items={newest}").keys()

    def history(self, prompt_id: str) -> dict:
        """Return the history entry of a finished prompt; its "outputs" holds the ui dictionaries by node id."""
        return self.get(f"/history/{prompt_id}")[prompt_id]

    def clear_history(self) -> None:
        self._post("/history", {"clear": True})

    def interrupt(self) -> None:
        self._post("/interrupt", {})

    def stop_prompts(self, prompt_ids: list[str]) -> None:
        """Take prompts out of the queue and interrupt those that run; all others go on."""
        self._post("/queue", {"delete": prompt_ids})
        for prompt_id in prompt_ids:
            self._post("/interrupt", {"prompt_id": prompt_id})

    def _post(self, path: str, body: dict) -> None:
        self.http.post(path, json=body, timeout=TIMEOUT).raise_for_status()

    def _connect(self) -> websocket.WebSocket:
        if self.socket is None:
            url = f"ws://{self.address}/ws?clientId={self.client_id}"
            self.socket = websocket.create_connection(url, timeout=TIMEOUT)
        return self.socket


class _Session(requests.Session):
    """Requests that are tried again for a while and end in ServerGone, not in one of a dozen exceptions."""

    def __init__(self, address: str, retries: int):
        super().__init__()
        self.address = address
        self.trust_env = False  # a proxy in the environment must not stand between us and 127.0.0.1
        # connections are tried again for every request, answers only where asking twice does no harm
        again = Retry(retries, backoff_factor=1, allowed_methods=("GET", "HEAD"))
        self.mount("http://", HTTPAdapter(max_retries=again))

    def request(self, method: str, url: str, *args, **kwargs) -> requests.Response:
        """Send a request to a path of the server."""
        try:
            answer = super().request(method, f"http://{self.address}{url}", *args, **kwargs)
        except requests.RequestException as error:
            reason = str(getattr(error.args[0] if error.args else error, "reason", error)).rpartition(": ")[2]
            advice = "Start it, or give the HOST:PORT of one that runs."
            raise ServerGone(f"No ComfyUI answers at {self.address} ({reason}). {advice}") from error
        if answer.status_code in REFUSALS:
            raise ServerGone(
                f"The server at {self.address} refuses with {answer.status_code} {answer.reason}. "
                "Give the HOST:PORT of ComfyUI itself, without a password or proxy in front of it."
            )
        return answer
