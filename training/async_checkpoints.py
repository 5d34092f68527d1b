"""Checkpoints that every process writes its part of, while the training goes on.

They lie where those of checkpoints.py do, complete or absent too; in place of its tensor files they have those of
shard_files.py. One is written at a time: the next, and the end of the run, wait for it.
"""

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import torch.distributed as dist

from . import checkpoints, shard_files
from .processes import are_several, checkpoint_group, processes


class AsyncCheckpoints:
    """Writes the checkpoints of a run below `folder`; a context that ends when the last one is written."""

    def __init__(self, folder: Path, minutes: float = 0):
        shard_files.check_torch()
        self.folder, self.group = folder, checkpoint_group(minutes)
        self.main = processes().is_main_process
        self.finisher, self.pending = ThreadPoolExecutor(1), None

    def __enter__(self) -> "AsyncCheckpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        elif self.pending:
            wait([self.pending])
        self.finisher.shutdown()

    def begin(self, step: int, facts: Mapping[str, Any], groups: shard_files.Groups) -> None:
        """Begin to write a checkpoint after the one before is written. Every process must ask at the same time.

        ValueError: the one before cannot be written, as on a full disk; the last one that can stays.
        """
        self.finish()
        new, message = checkpoints.place(self.folder) / checkpoints.WRITING, ""
        if self.main:
            try:
                checkpoints.clear(new)
            except OSError as error:
                message = str(checkpoints.not_written(self.folder, new, 0, error))
        self._agree(message)
        size = sum(tensor.nbytes for tensors in groups.values() for tensor in tensors.values())
        written = shard_files.begin_writing(new, groups, self.group)
        self.pending = self.finisher.submit(self._publish, written, step, facts, size) if self.main else written

    def finish(self) -> None:
        """Wait until the checkpoint that was begun is there. ValueError: it cannot be written."""
        if self.pending is None:
            return
        message, pending, self.pending = "", self.pending, None
        try:
            pending.result()
        except shard_files.failures() as error:
            message = str(error)
        self._agree(message)

    def _publish(self, written: Future, step: int, facts: Mapping[str, Any], size: int) -> None:
        new = checkpoints.place(self.folder) / checkpoints.WRITING
        try:
            written.result()
            files = sorted(path.name for path in new.glob(shard_files.PATTERN))
            checkpoints.write_state(new, {"step": step, **facts}, files)
        except shard_files.failures() as error:
            shutil.rmtree(new, ignore_errors=True)
            raise checkpoints.not_written(self.folder, new, size, shard_files.reason(error)) from error
        checkpoints.publish(self.folder, step)

    def _agree(self, message: str) -> None:
        """Wait for all processes. ValueError: the main one has a message."""
        said = [message]
        if are_several():
            dist.broadcast_object_list(said, src=0, group=self.group)
        if said[0]:
            raise ValueError(said[0])
