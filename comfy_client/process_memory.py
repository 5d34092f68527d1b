"""The peak of a process tree's memory, sampled while it runs."""

import threading

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
            self.peak = max(self.peak, self._resident())

    def _resident(self) -> int:
        try:
            tree = [self._process, *self._process.children(recursive=True)]
            return sum(process.memory_info().rss for process in tree)
        except psutil.Error:  # one of them ended between the two looks
            return 0

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
