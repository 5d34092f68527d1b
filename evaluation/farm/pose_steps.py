"""The steps of a prompt that find poses and that cells share: those of one dance, and those of one photo."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from .cell import Cell
from .cell_prompt import EXTRACT, PromptTemplate

POSE_FILES = {"photo": "photo_poses", "video": "driving_poses"}  # files of a pair that replace a detector
SHOW = {"class_type": "PreviewAny", "inputs": {}}
REPORT_OUTPUT = 5  # of EXTRACT

PoseKey = tuple[str, ...]
Stored = TypeVar("Stored")


def needed_by(prompt: Mapping, node_id: str) -> set[str]:
    """Return the ids of a node and of all that it depends on."""
    found, open_ids = set(), [node_id]
    while open_ids:
        current = open_ids.pop()
        if current not in found:
            found.add(current)
            values = prompt[current]["inputs"].values()
            open_ids += [value[0] for value in values if isinstance(value, list) and value and value[0] in prompt]
    return found


def pose_nodes(prompt: Mapping, template: PromptTemplate) -> dict[str, tuple[str, ...]]:
    """Return the ids of the Extract Poses nodes, each with those of "photo" and "video" that it depends on."""
    nodes = {}
    for node_id, node in prompt.items():
        if node["class_type"] == EXTRACT:
            needed = needed_by(prompt, node_id)
            files = (("photo", template.photo), ("video", template.video))
            nodes[node_id] = tuple(name for name, loader in files if loader in needed)
    return nodes


def pose_prompt(prompt: Mapping, node_ids: Sequence[str]) -> dict:
    """Return the part of a prompt that finds the poses of these nodes, with an output for each."""
    kept = set().union(*(needed_by(prompt, node_id) for node_id in node_ids))
    outputs = {f"show_{i}": {**SHOW, "inputs": {"source": [i, REPORT_OUTPUT]}} for i in node_ids}
    return {**{node_id: prompt[node_id] for node_id in kept}, **outputs}


class SharedPoses(Generic[Stored]):
    """What was found by the pose steps that at least two cells share; each step is begun by one worker only.

    found: by the step's key, what was stored by name of its file.
    """

    def __init__(self, nodes: Mapping[str, tuple[str, ...]], cells: Sequence[Cell]):
        self.nodes = nodes
        self.found: dict[PoseKey, dict[str, Stored]] = {}
        self._begun: dict[PoseKey, str] = {}
        counts = Counter(key for cell in cells for key in self._all_keys(cell))
        self._shared = {key for key, count in counts.items() if count > 1}

    def keys(self, cell: Cell) -> list[PoseKey]:
        """Return the keys of the cell's shared steps; the first item of a key is the node's id."""
        return [key for key in self._all_keys(cell) if key in self._shared]

    def may_run(self, cell: Cell) -> bool:
        """Return whether no step of the cell is under way at a worker."""
        return not any(key in self._begun for key in self.keys(cell))

    def begin(self, worker: str, cell: Cell) -> list[PoseKey]:
        """Return the steps of the cell that are to be done first, and note that the worker does them."""
        missing = [key for key in self.keys(cell) if key not in self.found]
        self._begun |= dict.fromkeys(missing, worker)
        return missing

    def end(self, worker: str, found: Mapping[PoseKey, dict[str, Stored]]) -> None:
        """Keep what a worker found; what it began beside that is free for another one."""
        self.found |= found
        self._begun = {key: owner for key, owner in self._begun.items() if owner != worker}

    def _all_keys(self, cell: Cell) -> list[PoseKey]:
        return [
            (node_id, *(cell.hashes.get(name) or cell.name for name in files))
            for node_id, files in self.nodes.items()
            if files and not any(getattr(cell.pair, POSE_FILES[name]) for name in files)
        ]
