"""The peak of a process tree's memory, sampled while it runs."""

import threading
from contextlib import suppress

import psutil

INTERVAL_SECONDS = 0.1


class PeakMemory:
    """Watches the resident memory of a process and its children from now until stop(); `peak` is in bytes."""

    def __init__(self, pid: int):
        self.peak = 0
        self._process = psutil.Process(pid)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            with suppress(psutil.Error):  # one of them ended between the two calls
                tree = [self._process, *self._process.children(recursive=True)]
                self.peak = max(self.peak, sum(process.memory_info().rss for process in tree))

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
