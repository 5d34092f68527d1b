"""Run pairs through the server's queue so that a kill at any moment costs no finished pair and queues none twice.

A pair's folder holds `queued.json`, written before its prompt is queued, then the video, then `result.json`. Both
JSON files carry the identity of what was asked (hashes of its files and of the workflow), and every file is written
whole or not at all.
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

from ...media.atomic_write import atomic_write
from ...media.clips import read_frames, read_photo
from ...tools.demo import saved_video
from .cell_prompt import Mould, sha256_of
from .cell_sets import Pair
from .dance_poses import with_pose_file
from .farm_server import PromptState, RunningServer, ServerGone, State

FILES = ("photo", "video", "photo_poses", "driving_poses")  # of a pair, that make its video
DONE, FAILED, STOPPED = "done", "failed", "stopped"
AHEAD = 2  # prompts of ours at the server: it goes on while a finished pair is fetched and measured
POLL_SECONDS = 0.5
BAD_PAIR = (ValueError, requests.HTTPError, FFmpegError)
STATUS = {State.DONE: DONE, State.FAILED: FAILED, State.INTERRUPTED: STOPPED, State.LOST: STOPPED}
LOST = "The server no longer knows the prompt: it was taken out of the queue, or ComfyUI was started anew."


class Results:
    """The folder of a run: one folder a pair with its result, ticket and video."""

    def __init__(self, folder: Path, mould: Mould):
        self.folder, self.mould = folder, mould
        self._hashes: dict[Path, str] = {}

    def of(self, pair: Pair) -> Path:
        """Return the pair's folder."""
        return self.folder / pair.name

    def identity(self, pair: Pair) -> dict:
        """Return what decides about the pair's video: equal identities, equal videos."""
        files = {name: getattr(pair, name) for name in FILES}
        hashes = {f"{name}_sha256": self.sha256(file) if file else None for name, file in files.items()}
        return {**hashes, "workflow_sha256": self.mould.sha256, "seed": self.mould.seed}

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
        """Return the ticket of a prompt that an earlier run queued for exactly this pair."""
        return self._read(pair, "queued.json")

    def _read(self, pair: Pair, name: str) -> dict | None:
        try:
            found = json.loads((self.of(pair) / name).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found if self.identity(pair).items() <= found.items() else None

    def keep(self, pair: Pair, result: dict) -> None:
        """Write the result, whole or not at all; the ticket has served."""
        about = {"photo": str(pair.photo), "video": str(pair.video), "category": pair.category}
        about |= {"misalignment": pair.misalignment, "labels": pair.labels}
        write_json(self.of(pair) / "result.json", {**about, **self.identity(pair), **result})
        self.forget_ticket(pair)

    def keep_ticket(self, pair: Pair, ticket: dict) -> None:
        """Note the prompt's id before it is queued."""
        write_json(self.of(pair) / "queued.json", {**ticket, **self.identity(pair)})

    def forget_ticket(self, pair: Pair) -> None:
        """Let the next run queue the pair anew."""
        (self.of(pair) / "queued.json").unlink(missing_ok=True)


def to_do(pairs: Iterable[Pair], results: Results, retry_failed: bool = False) -> list[Pair]:
    """Return the pairs that have no result yet; those that failed only if wished."""
    finished = {DONE} if retry_failed else {DONE, FAILED}
    return [pair for pair in pairs if (results.result(pair) or {}).get("status") not in finished]


class Runner:
    """Queues pairs a few ahead, waits for each in turn and keeps its result."""

    def __init__(self, server: RunningServer, results: Results, poll_seconds: float = POLL_SECONDS):
        self.server, self.results, self.poll_seconds = server, results, poll_seconds
        self.object_info = server.object_info()
        self.prompt = results.mould.prompt(self.object_info)
        self.waiting: deque[tuple[Pair, dict]] = deque()  # pairs and their tickets, as the server takes them

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
            self._stop()
            raise

    def _send(self, pair: Pair, on_kept: Callable[[Pair, dict], None]) -> None:
        """Queue the pair, or find it queued already. One that cannot be queued has that as its result."""
        ticket = self.results.ticket(pair)
        if ticket and self.server.look_up(ticket["prompt_id"]).state not in (State.LOST, State.INTERRUPTED):
            say(f"{pair.name}: was queued by an earlier run and is taken from there")
            self.waiting.append((pair, ticket))
            return
        try:
            self._queue(pair, self._filled(pair))
        except BAD_PAIR as error:
            self.waiting = deque(entry for entry in self.waiting if entry[0] is not pair)
            self._keep(pair, {"status": FAILED, "error": str(error)}, on_kept)

    def _filled(self, pair: Pair) -> dict:
        read_photo(pair.photo)
        if next(read_frames(pair.video), None) is None:
            raise ValueError(f"{pair.video} holds no frame. Give a video that plays.")
        mould = self.results.mould
        prompt = mould.fill(self.prompt, self._uploaded(pair.photo), self._uploaded(pair.video), pair.name)
        for poses, source in ((pair.photo_poses, mould.photo), (pair.driving_poses, mould.video)):
            if poses:
                with_pose_file(prompt, source, self._uploaded(poses), self.object_info)
        return prompt

    def _uploaded(self, file: Path) -> str:
        if not file.is_file():
            raise ValueError(f"There is no file {file}.")
        return self.server.upload_once(file, self.results.sha256(file))

    def _queue(self, pair: Pair, prompt: dict) -> None:
        ticket = {"prompt_id": str(uuid.uuid4()), "prompt_sha256": sha256_of(prompt), "server": self.server.address}
        self.waiting.append((pair, ticket))  # from here on Ctrl-C takes it back
        self.results.keep_ticket(pair, ticket)
        self.server.queue_as(prompt, ticket["prompt_id"])

    def _finish(self, on_kept: Callable[[Pair, dict], None]) -> None:
        """Wait for the oldest prompt of ours and keep what came of it."""
        pair, ticket = self.waiting[0]
        found = self._wait(ticket["prompt_id"])
        told = {name: ticket[name] for name in ("prompt_id", "prompt_sha256")} | {"seconds": found.seconds}
        try:
            told |= {"status": STATUS[found.state], "error": found.error, **self._fetched(pair, found)}
        except BAD_PAIR as error:
            told |= {"status": FAILED, "error": f"The video cannot be fetched from the server: {error}"}
        self.waiting.popleft()
        self._keep(pair, told, on_kept)

    def _wait(self, prompt_id: str) -> PromptState:
        while (found := self.server.look_up(prompt_id)).state is State.WAITING:
            time.sleep(self.poll_seconds)
        return found._replace(error=LOST) if found.state is State.LOST else found

    def _fetched(self, pair: Pair, found: PromptState) -> dict:
        """Copy the video into the pair's folder; return its name and hash."""
        if found.state is not State.DONE:
            return {}
        kind, *subfolder, name = saved_video(found.outputs.get(self.results.mould.result, {}), Path()).parts
        target = self.results.of(pair) / f"video{Path(name).suffix}"
        self.server.download(kind, "/".join(subfolder), name, target)
        return {"file": target.name, "file_sha256": file_sha256(target)}

    def _keep(self, pair: Pair, result: dict, on_kept: Callable[[Pair, dict], None]) -> None:
        self.results.keep(pair, result)
        on_kept(pair, result)

    def _stop(self) -> None:
        """Take our prompts from the server. One that Ctrl-C ended as well needs no more than that."""
        with suppress(ServerGone, requests.HTTPError):
            RunningServer(self.server.address, retries=0).stop_prompts([t["prompt_id"] for _, t in self.waiting])
            for pair, _ in self.waiting:
                self.results.forget_ticket(pair)


def write_json(file: Path, content: dict) -> None:
    """Write the file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as part:
        part.write_text(json.dumps(content, indent=2), encoding="utf-8")


def file_sha256(file: Path) -> str:
    """Return the sha256 of a file as hex digits."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def say(line: str) -> None:
    """Write a line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
