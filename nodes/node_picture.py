"""A picture inside a node after its run."""

import logging

import numpy as np
import torch
from comfy_api.latest import io, ui

from .node_text import show_text


def show_picture(node: type[io.ComfyNode], picture: np.ndarray) -> dict:
    """Return the UI output that shows `picture`, uint8 [H, W, 3] RGB, in the running `node`.

    The node must have no VIDEO input: ComfyUI's page takes pictures in such a node for videos. Where the temp folder
    cannot be written to, the node shows no picture and the log says so: what it has made must not be lost for it.
    """
    try:
        return ui.PreviewImage(torch.from_numpy(picture.copy())[None].float() / 255, cls=node).as_dict()
    except OSError as error:
        logging.warning("SteadyDancer: no picture in the node, because the temp folder takes none: %s", error)
        return {}


def show_picture_and_text(node: type[io.ComfyNode], picture: np.ndarray, text: str) -> dict:
    """Return the UI output that shows both; the schema of `node` must ask for io.Hidden.unique_id."""
    return {**show_picture(node, picture), **show_text(node, text).as_dict()}
