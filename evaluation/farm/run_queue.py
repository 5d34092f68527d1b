"""Run pairs through the server's queue so that a kill at any time costs no finished pair and queues none twice.

A pair's folder holds `queued.json`, written before its prompt is queued, then the video, then `result.json`. Both
JSON files carry the identity of the run (hashes of its files and of the workflow).
"""

import hashlib
import json
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import requests
from av.error import FFmpegError

from ...comfy_client.client import ComfyClient, ServerGone
from ...comfy_client.prompt_run import PromptState, State, saved_file
from ...media.atomic_write import atomic_write
from ...media.clips import read_frames, read_photo
from .cell_prompt import PromptTemplate, sha256_of, with_pose_file
from .cell_sets import Pair

FILES = ("photo", "video", "photo_poses", "driving_poses")  # of a pair, that make its video
DONE, FAILED, STOPPED = "done", "failed", "stopped"
AHEAD = 2  # prompts of ours at the server: it goes on while a finished pair is fetched and measured
POLL_SECONDS = 0.5
UPLOAD_PREFIX, HASH_DIGITS = "xdance_", 20
BAD_PAIR = (ValueError, requests.HTTPError, FFmpegError)
STATUS = {State.DONE: DONE, State.FAILED: FAILED, State.INTERRUPTED: STOPPED, State.LOST: STOPPED}
LOST = "The server no longer knows the prompt: it was taken out of the queue, or ComfyUI was restarted."


