"""The engine on a Ray cluster: one actor, with a ComfyUI of its own, for each GPU or machine.

Machines may join and leave. Ray does not give a dead actor's call to another one whatever its retries say, so that
every cell whose worker is lost goes back to the queue here.
"""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ...comfy_client.in_process import PACK
from .cell import Cell, CellFailed, CellStopped
from .cell_prompt import PromptTemplate
from .cell_queue import CellQueue
from .engine import NoWorkers
from .pose_steps import PoseKey, SharedPoses
from .ray_cluster import Node, actor_class, living_nodes
from .ray_worker import POSE_CACHE, Started, files_of, received_path

POLL_SECONDS = 0.1  # between two looks at a running prompt
LOOK_SECONDS = 1  # between two looks at the cluster's machines
WAIT_SECONDS = 0.25
GIVE_UP_SECONDS = 900  # without a worker: an autoscaler takes minutes for a machine, ComfyUI some for a start
MAX_FAILED_STARTS = 3  # in a row, of one machine
STOP_SECONDS = 20
KEPT_FILES = 64  # newest in the object store beside those of running cells


@dataclass(frozen=True)
class RayOptions:
    """How many workers there are, and on what.

    min_workers: asked for although no machine has room, so that the cluster's autoscaler adds some. max_workers: None
    for as many as have room. models: folder of models on every machine; None for that of its ComfyUI.
    """

    min_workers: int = 1
    max_workers: int | None = None
    gpus_per_worker: float = 1
    models: str | None = None
    poll_seconds: float = POLL_SECONDS
    look_seconds: float = LOOK_SECONDS
    give_up_seconds: float = GIVE_UP_SECONDS


@dataclass
class _Worker:
    """An actor and the call that it runs: "start", "poses" or "run", or "" while it is idle."""

    name: str
    actor: Any
    node: str  # "" until Ray has found a machine for it
    call: str = "start"
    answer: Any = None
    cell: Cell | None = None
    steps: list[PoseKey] = field(default_factory=list)
    has: set[str] = field(default_factory=set)  # paths of the files that it was sent


