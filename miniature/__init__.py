"""The embedded default: a SteadyDancer of a few MB with its VAE, prompts and sample clips, all made here in seconds.

It has the architecture and key names of the 14B model and made-up weights, so its video is coloured noise, but every
line that the 14B model runs through is run. Needs torch, safetensors, numpy, Pillow and PyAV; knows nothing of ComfyUI.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .prompts import prompt_file
from .sample import driving_file, negative_pose_file, photo_file, pose_file, same_clip
from .vae import vae_file
from .weights import model_file


class MiniatureFile(NamedTuple):
    """A folder key of ComfyUI (or "input"), the file's name in that folder, and what makes its bytes."""

    folder: str
    name: str
    make: Callable[[], bytes]


FILES = (
    MiniatureFile("diffusion_models", "steadydancer_miniature.safetensors", model_file),
    MiniatureFile("vae", "steadydancer_miniature_vae.safetensors", vae_file),
    MiniatureFile(
        "prompt_embeddings", "steadydancer_miniature_positive.safetensors", partial(prompt_file, "positive")
    ),
    MiniatureFile(
        "prompt_embeddings", "steadydancer_miniature_negative.safetensors", partial(prompt_file, "negative")
    ),
    MiniatureFile("input", "steadydancer_sample.png", photo_file),
    MiniatureFile("input", "steadydancer_sample_pose.mp4", pose_file),
    MiniatureFile("input", "steadydancer_sample_pose_negative.mp4", negative_pose_file),
    MiniatureFile("input", "steadydancer_sample_dance.mp4", driving_file),
)
FOLDERS = tuple(dict.fromkeys(file.folder for file in FILES))


def write_all(models_dir: Path, input_dir: Path, overwrite: bool = False) -> list[Path]:
    """Write every file below ComfyUI's models and input folders; see `write_files`."""
    folders = {folder: Path(models_dir) / folder for folder in FOLDERS}
    return write_files({**folders, "input": Path(input_dir)}, overwrite)


def write_files(folders: Mapping[str, Path], overwrite: bool = False) -> list[Path]:
    """Write every file into the folder of its key, each whole or not at all, and return all their paths.

    Files that are there already with the same bytes, or clips with the same pictures and sound, stay untouched. Raises
    ValueError when a file cannot be written and, before anything is, when one of the same name holds something else
    and `overwrite` is off.
    """
    contents = {path: file.make() for path, file in zip(paths_in(folders), FILES, strict=True)}
    missing = {path: data for path, data in contents.items() if not _holds(path, data)}
    foreign = [str(path) for path in missing if path.exists()]
    if foreign and not overwrite:
        raise ValueError(
            f"Found other files under the miniature's names: {', '.join(foreign)}. Nothing was written. "
            "Move or rename them, or allow overwriting, and run again."
        )
    for path, data in missing.items():
        _write_atomically(path, data)
    return list(contents)


def paths_in(folders: Mapping[str, Path]) -> list[Path]:
    """Return where each of FILES lies, in their order."""
    return [Path(folders[file.folder]) / file.name for file in FILES]


def _holds(path: Path, data: bytes) -> bool:
    if not path.is_file():
        return False
    present = path.read_bytes()
    # Another build of the encoder, and now and then the same one, gives a clip other bytes.
    return present == data or (path.suffix == ".mp4" and same_clip(present, data))


def _write_atomically(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise ValueError(
            f"{path} could not be written: {error.strerror or error}. Free some space or make the folder writable."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
