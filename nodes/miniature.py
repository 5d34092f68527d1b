"""The embedded default: its sample on sockets, and its files where the loaders find them."""

import math
from collections.abc import Mapping
from pathlib import Path

import folder_paths
import numpy as np
from comfy_api.latest import InputImpl, io
from PIL import Image

from .. import miniature
from ..media.frames import to_float
from .common.model_folders import folder_for_new
from .common.node_picture import show_picture
from .common.node_text import show_text

CATEGORY = "SteadyDancer/miniature"
SAMPLE = [f"steadydancer_sample{name}" for name in (".png", "_dance.mp4", "_pose.mp4", "_pose_negative.mp4")]


def register_folders() -> None:
    """Add the pack's own models to ComfyUI's folders, after all others: the loaders list them without a copy."""
    for folder in _model_folders():
        folder_paths.add_model_folder_path(folder, str(miniature.SHIPPED / folder))


class MiniatureSample(io.ComfyNode):
    """The drawn photo and clips that the miniature knows how to handle."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerMiniatureSample",
            display_name="Miniature Sample",
            category=CATEGORY,
            description=(
                "The bundled sample: a picture of a drawn character, a dance by another character, and its skeletons "
                "in the proportions of the picture. The miniature was trained on such drawings and knows no real "
                "photos."
            ),
            search_aliases=["demo", "example", "test photo", "test video"],
            inputs=[],
            outputs=[
                io.Image.Output("photo", tooltip="The photo, 384x384 pixels."),
                io.Video.Output("driving_video", tooltip="Another character dancing to a drum beat."),
                io.Video.Output("pose_video", tooltip="Skeletons of the dance, aligned to the photo."),
                io.Video.Output("pose_negative_video", tooltip="The same dance with distorted proportions."),
            ],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        files = [miniature.shipped(name) for name in SAMPLE]
        for file in files:
            if not file.is_file():
                raise ValueError(f"{file}, a file of the pack, is missing. Install the pack again.")
        with Image.open(files[0]) as picture:
            photo = np.array(picture.convert("RGB"))
        videos = (InputImpl.VideoFromFile(str(file)) for file in files[1:])
        return io.NodeOutput(to_float(photo)[None], *videos, ui=show_picture(cls, photo))


class MakeMiniatureFiles(io.ComfyNode):
    """Writes the miniature model, VAE, prompts and sample into ComfyUI's folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerMiniatureFiles",
            display_name="Make Miniature Files",
            category=CATEGORY,
            description=(
                "Writes a miniature SteadyDancer with its VAE, prompts and a sample, a few MB in all, to ComfyUI's "
                "models and input folders. It was trained on drawn characters of 96x96 pixels and knows nothing else."
            ),
            search_aliases=["demo", "example", "test model"],
            is_output_node=True,
            inputs=[
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace different files of the same names. Off: such a file is an error.",
                ),
            ],
        )

    @classmethod
    def execute(cls, overwrite: bool) -> io.NodeOutput:
        paths = miniature.write_files(_folders(), overwrite)
        files = "\n".join(f"{path} ({path.stat().st_size / 1024:.0f} KB)" for path in paths)
        return io.NodeOutput(ui=show_text(f"In place:\n{files}\nPress R to see them in the loaders."))

    @classmethod
    def fingerprint_inputs(cls, overwrite: bool) -> str | float:
        """Never equal to that of another run where a file is missing: the node has to write it."""
        paths = miniature.paths_in(_folders())
        return repr([path.stat().st_mtime_ns for path in paths]) if all(map(Path.is_file, paths)) else math.nan


def _folders() -> Mapping[str, Path]:
    folders = {folder: folder_for_new(folder) for folder in _model_folders()}
    return {**folders, "input": Path(folder_paths.get_input_directory())}


def _model_folders() -> list[str]:
    return [folder for folder in miniature.FOLDERS if folder != "input"]


NODES = [MiniatureSample, MakeMiniatureFiles]
