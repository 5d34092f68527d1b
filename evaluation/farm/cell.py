"""A cell of the farm: one photo, one dance, one workflow and seed, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .cell_prompt import sha256_of
from .cell_sets import Pair

FILES = ("photo", "video", "photo_poses", "driving_poses")  # of a pair, that make its video
DONE, FAILED, POISONED = "done", "failed", "poisoned"


@dataclass(frozen=True)
class ServerIdentity:
    """What a server reports of the model files that the workflow names, and of the pack.

    fingerprint: hash of `models`, sampled content hashes by file name. pack_version: as in pyproject.toml.
    """

    fingerprint: str
    pack_version: str
    models: Mapping[str, str] = field(default_factory=dict, compare=False)

    def difference(self, other: "ServerIdentity") -> str:
        """Return in words what `other` reports that this one does not."""
        if self.pack_version != other.pack_version:
            return f"SteadyDancer {other.pack_version} instead of {self.pack_version}"
        names = sorted({*self.models, *other.models})
        changed = [name for name in names if self.models.get(name) != other.models.get(name)]
        return f"other contents of {', '.join(changed) or 'its model files'}"


@dataclass(frozen=True)
class Cell:
    """One video to make. It is plain data and can be pickled.

    hashes: sha256 of the pair's files by the names in FILES, "" for a file that cannot be read, None for one it lacks.
    workflow_sha256: `PromptTemplate.sha256`. seed: None keeps the workflow's.
    """

    pair: Pair
    hashes: Mapping[str, str | None]
    workflow_sha256: str
    seed: int | None

    @property
    def name(self) -> str:
        """The cell's folder in the results, unique in a run."""
        return self.pair.name

    def work(self) -> dict:
        """Return what decides the video apart from the server."""
        files = {f"{name}_sha256": self.hashes.get(name) for name in FILES}
        return {**files, "workflow_sha256": self.workflow_sha256, "seed": self.seed}

    def key(self, identity: ServerIdentity) -> str:
        """Return the hash of all that decides the video: equal keys, equal videos."""
        return sha256_of([self.work(), identity.fingerprint, identity.pack_version])

    def with_files(self, **files: Path) -> "Cell":
        """Return the same cell, under the same key, whose files lie elsewhere, for example on another machine."""
        return replace(self, pair=replace(self.pair, **files))


@dataclass(frozen=True)
class CellOutput:
    """The video of a cell that is done: the bytes of its file, its suffix (".mp4"), and the seconds ComfyUI ran."""

    video: bytes
    suffix: str
    seconds: float
    prompt_id: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a cell ended: DONE with its output, FAILED or POISONED with an error in words."""

    status: str
    worker: str
    attempts: int = 1
    error: str = ""
    output: CellOutput | None = None


class CellFailed(ValueError):
    """The cell itself cannot be done, on any worker: an unreadable photo, a refused prompt, a node that raised."""


class CellStopped(RuntimeError):
    """The cell was stopped or forgotten by a server that still runs; another attempt may do it."""
