"""The engine that needs nothing but addresses: one thread for each ComfyUI server."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event, Thread

import requests

from ...comfy_client.client import ComfyClient, ServerGone
from .cell import Cell, CellFailed, CellOutput, CellStopped
from .cell_prompt import PromptTemplate
from .cell_queue import CellQueue
from .cell_runner import POLL_SECONDS, CellRunner
from .engine import NoWorkers

AHEAD = 2  # cells of ours at a server: it goes on while a finished one is fetched
RETRIES = 3  # of a connection, after 0, 2 and 4 s: a server that is only slow is not given up
PROBE_SECONDS = 10  # between two tries of a server that is gone
GIVE_UP_SECONDS = 20  # without any server
REMEMBERED = 64  # newest prompts of a server's history in which an earlier run's are looked for
STOP_SECONDS = 20


class ServersEngine:
    """Runs cells at ComfyUI servers, given as HOST:PORT; NoWorkers when none answers."""

    def __init__(
        self,
        addresses: Sequence[str],
        template: PromptTemplate,
        poll_seconds: float = POLL_SECONDS,
        retries: int = RETRIES,
        probe_seconds: float = PROBE_SECONDS,
        give_up_seconds: float = GIVE_UP_SECONDS,
    ):
        self.addresses = list(dict.fromkeys(addresses))
        self.template, self.poll_seconds, self.retries = template, poll_seconds, retries
        self.probe_seconds, self.give_up_seconds = probe_seconds, give_up_seconds
        self.known: dict[str, set[str]] = {}  # ids of prompts by the server that has them from before
        self.stopped = Event()
        self._refused: dict[str, str] = {}  # why a server gets no cells, for good
        self.gone: dict[str, str] = {}  # why a server does not answer now

    def run(self, queue: CellQueue) -> None:
        """See `Engine`."""
        self._look_for_earlier_prompts()
        threads = [Thread(target=self._serve, args=(queue, address), daemon=True) for address in self.addresses]
        for thread in threads:
            thread.start()
        try:
            self._watch(queue, threads)
        finally:
            self.stopped.set()
            end = time.monotonic() + STOP_SECONDS
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))

    def _look_for_earlier_prompts(self) -> None:
        """Note what each server has in its queue and history; NoWorkers unless one answers."""
        with ThreadPoolExecutor(min(32, len(self.addresses))) as pool:
            list(pool.map(self._try_server, self.addresses))
        if not self.known:
            raise NoWorkers(" ".join(self.gone.values()))

    def _try_server(self, address: str) -> None:
        try:
            with ComfyClient(address) as client:
                client.check()
                self.known[address] = client.known_prompts(REMEMBERED)
        except (ServerGone, requests.RequestException) as error:
            self.gone[address] = str(error)

    def _watch(self, queue: CellQueue, threads: Sequence[Thread]) -> None:
        """Wait for the end; NoWorkers when all servers are refused, or gone for long."""
        alone_since = time.monotonic()
        while not queue.over:
            queue.wait(0.5)
            absent = self._refused | self.gone
            if not any(thread.is_alive() for thread in threads) and not absent and not queue.over:
                raise NoWorkers("The threads that serve the servers have ended. The lines above say why.")
            if len(absent) < len(self.addresses):
                alone_since = time.monotonic()
            nobody_comes = len(self._refused) == len(self.addresses)
            if (nobody_comes or time.monotonic() - alone_since > self.give_up_seconds) and not queue.over:
                raise NoWorkers(" ".join(absent.values()))

    def refuse(self, address: str, reason: str) -> None:
        """Give a server no cells for the rest of the run."""
        self.known.pop(address, None)
        self._refused[address] = reason

    def _serve(self, queue: CellQueue, address: str) -> None:
        """Give a server cells until the end; while it is gone it is tried again now and then."""
        if address in self.gone:
            queue.on_note(f"{self.gone[address]} It is tried again every {self.probe_seconds:g} s.")
            self.stopped.wait(self.probe_seconds)
        while not self.stopped.is_set():
            server = _Server(self, queue, address)
            try:
                server.serve()
                return
            except (ServerGone, requests.RequestException) as error:
                self.known.pop(address, None)
                if address not in self.gone:
                    self.gone[address] = str(error)
                    server.give_back(str(error))
                    queue.leave(address, f"{error} It is tried again every {self.probe_seconds:g} s.")
            except ValueError as error:
                self.refuse(address, str(error))
                server.give_back("")
                queue.leave(address, str(error))
                return
            self.stopped.wait(self.probe_seconds)


class _Server:
    """One server at work: the cells that it has, oldest first."""

    def __init__(self, engine: ServersEngine, queue: CellQueue, address: str):
        self.engine, self.queue, self.address = engine, queue, address
        self.cells: list[Cell] = []

    def serve(self) -> None:
        engine, queue = self.engine, self.queue
        with ComfyClient(self.address) as client:
            client.check()
        with ComfyClient(self.address, engine.retries) as client:
            runner = CellRunner(client, engine.template, engine.poll_seconds)
            if not queue.join(self.address, runner.identity()):
                engine.refuse(self.address, f"{self.address} has other models or another version of the pack.")
                return
            engine.gone.pop(self.address, None)
            while not (queue.over or engine.stopped.is_set()):
                self._fill(runner)
                if not self._finish_oldest(runner):
                    queue.wait(engine.poll_seconds)
            if self.cells:
                runner.stop(self.cells)
            self.give_back("")

    def give_back(self, error: str) -> None:
        """Give all cells back; which of them ran is not known, so an error counts against each."""
        for cell in self.cells:
            self.queue.give_back(self.address, cell, error)
        self.cells = []

    def _fill(self, runner: CellRunner) -> None:
        """Take cells up to AHEAD; a second one only while there are enough for all servers.

        A cell that was tried before runs alone, so that no other is blamed for what it does to a server.
        """
        queue = self.queue
        while len(self.cells) < AHEAD and not any(map(queue.was_tried, self.cells)):
            if self.cells and queue.pending < len(queue.workers):
                return
            cell = queue.take(self.address, lambda cell: self._may_take(cell, runner.prompt_id(cell)))
            if cell is None:
                return
            self.cells.append(cell)
            try:
                if runner.send(cell):
                    queue.on_note(f"{cell.name}: was queued by an earlier run and is taken from there")
            except CellFailed as error:
                self.cells.remove(cell)
                queue.fail(self.address, cell, str(error))

    def _may_take(self, cell: Cell, prompt_id: str) -> bool:
        """Return whether no other server has the prompt from an earlier run, and the cell need not run alone."""
        if self.cells and self.queue.was_tried(cell):
            return False
        others = (ids for address, ids in list(self.engine.known.items()) if address != self.address)
        return not any(prompt_id in ids for ids in others)

    def _finish_oldest(self, runner: CellRunner) -> bool:
        """Return whether the oldest cell has ended."""
        if not self.cells:
            return False
        cell = self.cells[0]
        try:
            output: CellOutput | None = runner.poll(cell)
            if output is None:
                return False
            self.cells.pop(0)
            self.queue.finish(self.address, cell, output)
        except CellFailed as error:
            self.cells.pop(0)
            self.queue.fail(self.address, cell, str(error))
        except CellStopped as error:
            self.cells.pop(0)
            self.queue.give_back(self.address, cell, str(error))
        return True


def read_addresses(servers: Sequence[str], text: str = "") -> list[str]:
    """Return HOST:PORT of options and of a list with one a line, # for comments; ValueError for what is none."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = [*servers, *(line for line in lines if line)]
    for address in found:
        with suppress(ValueError):
            if 0 < int(address.rstrip("/").rpartition(":")[2]) < 65536:
                continue
        raise ValueError(f"'{address}' is no address of a server. Give HOST:PORT, for example 192.168.1.20:8188.")
    return found
