"""What a training run tells: a log file, TensorBoard, pictures as PNG."""

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)
LINE = "%(asctime)s %(message)s"


class Journal:
    """The journal of a run in `folder`: train.log, tensorboard/, pictures/. A context manager.

    step: updates done so far; what TensorBoard holds of later steps, from before a kill, is hidden.
    A journal that is not `active` (every process but the first) says nothing.
    """

    def __init__(self, folder: Path, step: int = 0, active: bool = True):
        self.folder, self.step, self.active = Path(folder), step, active

    def __enter__(self) -> "Journal":
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

    def say(self, text: str) -> None:
        """Write one line to the log."""
        if self.active:
            log.info(text)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Hand scalars to TensorBoard."""
        if self.active:
            for name, value in figures.items():
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


class Clock:
    """Time per step, without the time that checkpoints and pictures take."""

    def __init__(self) -> None:
        self.steps, self.seconds, self.since = 0, 0.0, time.perf_counter()

    def stop(self, steps: int) -> None:
        """Count `steps` done since the last start."""
        self.seconds += time.perf_counter() - self.since
        self.steps += steps

    def start(self) -> None:
        """Go on counting."""
        self.since = time.perf_counter()

    def take(self) -> float:
        """Return seconds per step since the last call."""
        rate = self.seconds / max(1, self.steps)
        self.steps, self.seconds = 0, 0.0
        return rate


def duration(seconds: float) -> str:
    """Return hours, minutes and seconds, as in 1:02:03."""
    return str(timedelta(seconds=round(seconds)))
