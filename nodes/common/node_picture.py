"""A picture inside a node after its run."""

import comfy.utils
import numpy as np
from comfy_api.latest import io, ui
from PIL import Image

from ...media.frames import to_float
from ...media.log import logger
from .node_text import show_text


def show_picture(node: type[io.ComfyNode], picture: np.ndarray) -> dict:
    """Return the UI output that shows `picture`, uint8 [H, W, 3] RGB, in the running `node`.

    The node must have no VIDEO input: ComfyUI's page takes pictures in such a node for videos. Where the temp folder
    cannot be written to, the node shows no picture and the log says so: what it has made must not be lost for it.
    """
    try:
        return ui.PreviewImage(to_float(picture.copy())[None], cls=node).as_dict()
    except OSError as error:
        logger.warning("No picture in the node, because the temp folder takes none: %s", error)
        return {}


def show_picture_of_run(picture: np.ndarray) -> None:
    """Show `picture`, uint8 [H, W, 3] RGB, in the running node, which has sampled, until its next run.

    It is sent as the last of the live previews, because ComfyUI's page keeps that: over the pictures of a UI output in
    its classic renderer, below them in Nodes 2.0.
    """
    comfy.utils.ProgressBar(1).update_absolute(1, preview=("PNG", Image.fromarray(picture), None))


def show_picture_and_text(node: type[io.ComfyNode], picture: np.ndarray, text: str, shown: str) -> dict:
    """Return the UI output that shows the picture and `shown`, the part of `text` that the picture does not show."""
    return {**show_picture(node, picture), **show_text(text, shown=shown).as_dict()}
