"""The embedded default: a SteadyDancer of a few MB that was trained on a drawn world, its VAE, prompts and a sample.

SHIPPED holds the files; its README.md is their model card. weights.py makes another model, for tests and timings only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..media.atomic_write import atomic_write

SHIPPED = Path(__file__).parent / "files"
SIDE, ENLARGED = 96, 4  # pixels: of the square frames that it knows; how many of the sample's files stand for one


class MiniatureFile(NamedTuple):
    """A folder key of ComfyUI (or "input"), which names its folder in SHIPPED too, and the file's name."""

    folder: str
    name: str

    @property
    def shipped(self) -> Path:
        return SHIPPED / self.folder / self.name

    def content(self) -> bytes:
        """Return the file as it is shipped. Raises ValueError when the pack lacks it."""
        try:
            return self.shipped.read_bytes()
        except OSError as error:
            raise ValueError(
                f"{self.shipped}, a file of the pack, cannot be read: {error.strerror or error}. "
                "Install the pack again."
            ) from error


FILES = (
    MiniatureFile("diffusion_models", "steadydancer_miniature.safetensors"),
    MiniatureFile("vae", "steadydancer_miniature_vae.safetensors"),
    MiniatureFile("prompt_embeddings", "steadydancer_miniature_positive.safetensors"),
    MiniatureFile("prompt_embeddings", "steadydancer_miniature_negative.safetensors"),
    MiniatureFile("input", "steadydancer_sample.png"),
    MiniatureFile("input", "steadydancer_sample_pose.mp4"),
    MiniatureFile("input", "steadydancer_sample_pose_negative.mp4"),
    MiniatureFile("input", "steadydancer_sample_dance.mp4"),
)
FOLDERS = tuple(dict.fromkeys(file.folder for file in FILES))


def shipped(name: str) -> Path:
    """Return where the pack has the file of that name, one of FILES."""
    return next(file.shipped for file in FILES if file.name == name)


def write_all(models_dir: Path, input_dir: Path, overwrite: bool = False) -> list[Path]:
    """Write every file below ComfyUI's models and input folders; see `write_files`."""
    folders = {folder: Path(models_dir) / folder for folder in FOLDERS}
    return write_files({**folders, "input": Path(input_dir)}, overwrite)


def write_files(folders: Mapping[str, Path], overwrite: bool = False) -> list[Path]:
    """Write every file into the folder of its key, each whole or not at all, and return all their paths.

    ValueError when one cannot be written and, before any is, when another file has its name and `overwrite` is off.
    """
    contents = {path: file.content() for path, file in zip(paths_in(folders), FILES, strict=True)}
    missing = {path: data for path, data in contents.items() if not (path.is_file() and path.read_bytes() == data)}
    foreign = [str(path) for path in missing if path.exists()]
    if foreign and not overwrite:
        raise ValueError(
            f"Found other files under the miniature's names: {', '.join(foreign)}. Nothing was written. "
            "Move or rename them, or allow overwriting, and run again."
        )
    for path, data in missing.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                part.write_bytes(data)
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(
                f"{path} could not be written: {reason}. Free some space or make the folder writable."
            ) from error
    return list(contents)


def paths_in(folders: Mapping[str, Path]) -> list[Path]:
    """Return where each of FILES lies, in their order."""
    return [Path(folders[file.folder]) / file.name for file in FILES]
