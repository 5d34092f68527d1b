"""Pictures beside each other, each with a caption."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .canvas import INK, Canvas

GAP, CAPTION, LETTERS = 12, 30, 20
CAPTION_WIDTH = 170  # pixels that a caption of 15 letters takes


def shrink(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return uint8 [H, W, 3], made smaller in its own shape to fit into width x height pixels, never larger."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def beside(pictures: Sequence[np.ndarray], captions: Sequence[str] = ()) -> np.ndarray:
    """Return uint8 [H, W, 3]: the pictures, uint8 [h, w, 3], from left to right, with their captions over them."""
    top, least = (GAP + CAPTION, CAPTION_WIDTH) if captions else (GAP, 0)
    lefts = np.cumsum([GAP, *(max(picture.shape[1], least) + GAP for picture in pictures)]).tolist()
    canvas = Canvas(lefts.pop(), top + max(len(picture) for picture in pictures) + GAP)
    for left, caption in zip(lefts, captions, strict=bool(captions)):
        canvas.text(left, GAP, caption, INK, "la", LETTERS)
    for left, picture in zip(lefts, pictures, strict=True):
        canvas.paste(picture, left, top)
    return canvas.picture()
