"""What a training run tells: a log file, TensorBoard, pictures as PNG."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from .sharding import gather

log = logging.getLogger(__name__)
LINE = "%(asctime)s %(message)s"
NAMED = 5  # gradients that an error names


class RunLogger:
    """Logs a run in `folder`: train.log, tensorboard/, pictures/. A context manager.

    step: updates done so far; what TensorBoard holds of later steps, from before a kill, is hidden.
    A logger that is not `active` (every process but the first) says nothing.
    """

    def __init__(self, folder: Path, step: int = 0, active: bool = True):
        self.folder, self.step, self.active = Path(folder), step, active

    def __enter__(self) -> "RunLogger":
        if self.active:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.step + 1)
            self.handler = logging.FileHandler(self.folder / "train.log", encoding="utf-8")
            self.handler.setFormatter(logging.Formatter(LINE))
            self.level = log.level
            log.setLevel(logging.INFO)
            log.addHandler(self.handler)
        return self

    def __exit__(self, *_) -> None:
        if self.active:
            self.board.close()
            log.removeHandler(self.handler)
            self.handler.close()
            log.setLevel(self.level)

    def info(self, text: str) -> None:
        """Write one line to the log."""
        if self.active:
            log.info(text)

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand scalars to TensorBoard."""
        if self.active:
            for name, value in metrics.items():
                self.board.add_scalar(name, value, step)

    def pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Write pictures, name -> uint8 [H, W, 3], to TensorBoard and as pictures/<name>-<step>.png."""
        if not self.active:
            return
        for name, picture in pictures.items():
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(
                    f"The picture {name!r} is {picture.dtype} {list(picture.shape)}; it must be uint8 [H, W, 3]."
                )
            path = self.folder / "pictures" / f"{name.replace('/', '-')}-{step:07d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(path)
            self.board.add_image(name, picture, step, dataformats="HWC")


class MetricAverager:
    """The metrics of steps, on the device until somebody asks: asking at every step would hold a GPU up.

    finite: metrics that must be finite numbers; step: steps done so far.
    """

    def __init__(self, accelerator: Accelerator, finite: Sequence[str], step: int):
        self.accelerator, self.finite, self.step = accelerator, finite, step
        self.pending: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = []
        self.table: list[dict[str, float]] = []

    def add(self, row: Mapping[str, Tensor], norms: Mapping[str, Tensor]) -> None:
        """Note the metrics of the next step, and the norm of each parameter's gradient.

        Scalars on the device; every process has the same names.
        """
        self.pending.append((row, norms))

    def check(self) -> None:
        """Average what came in over the processes.

        RuntimeError if a metric is not finite; it names the step, its metrics and the gradients that are not finite.
        """
        flat = torch.stack([value.float() for row, _ in self.pending for value in row.values()])
        values = iter(self.accelerator.reduce(flat, "mean").tolist())
        for names, norms in self.pending:
            self.step += 1
            row = {name: next(values) for name in names}
            if not all(math.isfinite(row[name]) for name in self.finite):
                told = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
                raise RuntimeError(
                    f"The numbers are no longer finite at step {self.step}: {told}. {_not_finite(norms)}The last "
                    "checkpoint is kept. A lower learning rate, a longer warm-up or a finer precision helps."
                )
            self.table.append(row)
        self.pending.clear()

    def means(self) -> dict[str, float]:
        """Return the means over the steps since the last call, of each metric over the steps that have it."""
        names = dict.fromkeys(name for row in self.table for name in row)
        means = {name: fmean(row[name] for row in self.table if name in row) for name in names}
        self.table.clear()
        return means


def _not_finite(norms: Mapping[str, Tensor]) -> str:
    """Return a sentence that names the parameters whose gradient is not finite, nothing where all are."""
    names = [name for name, norm in norms.items() if not math.isfinite(gather(norm))]
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"Of {len(norms)} gradients {len(names)} are not finite: {', '.join(names[:NAMED])}{more}. "


class Clock:
    """Time per step, without the time that checkpoints and pictures take. step: steps done so far."""

    def __init__(self, step: int):
        self.step, self.told, self.seconds, self.since = step, step, 0.0, time.perf_counter()

    def stop(self, step: int) -> None:
        """Stop the clock after `step` steps; without effect where it stands."""
        if self.since is not None:
            self.seconds += time.perf_counter() - self.since
        self.step, self.since = step, None

    def start(self) -> None:
        """Let the clock run again; without effect where it runs."""
        if self.since is None:
            self.since = time.perf_counter()

    def seconds_per_step(self) -> float:
        """Return the mean since the last call; the clock must stand."""
        mean = self.seconds / max(1, self.step - self.told)
        self.told, self.seconds = self.step, 0.0
        return mean
