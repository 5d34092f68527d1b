"""Folders of model files: those of our own, and where a new file of a kind goes."""

from pathlib import Path

import folder_paths

PROMPTS = "prompt_embeddings"


def register(name: str, suffix: str, *others: str) -> None:
    """Add models/<name>, then other folders, to ComfyUI's model folders; they list files that end in `suffix`.

    They come after any that the user has set under that name. Nothing is created.
    """
    for path in (str(Path(folder_paths.models_dir, name)), *others):
        folder_paths.add_model_folder_path(name, path)
    paths, suffixes = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, set(suffixes) | {suffix})


def files_below(name: str) -> set[str]:
    """Return every file below the model folders `name`; ComfyUI's own list leaves out GGUF files and indexes."""
    known = folder_paths.get_folder_paths(name) if name in folder_paths.folder_names_and_paths else []
    return {file for place in known for file in folder_paths.recursive_search(place, [".git"])[0]}


def folder_for_new(name: str) -> Path:
    """Return the folder of that very name (diffusion_models has models/unet before it), else the first of the kind."""
    paths = [Path(path) for path in folder_paths.get_folder_paths(name)]
    return next((path for path in paths if path.name == name), paths[0])
