"""Where a node writes the file that the user gave a prefix for."""

import os
from pathlib import Path
from typing import cast

import folder_paths
from comfy_api.latest import io, ui

from ...media.atomic_write import Numbered
from .file_names import NUMBER, fill_in, path_fault, place_fault, prefix_fault, quoted

FIELD = "filename_prefix"


def check_prefix(prefix: str | None, ending: str = "") -> bool | str:
    """Return the answer of validate_inputs: True, or why no file with this prefix and ending can lie in output/.

    None is a connected prefix, not known yet; output_names checks it when it is.
    """
    if prefix is None:
        return True
    folder = io.FolderType.output
    return _fault(prefix, ending, folder) or place_fault(FIELD, _first_path(prefix, ending, folder)) or True


def output_names(
    prefix: str, ending: str, width: int, height: int, folder: io.FolderType = io.FolderType.output
) -> Numbered:
    """Return the names for `prefix` in output/ or temp/, from the number after the highest one there.

    ending: ".mp4", or "" for a folder. width and height fill in the prefix's placeholders. The names' folder is made.
    ValueError for a prefix that names no file there, OSError if the folder cannot be made.
    """
    filled = fill_in(prefix, width, height)
    fault = _fault(filled, ending, folder)
    if fault:
        raise ValueError(fault)
    root = root_of(folder)
    path, name, counter, _, _ = folder_paths.get_save_image_path(filled, root, width, height)
    return Numbered(Path(path), name, ending, counter)


def saved_result(path: Path, folder: io.FolderType = io.FolderType.output) -> ui.SavedResult:
    """Return the frontend's link to a file in output/ or temp/."""
    subfolder = os.path.relpath(path.parent, root_of(folder))
    return ui.SavedResult(path.name, "" if subfolder == os.curdir else subfolder, folder)


def root_of(folder: io.FolderType) -> str:
    """Return the path of output/ or temp/."""
    return cast(str, folder_paths.get_directory_by_type(folder.value))


def _fault(prefix: str, ending: str, folder: io.FolderType) -> str:
    path = _first_path(prefix, ending, folder)
    return prefix_fault(prefix, ending) or _link_fault(path, folder) or path_fault(FIELD, path)


def _first_path(prefix: str, ending: str, folder: io.FolderType) -> Path:
    return Path(root_of(folder), f"{fill_in(prefix)}{NUMBER}{ending}")


def _link_fault(path: Path, folder: io.FolderType) -> str:
    """Return that `path` leaves the folder by a link, through which ComfyUI does not write; "" if it stays inside."""
    root = root_of(folder)
    real = Path(os.path.realpath(path.parent))
    if real.is_relative_to(os.path.realpath(root)):
        return ""
    return (
        f"{FIELD}: the subfolder {quoted(os.path.relpath(path.parent, root))} is a link that leads out of ComfyUI's "
        f"{folder.value} folder, to {real}, and ComfyUI saves nothing through such a link. Choose another subfolder, "
        f"or start ComfyUI with --{folder.value}-directory and that folder."
    )
