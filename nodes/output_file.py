"""Where a node writes the file that the user gave a prefix for."""

import os
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..media.atomic_write import Numbered
from .file_names import prefix_fault


def output_names(
    prefix: str, ending: str, width: int, height: int, folder: io.FolderType = io.FolderType.output
) -> Numbered:
    """Return the names for `prefix` in output/ or temp/, from the number after the highest one there.

    ending: ".mp4", or "" for a folder. width and height fill in the prefix's placeholders. The names' folder is made.
    ValueError for a prefix that names no file there, OSError if the folder cannot be made.
    """
    prefix = prefix.strip()
    fault = prefix_fault(prefix)
    if fault:
        raise ValueError(fault)
    root = folder_paths.get_directory_by_type(folder.value)
    path, name, counter, _, _ = folder_paths.get_save_image_path(prefix, root, width, height)
    return Numbered(Path(path), name, ending, counter)


def saved_result(path: Path, folder: io.FolderType = io.FolderType.output) -> ui.SavedResult:
    """Return the frontend's link to a file in output/ or temp/."""
    subfolder = os.path.relpath(path.parent, folder_paths.get_directory_by_type(folder.value))
    return ui.SavedResult(path.name, "" if subfolder == os.curdir else subfolder, folder)
