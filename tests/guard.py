"""Nothing leaves this machine and nothing is written outside temporary folders while tests run.

Python's audit events show what Python code does; what a native library does by itself shows in a fresh home folder,
see test_privacy.py. The browser is a process of its own and is told at its start to reach nothing else.
"""

import ipaddress
import os
import sys
import tempfile
from pathlib import Path

HOST_OF = {  # audit event -> the host in its arguments
    "socket.connect": lambda sock, address: address[0] if isinstance(address, tuple) else None,
    "socket.sendto": lambda sock, address: address[0] if isinstance(address, tuple) else None,
    "socket.getaddrinfo": lambda host, *_: host,
    "socket.gethostbyname": lambda host: host,
}
CHANGED_BY = {  # audit event -> the names in its arguments that it makes or moves; os.replace is os.rename too
    "os.mkdir": lambda path, *_: [] if os.path.isdir(path) else [path],  # makedirs asks for those that are there
    "os.rename": lambda source, target, *_: [source, target],
    "os.link": lambda source, target, *_: [target],
    "os.symlink": lambda source, target, *_: [target],
}
CACHES = {"__pycache__", ".pytest_cache"}  # of Python and pytest, beside the code
WRITES = os.O_WRONLY | os.O_RDWR


class Guard:
    """Refuses connections and look-ups except on this machine, and files outside `folders` and the temporary folder.

    Lasts as long as the process. `refused` names what was refused, also where a library swallowed the error.
    """

    def __init__(self, *folders: Path):
        self.refused: list[str] = []
        self.watching = True
        self.allowed = tuple(os.path.realpath(folder) + os.sep for folder in (tempfile.gettempdir(), "/dev", *folders))
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple) -> None:
        if not self.watching:
            return
        what = None
        if event in HOST_OF and not is_local(HOST_OF[event](*arguments)):
            what = f"{event} {HOST_OF[event](*arguments)}"
        elif event == "open" and self._is_written_outside(*arguments):
            what = f"writes {arguments[0]}"
        elif event in CHANGED_BY:
            outside = filter(self._is_outside, CHANGED_BY[event](*arguments))
            what = next((f"{event} {os.fsdecode(path)}" for path in outside), None)
        if what:
            self.refused.append(what)
            raise RuntimeError(f"A test may not do this: {what}")

    def _is_written_outside(self, path: str | bytes | int, mode: str | None, flags: int) -> bool:
        if isinstance(path, int) or not (set(mode or "") & set("wax+") or flags & WRITES):
            return False
        return self._is_outside(path)

    def _is_outside(self, path: str | bytes) -> bool:
        place = os.path.realpath(os.fsdecode(path))
        return not place.startswith(self.allowed) and not CACHES & set(Path(place).parts)


def is_local(host: str | bytes | None) -> bool:
    """Return whether a host is this machine; None and "" are."""
    name = os.fsdecode(host or "localhost")
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return name == "localhost"
