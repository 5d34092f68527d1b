"""One run at a time at one place: a file with a heartbeat, which a run that was killed leaves to the next one."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import psutil

from .result_files import ResultFiles

LOCK = "farm.lock"
HEARTBEAT_SECONDS, STALE_SECONDS = 10, 60


class RunLock:
    """Held between __enter__ and __exit__; ValueError while another run holds it, or the place cannot be written.

    on_lost(error) is called from another thread when another run has taken the lock, which it believed to be stale.
    """

    def __init__(self, files: ResultFiles, heartbeat: float = HEARTBEAT_SECONDS):
        self.files, self.heartbeat = files, heartbeat
        self.on_lost: Callable[[Exception], None] | None = None
        me = psutil.Process()
        self.owner = {"host": socket.gethostname(), "pid": me.pid, "started": me.create_time(), "id": uuid.uuid4().hex}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "RunLock":
        try:
            if not self.files.create(LOCK, self._content()):
                self._replace()
        except OSError as error:
            raise ValueError(
                f"The results cannot be written to {self.files.place}: {error.strerror or error}. Free some space, "
                "make it writable, or choose another place with --output."
            ) from error
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(OSError):  # a lock that stays behind is stale in a minute
            if self._is_mine():
                self.files.remove(LOCK)

    def _replace(self) -> None:
        holder = self._holder()
        if holder is not None and is_alive(holder):
            raise ValueError(
                f"Another run writes to {self.files.place}: process {holder.get('pid')} on {holder.get('host')}. Wait "
                "for its end, stop it, or choose another place with --output."
            )
        self.files.remove(LOCK)
        if not self.files.create(LOCK, self._content()):
            raise ValueError(f"Another run has just begun to write to {self.files.place}. Wait for its end.")

    def _beat(self) -> None:
        while not self._ended.wait(self.heartbeat):
            with suppress(OSError):  # the next heartbeat, or the next result, meets the same trouble
                if not self._is_mine():
                    if self.on_lost:
                        self.on_lost(ValueError(f"Another run has taken over {self.files.place}. This one stops."))
                    return
                self.files.write(LOCK, self._content())

    def _is_mine(self) -> bool:
        holder = self._holder()
        return holder is not None and holder.get("id") == self.owner["id"]

    def _holder(self) -> dict | None:
        try:
            found = json.loads(self.files.read(LOCK) or b"null")
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _content(self) -> bytes:
        return json.dumps(self.owner | {"time": time.time()}).encode()


def is_alive(holder: dict) -> bool:
    """Return whether the run that wrote a lock goes on: its process on this machine, else its heartbeat."""
    if holder.get("host") != socket.gethostname():
        return abs(time.time() - holder.get("time", 0)) < STALE_SECONDS
    try:
        return psutil.Process(holder["pid"]).create_time() == holder.get("started")
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