class RayEngine:
    """Runs cells on the cluster that `ray` is connected to."""

    def __init__(self, ray: Any, template: PromptTemplate, options: RayOptions):
        self.ray, self.template, self.options = ray, template, options
        self.workers: dict[str, _Worker] = {}
        self.nodes: dict[str, Node] = {}
        self.refused: dict[str, str] = {}  # why a machine gets no worker any more, by its id
        self.failed_starts: Counter[str] = Counter()
        self.poses: SharedPoses = SharedPoses({}, ())  # of no node until the first worker has read the prompt
        self._actor = actor_class(ray, options.gpus_per_worker)
        self._started = 0
        self._put = lru_cache(KEPT_FILES)(lambda file, _digest: ray.put(file.read_bytes()))

    def run(self, queue: CellQueue) -> None:
        """See `Engine`."""
        self.queue = queue
        try:
            self._run()
        finally:
            self._end()

    def _run(self) -> None:
        looked, alone_since = 0.0, time.monotonic()
        while not self.queue.over:
            if time.monotonic() - looked > self.options.look_seconds:
                self._look()
                looked = time.monotonic()
            if self.queue.workers:
                alone_since = time.monotonic()
            elif time.monotonic() - alone_since > self.options.give_up_seconds:
                raise NoWorkers(self._why_alone())
            for worker in list(self.workers.values()):
                if not worker.call:
                    self._give_cell(worker)
            answers = {worker.answer: worker for worker in self.workers.values() if worker.call}
            if not answers:
                self.queue.wait(WAIT_SECONDS)
                continue
            ended, _ = self.ray.wait(list(answers), timeout=WAIT_SECONDS)
            for answer in ended:
                self._take_answer(answers[answer])

    def _end(self) -> None:
        """Give running cells back, end every ComfyUI, then the actors."""
        workers, self.workers = list(self.workers.values()), {}
        stopping = [worker.actor.call.remote("stop") for worker in workers if worker.name in self.queue.workers]
        for worker in workers:
            if worker.cell is not None:
                self.queue.give_back(worker.name, worker.cell)
            self.queue.leave(worker.name)
        if stopping:
            self.ray.wait(stopping, num_returns=len(stopping), timeout=STOP_SECONDS)
        for worker in workers:
            self.ray.kill(worker.actor)

    def _look(self) -> None:
        """Give up workers whose machine is gone, and start workers where there is room."""
        self.nodes = living_nodes(self.ray)
        for worker in list(self.workers.values()):
            if worker.node and worker.node not in self.nodes:
                self._lose(worker, "its machine has left the cluster")
        options, used = self.options, Counter(worker.node for worker in self.workers.values())
        left = len(self.queue.cells) - len(self.queue.ended)
        most = left if options.max_workers is None else min(left, options.max_workers)
        free = [
            node.id
            for node in self.nodes.values()
            if node.id not in self.refused
            for _ in range(node.slots(options.gpus_per_worker) - used[node.id])
        ]
        for node_id in free[: max(0, min(len(free) - used[""], most - len(self.workers)))]:
            self._start(node_id)
        for _ in range(0 if self.refused else min(options.min_workers, most) - len(self.workers)):
            self._start("")
        if self.refused and not self.workers:
            raise NoWorkers(self._why_alone())

    def _start(self, node_id: str) -> None:
        """Start a worker on a machine, or for "" wherever and whenever there is room."""
        options, actor = self.options, self._actor
        if node_id:
            place = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
            actor = actor.options(scheduling_strategy=place)
        self._started += 1
        where = f" on {self.nodes[node_id].address}" if node_id else ""
        worker = _Worker(f"worker {self._started}{where}", actor.remote(str(PACK)), node_id)
        cpu = not options.gpus_per_worker
        worker.answer = worker.actor.call.remote("start", self.template, cpu, options.models, options.poll_seconds)
        self.workers[worker.name] = worker

    def _take_answer(self, worker: _Worker) -> None:
        """Go on with what a call of the worker gave."""
        errors = self.ray.exceptions
        answer: Any = None
        error: BaseException | None = None
        try:
            answer = self.ray.get(worker.answer)
        except errors.RayTaskError as failed:
            error = getattr(failed, "cause", None) or failed
        except errors.RayError as lost:
            error = lost
        call, cell, worker.call = worker.call, worker.cell, ""
        if cell is None:
            self._take_start(worker, answer, error)
        elif isinstance(error, (CellFailed, CellStopped)):
            worker.cell = None
            end = self.queue.fail if isinstance(error, CellFailed) else self.queue.give_back
            end(worker.name, cell, str(error))
        elif error is not None:
            self._lose(worker, in_words(error))
        elif call == "poses":
            self._take_poses(worker, answer)
            self._call(worker, cell, "run")
        else:
            worker.cell = None
            self.queue.finish(worker.name, cell, answer)

    def _take_start(self, worker: _Worker, started: Started | None, error: BaseException | None) -> None:
        if started is None:
            self._lose(worker, f"cannot be started: {in_words(error)}")
            self.failed_starts[worker.node] += 1
            if self.failed_starts[worker.node] >= MAX_FAILED_STARTS:
                self.refused[worker.node] = f"{worker.name}: {in_words(error)}"
            return
        worker.node = worker.node or started.node
        self.failed_starts.pop(worker.node, None)
        if not self.queue.join(worker.name, started.identity):
            self.refused[worker.node] = f"{worker.name} has other models or another version of the pack."
            self._lose(worker, "")
        elif not self.poses.nodes:
            self.poses = SharedPoses(started.pose_nodes, self.queue.cells)

    def _take_poses(self, worker: _Worker, found: dict[str, bytes]) -> None:
        """Keep the files of poses in the object store, where the other workers find them."""
        stored = {f"{POSE_CACHE}/{name}": self.ray.put(content) for name, content in found.items()}
        worker.has |= stored.keys()
        self.poses.end(worker.name, dict.fromkeys(worker.steps, stored))

    def _lose(self, worker: _Worker, reason: str) -> None:
        """Give up a worker; its cell goes to another."""
        del self.workers[worker.name]
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(worker.actor)
        self.poses.end(worker.name, {})
        if worker.cell is not None:
            self.queue.give_back(worker.name, worker.cell, reason)
        self.queue.leave(worker.name, reason)

    def _give_cell(self, worker: _Worker) -> None:
        """Let an idle worker run a cell, or before it the steps that find its poses."""
        cell = self.queue.take(worker.name, self.poses.may_run)
        if cell is None:
            return
        worker.cell, worker.steps = cell, self.poses.begin(worker.name, cell)
        if worker.steps:
            self._call(worker, cell, "poses", [key[0] for key in worker.steps])
        else:
            self._call(worker, cell, "run")

    def _call(self, worker: _Worker, cell: Cell, call: str, *arguments: Any) -> None:
        """Call the worker, with the files of the cell that it lacks in the object store."""
        try:
            files = {received_path(cell, name): self._stored(cell, name) for name in files_of(cell)}
        except OSError as error:
            self.poses.end(worker.name, {})
            worker.cell = None
            self.queue.fail(worker.name, cell, f"{error.filename} cannot be read: {error.strerror}.")
            return
        for key in self.poses.keys(cell):
            files |= self.poses.found.get(key, {})
        new = {path: stored for path, stored in files.items() if path not in worker.has}
        worker.has |= new.keys()
        worker.call = call
        worker.answer = worker.actor.call_with_files.remote(call, (cell, *arguments, list(new)), *new.values())

    def _stored(self, cell: Cell, name: str) -> Any:
        return self._put(getattr(cell.pair, name), cell.hashes[name])

    def _why_alone(self) -> str:
        options = self.options
        if self.refused:
            return " ".join(self.refused.values())
        kind = f"{options.gpus_per_worker:g} GPUs for a worker" if options.gpus_per_worker else "a free processor"
        return (
            f"No machine of the cluster has had {kind} and started one within {options.give_up_seconds:g} s. Add "
            "machines, or give --gpus-per-worker 0 to compute on processors."
        )


def in_words(error: BaseException | None) -> str:
    """Return an error's text; of the text that Ray adds to its own errors, the line that says what happened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if not type(error).__module__.startswith("ray."):
        return "\n".join(lines)
    return lines[-1] if "creation task" in lines[0] else lines[0]
