"""Prompts without a text encoder: save the embeddings once, load them ever after."""

from pathlib import Path, PureWindowsPath

import folder_paths
from comfy_api.latest import io

from ..steadydancer_core.weights import prompt_embeddings
from .common import model_folders
from .common.file_names import RULES, file_fault, is_file_name, path_fault, place_fault, quoted
from .common.node_text import show_text

FOLDER = model_folders.PROMPTS
SUFFIX = prompt_embeddings.SUFFIX


def register_folder() -> None:
    """Add models/prompt_embeddings to ComfyUI's model folders, after any that the user has set; nothing is created."""
    model_folders.register(FOLDER, SUFFIX)


class SavePromptEmbeddings(io.ComfyNode):
    """CONDITIONING of CLIP Text Encode to one file under models/prompt_embeddings."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSavePromptEmbeddings",
            display_name="Save Prompt Embeddings",
            category="SteadyDancer/conditioning",
            description=(
                "Saves an encoded prompt to a small file, so that the text encoder (11 GB for Wan) is not needed next "
                "time. Load Prompt Embeddings restores it exactly."
            ),
            search_aliases=["save conditioning", "export prompt", "cache text encoder"],
            is_output_node=True,
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="The prompt, straight from CLIP Text Encode."),
                io.String.Input(
                    "name", default="prompt",
                    tooltip="Name of the file in models/prompt_embeddings, with subfolders if you like, such as "
                    "dance/positive. The ending .safetensors is added.",
                ),
                io.String.Input(
                    "prompt", default="", multiline=True, optional=True,
                    tooltip="A note stored in the file, for example the text of the prompt. It does not affect the "
                    "result.",
                ),
                io.Boolean.Input(
                    "overwrite", default=False, optional=True,
                    tooltip="Replace a file of the same name. Off: an existing file is an error and is not changed.",
                ),
            ],
            outputs=[],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, name: str | None = None, prompt: str | None = None) -> bool | str:
        return (name is not None and _fault(name)) or prompt_embeddings.note_fault(prompt or "") or True

    @classmethod
    def execute(cls, conditioning: list, name: str, prompt: str = "", overwrite: bool = False) -> io.NodeOutput:
        fault = _fault(name)
        if fault:
            raise ValueError(fault)
        path = _path_of(name)
        prompt_embeddings.save(conditioning, path, prompt, overwrite)
        return io.NodeOutput(ui=show_text(str(path)))


class LoadPromptEmbeddings(io.ComfyNode):
    """A file under models/prompt_embeddings to CONDITIONING."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerLoadPromptEmbeddings",
            display_name="Load Prompt Embeddings",
            category="SteadyDancer/conditioning",
            description="Loads a prompt saved by Save Prompt Embeddings. No text encoder is needed.",
            search_aliases=["load conditioning", "import prompt", "cached prompt"],
            inputs=[
                io.Combo.Input(
                    "file", options=_files(),
                    tooltip="A file in models/prompt_embeddings. Use this node in place of CLIP Text Encode.",
                )
            ],
            outputs=[io.Conditioning.Output("conditioning", tooltip="The prompt, exactly as saved.")],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, file: str) -> int:
        return _find(file).stat().st_mtime_ns

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        return io.NodeOutput(prompt_embeddings.load(_find(file)))


def _files() -> list[str]:
    """Return what can be loaded; nothing before the folder is registered or while it does not exist."""
    return folder_paths.get_filename_list(FOLDER) if FOLDER in folder_paths.folder_names_and_paths else []


def _find(file: str) -> Path:
    path = folder_paths.get_full_path(FOLDER, file)  # never leads out of the folder
    if path is None:
        raise ValueError(
            f"There is no '{file}' in models/{FOLDER}. Choose another file, or save the prompt with "
            "Save Prompt Embeddings."
        )
    return Path(path)


def _fault(name: str) -> str:
    """Return why no prompt can be saved as `name`, as a message; "" if it can."""
    path = PureWindowsPath(name.strip())
    if not is_file_name(name.strip()) or path.name.lower() == SUFFIX:
        return (
            f"name {quoted(name)} does not name a file inside models/{FOLDER}. Give a name, with subfolders if wanted, "
            f"such as dance/positive; {RULES}."
        )
    fault = file_fault("name", path.as_posix(), "" if path.suffix.lower() == SUFFIX else SUFFIX)
    if fault or FOLDER not in folder_paths.folder_names_and_paths:  # nothing to look at before it is registered
        return fault
    return path_fault("name", _path_of(name)) or place_fault("name", _path_of(name))


def _path_of(name: str) -> Path:
    """Return the path of a `name` without fault in the first folder for prompt embeddings."""
    path = PureWindowsPath(name.strip())  # knows both / and \
    ending = "" if path.suffix.lower() == SUFFIX else SUFFIX
    return Path(folder_paths.get_folder_paths(FOLDER)[0], *path.parent.parts, path.name + ending)


NODES = [SavePromptEmbeddings, LoadPromptEmbeddings]