class Results:
    """The folder of a run: one folder a pair with its result, ticket and video."""

    def __init__(self, folder: Path, template: PromptTemplate):
        self.folder, self.template = folder, template
        self._hashes: dict[Path, str] = {}

    def of(self, pair: Pair) -> Path:
        return self.folder / pair.name

    def identity(self, pair: Pair) -> dict:
        """Return what decides the pair's video: equal identities, equal videos."""
        files = {name: getattr(pair, name) for name in FILES}
        hashes = {f"{name}_sha256": self.sha256(file) if file else None for name, file in files.items()}
        return {**hashes, "workflow_sha256": self.template.sha256, "seed": self.template.seed}

    def sha256(self, file: Path) -> str:
        """Return the hash of a file, read once in a run; '' for a file that cannot be."""
        if file not in self._hashes:
            self._hashes[file] = ""
            with suppress(OSError):  # its pair fails when the file is opened, with the reason
                self._hashes[file] = file_sha256(file)
        return self._hashes[file]

    def result(self, pair: Pair) -> dict | None:
        """Return the result of exactly this pair, workflow and seed, with its video if it is done."""
        found = self._read(pair, "result.json")
        if found and found["status"] == DONE and not (self.of(pair) / found["file"]).is_file():
            return None
        return found

    def ticket(self, pair: Pair) -> dict | None:
        return self._read(pair, "queued.json")

    def _read(self, pair: Pair, name: str) -> dict | None:
        try:
            found = json.loads((self.of(pair) / name).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found if self.identity(pair).items() <= found.items() else None

    def keep(self, pair: Pair, result: dict) -> None:
        """Write the result, whole or not at all, and remove the ticket."""
        about = {"photo": str(pair.photo), "video": str(pair.video), "category": pair.category}
        labels = {"misalignment": pair.misalignment, "labels": pair.labels}
        write_json(self.of(pair) / "result.json", {**about, **labels, **self.identity(pair), **result})
        self.forget_ticket(pair)

    def keep_ticket(self, pair: Pair, ticket: dict) -> None:
        write_json(self.of(pair) / "queued.json", {**ticket, **self.identity(pair)})

    def forget_ticket(self, pair: Pair) -> None:
        (self.of(pair) / "queued.json").unlink(missing_ok=True)


def to_do(pairs: Iterable[Pair], results: Results, retry_failed: bool = False) -> list[Pair]:
    finished = {DONE} if retry_failed else {DONE, FAILED}
    return [pair for pair in pairs if (results.result(pair) or {}).get("status") not in finished]


class Runner:
    """Queues pairs a few ahead, waits for each in turn and writes its result."""

    def __init__(self, client: ComfyClient, results: Results, poll_seconds: float = POLL_SECONDS):
        self.client, self.results, self.poll_seconds = client, results, poll_seconds
        self.object_info = client.object_info()
        self.prompt = results.template.prompt(self.object_info)
        self.waiting: deque[tuple[Pair, dict]] = deque()  # pairs and their tickets, in the order of the queue

    def run(self, pairs: Iterable[Pair], on_kept: Callable[[Pair, dict], None]) -> None:
        """Run the pairs; on_kept(pair, result) after each. Ctrl-C stops our prompts, ServerGone leaves the tickets."""
        try:
            for pair in pairs:
                self._send(pair, on_kept)
                if len(self.waiting) >= AHEAD:
                    self._finish(on_kept)
            while self.waiting:
                self._finish(on_kept)
        except KeyboardInterrupt:
            with suppress(ServerGone, requests.HTTPError):  # one that Ctrl-C ended as well has no queue any more
                with ComfyClient(self.client.address) as client:
                    client.stop_prompts([ticket["prompt_id"] for _, ticket in self.waiting])
                for pair, _ in self.waiting:
                    self.results.forget_ticket(pair)
            raise

    def _send(self, pair: Pair, on_kept: Callable[[Pair, dict], None]) -> None:
        """Queue the pair, or find it queued already. One that cannot be queued gets that as its result."""
        ticket = self.results.ticket(pair)
        if ticket and self.client.look_up(ticket["prompt_id"]).state not in (State.LOST, State.INTERRUPTED):
            say(f"{pair.name}: was queued by an earlier run and is taken from there")
            self.waiting.append((pair, ticket))
            return
        try:
            prompt = self._filled(pair)
            ticket = {"prompt_id": str(uuid.uuid4()), "prompt_sha256": sha256_of(prompt), "server": self.client.address}
            self.waiting.append((pair, ticket))  # from here on Ctrl-C takes it back
            self.results.keep_ticket(pair, ticket)
            self.client.queue(prompt, prompt_id=ticket["prompt_id"])
        except BAD_PAIR as error:
            self.waiting = deque(entry for entry in self.waiting if entry[0] is not pair)
            self._keep(pair, {"status": FAILED, "error": str(error)}, on_kept)

    def _filled(self, pair: Pair) -> dict:
        """Return the pair's prompt with its files uploaded; ValueError where one cannot be used."""
        read_photo(pair.photo)
        if next(read_frames(pair.video), None) is None:
            raise ValueError(f"{pair.video} holds no frame. Give a video that plays.")
        template = self.results.template
        prompt = template.fill(self.prompt, self._uploaded(pair.photo), self._uploaded(pair.video), pair.name)
        for poses, source in ((pair.photo_poses, template.photo), (pair.driving_poses, template.video)):
            if poses:
                with_pose_file(prompt, source, self._uploaded(poses), self.object_info)
        return prompt

    def _uploaded(self, file: Path) -> str:
        if not file.is_file():
            raise ValueError(f"There is no file {file}.")
        name = f"{UPLOAD_PREFIX}{self.results.sha256(file)[:HASH_DIGITS]}{file.suffix.lower()}"
        return self.client.upload_once(file, name)

    def _finish(self, on_kept: Callable[[Pair, dict], None]) -> None:
        pair, ticket = self.waiting[0]
        while (found := self.client.look_up(ticket["prompt_id"])).state is State.WAITING:
            time.sleep(self.poll_seconds)
        reason = LOST if found.state is State.LOST else found.error
        result = {"prompt_id": ticket["prompt_id"], "prompt_sha256": ticket["prompt_sha256"], "seconds": found.seconds}
        try:
            result |= {"status": STATUS[found.state], "error": reason, **self._fetched(pair, found)}
        except BAD_PAIR as error:
            result |= {"status": FAILED, "error": f"The video cannot be fetched from the server: {error}"}
        self.waiting.popleft()
        self._keep(pair, result, on_kept)

    def _fetched(self, pair: Pair, found: PromptState) -> dict:
        if found.state is not State.DONE:
            return {}
        saved = saved_file(found.outputs.get(self.results.template.result, {}))
        target = self.results.of(pair) / f"video{Path(saved[-1]).suffix}"
        with atomic_write(target) as part:
            self.client.fetch(*saved, part)
        return {"file": target.name, "file_sha256": file_sha256(target)}

    def _keep(self, pair: Pair, result: dict, on_kept: Callable[[Pair, dict], None]) -> None:
        self.results.keep(pair, result)
        on_kept(pair, result)


def write_json(file: Path, content: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        part.write_text(json.dumps(content, indent=2), encoding="utf-8")


def file_sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
