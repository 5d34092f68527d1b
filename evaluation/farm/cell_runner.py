"""Run cells at one ComfyUI: what every engine does with a cell, whatever moves it there.

A cell's prompt has an id made from its key, so that a driver that was killed finds its prompts at the servers again.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import requests
from av.error import FFmpegError

from ...comfy_client.client import ComfyClient, ServerGone
from ...comfy_client.prompt_run import PromptState, State, saved_file
from ...media.clips import read_frames, read_photo
from ...media.file_hash import file_sha256
from .cell import FILES, Cell, CellFailed, CellOutput, CellStopped, ServerIdentity
from .cell_prompt import PromptTemplate, model_names, with_pose_file

POLL_SECONDS = 0.25
UPLOAD_PREFIX, HASH_DIGITS = "xdance_", 20
BAD_CELL = (ValueError, OSError, requests.HTTPError, FFmpegError)
FINGERPRINT = "SteadyDancerFingerprint"
PROMPT_IDS = uuid.UUID("8c1a1c9e-51a7-4b7e-9d3c-6b0f4f0a7b15")
LOST = "The server no longer knows the prompt: it was taken out of the queue, or ComfyUI was restarted."


class CellRunner:
    """Sends cells to the ComfyUI of `client` and returns their videos; ServerGone when it does not answer.

    ValueError where the server cannot run the workflow at all.
    """

    def __init__(self, client: ComfyClient, template: PromptTemplate, poll_seconds: float = POLL_SECONDS):
        self.client, self.template, self.poll_seconds = client, template, poll_seconds
        self.object_info = client.object_info()
        self.prompt = template.prompt(self.object_info)
        self._identity: ServerIdentity | None = None

    def identity(self) -> ServerIdentity:
        """Return what the server reports of its model files and its pack, by one prompt ahead of its queue."""
        if FINGERPRINT not in self.object_info:
            raise ValueError(
                f"The ComfyUI at {self.client.address} has no node {FINGERPRINT}. Install this version of the pack "
                "there and restart it."
            )
        files = json.dumps(model_names(self.prompt))
        probe = {"1": {"class_type": FINGERPRINT, "inputs": {"files": files}}}
        prompt_id = self.client.queue(probe, prompt_id=str(uuid.uuid4()), front=True)
        found = self.ended(prompt_id)
        if found.state is not State.DONE:
            raise ValueError(f"The ComfyUI at {self.client.address} cannot read its model files: {found.error}")
        report = json.loads(found.outputs["1"]["text"][0])
        self._identity = ServerIdentity(report["fingerprint"], report["pack_version"], report["models"])
        return self._identity

    def prompt_id(self, cell: Cell) -> str:
        """Return the id of the cell's prompt, the same in every run and at every server of one identity."""
        return str(uuid.uuid5(PROMPT_IDS, cell.key(self._identity or self.identity())))

    def run(self, cell: Cell) -> CellOutput:
        """Run a cell to its end. CellFailed, CellStopped, ServerGone."""
        self.send(cell)
        while (output := self.poll(cell)) is None:
            time.sleep(self.poll_seconds)
        return output

    def send(self, cell: Cell) -> bool:
        """Queue the cell; return whether the server has it from an earlier run. CellFailed where it cannot be used."""
        prompt_id = self.prompt_id(cell)
        try:
            if self.client.look_up(prompt_id).state in (State.WAITING, State.DONE):
                return True
            self.client.queue(self.filled(cell), prompt_id=prompt_id)
        except ServerGone:
            raise
        except BAD_CELL as error:
            raise CellFailed(str(error)) from error
        return False

    def poll(self, cell: Cell) -> CellOutput | None:
        """Return the output of a cell that was sent, None while it runs. CellFailed, CellStopped, ServerGone."""
        prompt_id = self.prompt_id(cell)
        found = self.client.look_up(prompt_id)
        if found.state is State.WAITING:
            return None
        if found.state is State.FAILED:
            raise CellFailed(found.error)
        if found.state is not State.DONE:
            raise CellStopped(found.error or LOST)
        try:
            where = saved_file(found.outputs.get(self.template.result, {}))
            return CellOutput(self._fetched(*where), Path(where[-1]).suffix, found.seconds, prompt_id)
        except ServerGone:
            raise
        except BAD_CELL as error:
            raise CellFailed(f"The video cannot be fetched from the server: {error}") from error

    def stop(self, cells: Iterable[Cell]) -> None:
        """Take cells out of the server's queue and interrupt those that run; all other prompts go on."""
        self.client.stop_prompts([self.prompt_id(cell) for cell in cells])

    def ended(self, prompt_id: str) -> PromptState:
        """Wait for the end of a prompt."""
        while (found := self.client.look_up(prompt_id)).state is State.WAITING:
            time.sleep(self.poll_seconds)
        return found

    def filled(self, cell: Cell) -> dict:
        """Return the cell's prompt with its files uploaded; ValueError where one cannot be used."""
        pair = cell.pair
        read_photo(pair.photo)
        if next(read_frames(pair.video), None) is None:
            raise ValueError(f"{pair.video} holds no frame. Give a video that plays.")
        uploaded = {name: self._upload(cell, name) for name in FILES if getattr(pair, name)}
        prompt = self.template.fill(self.prompt, uploaded["photo"], uploaded["video"], cell.name)
        for name, source in (("photo_poses", self.template.photo), ("driving_poses", self.template.video)):
            if name in uploaded:
                with_pose_file(prompt, source, uploaded[name], self.object_info)
        return prompt

    def _upload(self, cell: Cell, name: str) -> str:
        file = getattr(cell.pair, name)
        if not file.is_file():
            raise ValueError(f"There is no file {file}.")
        digest = cell.hashes.get(name) or file_sha256(file)
        return self.client.upload_once(file, f"{UPLOAD_PREFIX}{digest[:HASH_DIGITS]}{file.suffix.lower()}")

    def _fetched(self, kind: str, subfolder: str, name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "video")
            self.client.fetch(kind, subfolder, name, target)
            return target.read_bytes()
