"""The files that may be a SteadyDancer, in the folders where ComfyUI's loaders look for diffusion models."""

import re

import folder_paths

from ...steadydancer_core.weights.weight_formats import GGUF_SUFFIX
from ...steadydancer_core.weights.weight_source import INDEX_SUFFIX, SHARD, SUFFIXES
from .model_folders import files_below

FOLDERS = ("diffusion_models", "unet_gguf")
GGUF_LOADER = "UnetLoaderGGUF"  # the node of the pack ComfyUI-GGUF


def model_files() -> list[str]:
    """Return the names of the files that may be a SteadyDancer; of a model in several files, the index alone."""
    names = set().union(*map(files_below, FOLDERS))
    indexed = {_folder_of(name) for name in names if name.lower().endswith(INDEX_SUFFIX)}
    hidden = {name for name in names if SHARD.search(name) and _folder_of(name) in indexed}
    kinds = (*SUFFIXES, GGUF_SUFFIX, INDEX_SUFFIX)
    return sorted(name for name in names - hidden if name.lower().endswith(kinds))


def find_model_file(name: str) -> tuple[str, str | None]:
    """Return the folder of a listed file and its path, None for a link to nothing."""
    for folder in FOLDERS:
        if path := folder_paths.get_full_path(folder, name):
            return folder, path
    return FOLDERS[0], None


def _folder_of(name: str) -> str:
    return re.sub(r"[^/\\]*$", "", name)
