"""Poses in a JSON file: a list with one dict per frame, as comfyui_controlnet_aux's Save Pose Keypoints writes it.

`save` writes one frame a line, and the "fps" in the first. `load` also takes a single frame, what OpenPose saves (no
canvas), and "openpose_json", the text that DWPose and the pose editors show.
"""

import json
import math
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...media.atomic_write import atomic_write, atomic_write_new
from ..poses import PoseClip
from .dialects import STRICT, write
from .keypoints import from_keypoints

# 39 minutes of one person with all keypoints, 7 kB a frame at 16 frames per second; loading takes 2.5 times as much.
MAX_BYTES = 256 * 2**20
SAMPLE, SURELY = 64, 1.1  # frames by which a file's size is estimated, and how far above MAX_BYTES is no error of that
FEWER = "Save fewer frames, or fewer people with Pick Person."
FPS = "fps"  # in the first frame that holds it
COMPACT = (",", ":")


def save(clip: PoseClip, path: str | Path, fps: float | None = None) -> None:
    """Write `clip` to `path`, whose folder is made; a file there is replaced; ValueError if it cannot be written."""
    path = Path(path)
    frames = _frames_of(clip, fps, STRICT, path.name)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            _write(part, path.name, frames)


def save_new(clip: PoseClip, names: Iterable[Path], fps: float | None = None, dialect: str = STRICT) -> Path:
    """Write `clip` to the first of `names`, paths in one existing folder, that is free in the end; return it."""
    first = next(iter(names))
    frames = _frames_of(clip, fps, dialect, first.name)
    with _explained(first), atomic_write_new(names) as new:
        _write(new.part, first.name, frames)
    return new.path


def load(
    path: str | Path, canvas: tuple[int, int] | None = None, check: Callable[[], None] = lambda: None
) -> tuple[PoseClip, float | None]:
    """Return the poses in a file, and its frames per second if stated; ValueError if the file holds no poses.

    canvas: width and height for frames that do not state theirs. check: see `from_keypoints`.
    """
    path = Path(path)
    try:
        _check_size(path.stat().st_size, path.name, "Choose a pose file, or save the poses in parts.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}. Choose another file.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not text. Choose a .json file of poses.") from error
    frames = _frames(text, path.name)
    numbers = (frame[FPS] for frame in frames if type(frame.get(FPS)) in (int, float))
    fps = next((float(number) for number in numbers if 0 < number < 1000), None)
    if canvas:
        size = {"canvas_width": canvas[0], "canvas_height": canvas[1]}
        frames = [frame if all(map(frame.get, size)) else {**frame, **size} for frame in frames]
    try:
        return from_keypoints(frames, check), fps
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _frames_of(clip: PoseClip, fps: float | None, dialect: str, name: str) -> list[dict]:
    """Return the frames to save as `name`; ValueError if there are none, or clearly too many."""
    if clip.frames > SAMPLE:
        some = write(clip.at(np.linspace(0, clip.frames - 1, SAMPLE).astype(int)), dialect)
        size = sum(len(_line(frame)) for frame in some) * clip.frames / SAMPLE
        if size > SURELY * MAX_BYTES:
            _check_size(size, name, FEWER)
    frames = write(clip, dialect)
    if not frames:
        raise ValueError("There is no frame of poses to save. Connect poses of at least one frame.")
    if fps and not math.isfinite(fps):
        raise ValueError(f"fps is {fps}; poses need a number above 0. Connect the fps of Extract Poses, or give 16.")
    if fps:
        frames[0] = {FPS: float(fps), **frames[0]}
    return frames


def _write(part: Path, name: str, frames: list[dict]) -> None:
    """Write `frames`, whole numbers as integers, to `part`, a file that will be called `name`."""
    with part.open("w", encoding="utf-8", newline="\n") as file:
        for i, frame in enumerate(frames):
            file.write(("[\n" if i == 0 else ",\n") + _line(frame))
        file.write("\n]\n")
    _check_size(part.stat().st_size, name, FEWER)


def _line(frame: dict) -> str:
    """Return a frame as JSON; its numbers become integers where they are whole: 0.0 is written 0, and 1.0 is 1."""
    for person in frame["people"]:
        for key, value in person.items():
            if isinstance(value, list):
                person[key] = [int(number) if number.is_integer() else number for number in value]
    return json.dumps(frame, separators=COMPACT, allow_nan=False)


@contextmanager
def _explained(path: Path) -> Generator[None, None, None]:
    """Turn an OSError of writing into a ValueError in words."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"The poses could not be saved as {path}: {error.strerror or error}. "
            "Free some space, make the folder writable, or choose another name."
        ) from error


def _check_size(size: float, name: str, advice: str) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"{name} has {size / 2**20:.0f} MiB; a pose file may have {MAX_BYTES // 2**20}. {advice}")


def _frames(text: str, name: str) -> list[dict]:
    """Return the frames in `text`; ValueError if it is not JSON, or JSON of something else."""
    if not text.strip():
        raise ValueError(f"{name} is empty. Save the poses again.")
    try:
        data = _unwrap(text)
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deep for poses. Choose a .json file of poses.") from error
    except ValueError as error:
        raise ValueError(f"{name} is not JSON ({error}). Choose a .json file of poses.") from error
    frames = [data] if isinstance(data, dict) else data
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(
            f"{name} holds JSON, but no poses. Needed is a list with one object per frame, each with people, "
            "canvas_width and canvas_height."
        )
    return frames


def _unwrap(data: Any) -> Any:
    """Return `data` out of the texts and the "openpose_json" in which nodes and editors wrap it."""
    if isinstance(data, str):
        return _unwrap(json.loads(data))
    if isinstance(data, dict) and "openpose_json" in data:
        return _unwrap(data["openpose_json"])
    if isinstance(data, list) and any(isinstance(item, str) for item in data):
        parts = [_unwrap(item) for item in data]
        return [frame for part in parts for frame in (part if isinstance(part, list) else [part])]
    return data
