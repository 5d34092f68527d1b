"""Save and Load Prompt Embeddings: a prompt that was encoded once needs no text encoder again."""

from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..steadydancer_core import prompt_embeddings

FOLDER = "prompt_embeddings"


def register_folder() -> None:
    """Make models/prompt_embeddings known to ComfyUI, first in line; a folder named in its settings stays. Idempotent."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir, FOLDER)), is_default=True)
    paths, _ = folder_paths.folder_names_and_paths[FOLDER]
    folder_paths.folder_names_and_paths[FOLDER] = (paths, {prompt_embeddings.SUFFIX})


class SteadyDancerSavePromptEmbeddings(io.ComfyNode):
    """CONDITIONING to a file in models/prompt_embeddings."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSavePromptEmbeddings",
            display_name="Save Prompt Embeddings",
            category="SteadyDancer/prompt",
            description=(
                "Saves an encoded prompt as a small .safetensors file in models/prompt_embeddings. "
                "Load Prompt Embeddings gives it back without the text encoder."
            ),
            search_aliases=["text encode cache", "conditioning save"],
            is_output_node=True,
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The prompt, straight from CLIP Text Encode."),
                io.String.Input(
                    "name", default="my_prompt", tooltip="File name without ending; subfolders as in dances/waltz."
                ),
                io.Boolean.Input(
                    "overwrite", default=False, tooltip="Replace a file of this name. Off: such a file is an error."
                ),
            ],
        )

    @classmethod
    def execute(cls, conditioning, name, overwrite) -> io.NodeOutput:
        folder = Path(folder_paths.get_folder_paths(FOLDER)[0])
        path = prompt_embeddings.path_for(folder, name)
        if path.exists() and not overwrite:
            raise ValueError(f"{path} exists already. Choose another name or switch overwrite on.")
        prompt_embeddings.save(conditioning, path)
        size = f"{path.stat().st_size / 1024:.0f} KB"
        return io.NodeOutput(ui=ui.PreviewText(f"Saved {path} ({size}). Press R to see it in Load Prompt Embeddings."))


class SteadyDancerLoadPromptEmbeddings(io.ComfyNode):
    """A file in models/prompt_embeddings to CONDITIONING."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerLoadPromptEmbeddings",
            display_name="Load Prompt Embeddings",
            category="SteadyDancer/prompt",
            description="Loads a prompt that Save Prompt Embeddings wrote; no text encoder is needed.",
            search_aliases=["text encode cache", "conditioning load"],
            inputs=[
                io.Combo.Input(
                    "name", options=folder_paths.get_filename_list(FOLDER),
                    tooltip="A .safetensors file in models/prompt_embeddings. Press R after adding files.",
                ),
            ],
            outputs=[
                io.Conditioning.Output("conditioning", display_name="conditioning", tooltip="The saved prompt."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, name) -> io.NodeOutput:
        return io.NodeOutput(prompt_embeddings.load(Path(folder_paths.get_full_path_or_raise(FOLDER, name))))

    @classmethod
    def fingerprint_inputs(cls, name) -> int:
        return Path(folder_paths.get_full_path_or_raise(FOLDER, name)).stat().st_mtime_ns


NODES = [SteadyDancerSavePromptEmbeddings, SteadyDancerLoadPromptEmbeddings]
