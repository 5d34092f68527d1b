"""Make Miniature Files: puts the embedded default where the loaders find it, when the user asks for it."""

from collections.abc import Mapping
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from .. import miniature
from .model_folders import folder_for_new
from .node_text import show_text


class MakeMiniatureFiles(io.ComfyNode):
    """Writes the miniature model, VAE, prompts and sample into ComfyUI's folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerMiniatureFiles",
            display_name="Make Miniature Files",
            category="SteadyDancer/miniature",
            description=(
                "Writes a miniature SteadyDancer with its VAE, prompts and a sample, a few MB in all, into ComfyUI's "
                "models and input folders. It was trained on drawn figures of 96x96 pixels and knows nothing else."
            ),
            search_aliases=["demo", "example", "test model"],
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Boolean.Input(
                    "overwrite", default=False, tooltip="Replace other files of the same names. Off: they are an error."
                ),
            ],
        )

    @classmethod
    def execute(cls, overwrite: bool) -> io.NodeOutput:
        paths = miniature.write_files(_folders(), overwrite)
        files = "\n".join(f"{path} ({path.stat().st_size / 1024:.0f} KB)" for path in paths)
        return io.NodeOutput(ui=show_text(cls, f"In place:\n{files}\nPress R to see them in the loaders."))

    @classmethod
    def fingerprint_inputs(cls, overwrite: bool) -> str:
        return repr([path.stat().st_mtime_ns if path.exists() else None for path in miniature.paths_in(_folders())])


def _folders() -> Mapping[str, Path]:
    folders = {folder: folder_for_new(folder) for folder in miniature.FOLDERS if folder != "input"}
    return {**folders, "input": Path(folder_paths.get_input_directory())}


NODES = [MakeMiniatureFiles]
