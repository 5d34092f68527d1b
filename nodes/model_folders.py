"""Folders of model files of our own, beside those that ComfyUI knows."""

import os

import folder_paths


def register(name: str, suffix: str, *others: str) -> None:
    """Add models/<name>, then other folders, to ComfyUI's model folders; they list files that end in `suffix`.

    They come after any that the user has set under that name. Nothing is created.
    """
    for path in (os.path.join(folder_paths.models_dir, name), *others):
        folder_paths.add_model_folder_path(name, path)
    paths, suffixes = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, set(suffixes) | {suffix})
