"""Where a node writes the file that the user gave a prefix for."""

from pathlib import Path, PureWindowsPath

import folder_paths
from comfy_api.latest import io, ui


def output_file(
    prefix: str, ending: str, width: int, height: int, folder: io.FolderType = io.FolderType.output
) -> tuple[Path, ui.SavedResult]:
    """Return the next free path for `prefix` in output/ or temp/, and the same as the frontend's link to it.

    Makes the folder. width and height fill in the prefix's placeholders. ValueError for a prefix that names no file
    there, OSError if the folder cannot be made.
    """
    _check(prefix)
    root = folder_paths.get_directory_by_type(folder.value)
    path, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root, width, height)
    file = f"{name}_{counter:05}_.{ending}"
    return Path(path, file), ui.SavedResult(file, subfolder, folder)


def _check(prefix: str) -> None:
    path = PureWindowsPath(prefix.strip())  # knows both / and \ and drive letters
    named = path.name and prefix.isprintable() and not prefix.endswith(("/", "\\"))
    if not named or path.anchor or ".." in path.parts:
        raise ValueError(
            f"filename_prefix '{prefix}' does not name a file inside ComfyUI's output folder. "
            "Give a name, with subfolders if wanted, such as dance/clip; no '..', no leading slash, no drive."
        )
