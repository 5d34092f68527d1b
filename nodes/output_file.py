"""Where a node writes the file that the user gave a prefix for."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from .file_names import prefix_fault


def output_file(
    prefix: str, ending: str, width: int, height: int, folder: io.FolderType = io.FolderType.output
) -> tuple[Path, ui.SavedResult]:
    """Return the next free path for `prefix` in output/ or temp/, and the same as the frontend's link to it.

    Makes the folder. width and height fill in the prefix's placeholders. ValueError for a prefix that names no file
    there, OSError if the folder cannot be made.
    """
    prefix = prefix.strip()
    fault = prefix_fault(prefix)
    if fault:
        raise ValueError(fault)
    root = folder_paths.get_directory_by_type(folder.value)
    path, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root, width, height)
    file = f"{name}_{counter:05}_.{ending}"
    return Path(path, file), ui.SavedResult(file, subfolder, folder)
